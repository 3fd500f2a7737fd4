/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/verbs.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "cli/commands.h"
#include "cli/json.h"

/* "status | head": the reader of a pipe has what it wanted.  The kernel reports it as
 * an error or a hang-up of the writing end (fs/pipe.c, net/unix/af_unix.c). */
static bool reader_is_gone(void)
{
    struct pollfd standard_output = {.fd = STDOUT_FILENO};
    return poll(&standard_output, 1, 0) == 1 && (standard_output.revents & (POLLERR | POLLHUP)) != 0;
}

static int finish_output(int status)
{
    if (fflush(stdout) == 0 && !ferror(stdout)) {
        return status;
    }
    int number = errno;
    if (reader_is_gone()) {
        return status;
    }
    fprintf(stderr, "icn-hook: cannot write to standard output: %s\n", strerror(number));
    return status != STATUS_OK ? status : STATUS_HARDWARE;
}

int verbs_report(bool json, const struct error *err)
{
    fprintf(stderr, "icn-hook: %s\n", err->text);
    if (json) {
        json_print(json_error(err));
    }
    return (int)err->status;
}

int verbs_call(verb_function *verb, const struct options *options)
{
    struct error err = {0};
    int status = verb(options, &err);
    return status < 0 ? verbs_report(options->json, &err) : status;
}

static int run_command(const struct command *command)
{
    if (command->help) {
        command_help(command->verb);
        return STATUS_OK;
    }
    if (command->version) {
        puts("icn-hook " PACKAGE_VERSION);
        return STATUS_OK;
    }
    if (command->options.verbose) {
        log_open_verbose();
    }
    return verbs_call(command_verbs[command->verb].run, &command->options);
}

int verbs_run(int argc, char *argv[])
{
    struct command command;
    struct error err;
    bool is_clear = command_parse(argc, argv, &command, &err) == 0;
    return finish_output(is_clear ? run_command(&command) : verbs_report(command.options.json, &err));
}
