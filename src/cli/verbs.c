/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/verbs.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "cli/commands.h"

static int finish_output(int status)
{
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, "icn-hook: cannot write to standard output: %s\n", strerror(errno));
        return status != STATUS_OK ? status : STATUS_HARDWARE;
    }
    return status;
}

int verbs_run(int argc, char *argv[])
{
    struct command command;
    int status = command_parse(argc, argv, &command);
    if (status != STATUS_OK) {
        return status;
    }
    if (command.help) {
        command_help(command.verb);
        return finish_output(STATUS_OK);
    }
    if (command.version) {
        puts("icn-hook " PACKAGE_VERSION);
        return finish_output(STATUS_OK);
    }
    if (command.options.verbose) {
        log_open_verbose();
    }
    return finish_output(command_verbs[command.verb].run(&command.options));
}
