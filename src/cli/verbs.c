/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/verbs.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "cli/commands.h"
#include "cli/json.h"

void verb_log_result(const char *verb, enum log_event event, const char *cards, const struct error *err,
                     const char *format, ...)
{
    va_list arguments;
    const struct log_field fields[] = {{"ICN_CARDS", cards}};
    va_start(arguments, format);
    CLEANUP_FREE char *text = text_format(format, arguments);
    va_end(arguments);
    log_open_verb(verb);
    log_event(err ? EVENT_FAILED : event, err ? LOG_LEVEL_ERROR : LOG_LEVEL_NOTICE, fields, 1, err ? err->text : text);
}

void verb_log_session(const char *verb, struct session *session, struct trail trail)
{
    log_open_verb(verb);
    if (trail.err) {
        trail.event = EVENT_FAILED;
    }
    trail_log(session, &trail);
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

int verbs_run(int argc, char *argv[])
{
    struct command command;
    struct error err;
    bool is_clear = command_parse(argc, argv, &command, &err) == 0;
    int status = STATUS_OK;
    if (!is_clear) {
        status = verbs_report(command.options.json, &err);
    } else if (command.help) {
        command_help(command.verb);
    } else if (command.version) {
        puts("icn-hook " PACKAGE_VERSION);
    } else {
        if (command.options.verbose) {
            log_open_verbose();
        }
        status = verbs_call(command_verbs[command.verb].run, &command.options);
    }
    if (fflush(stdout) == 0 && !ferror(stdout)) {
        return status;
    }
    /* "status | head": the reader of a pipe has what it wanted.  The kernel reports it as
     * an error or a hang-up of the writing end (fs/pipe.c, net/unix/af_unix.c). */
    int number = errno;
    struct pollfd standard_output = {.fd = STDOUT_FILENO};
    if (poll(&standard_output, 1, 0) == 1 && (standard_output.revents & (POLLERR | POLLHUP)) != 0) {
        return status;
    }
    fprintf(stderr, "icn-hook: cannot write to standard output: %s\n", strerror(number));
    return status != STATUS_OK ? status : STATUS_HARDWARE;
}
