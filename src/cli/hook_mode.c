/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/hook_mode.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/hook_call.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "engine/operation.h"
#include "host/domain.h"

enum { HOOK_ARGUMENTS = 5, STDIN_MS = 20000 };

bool hook_mode_is_meant(int argc, char *const argv[])
{
    return argc == HOOK_ARGUMENTS && (strcmp(argv[3], "begin") == 0 || strcmp(argv[3], "end") == 0);
}

/* The hook program that started us believes some statuses only with this byte:
 * the dynamic loader and libpci exit with them too. */
static int verdict_descriptor(void)
{
    const char *named = getenv(HOOK_VERDICT_VARIABLE);
    uint64_t number;
    if (!named || !text_parse_number(named, 1023, &number) || number <= STDERR_FILENO) {
        return -1;
    }
    return fcntl((int)number, F_SETFD, FD_CLOEXEC) < 0 ? -1 : (int)number;
}

static void give_verdict(int fd, int status)
{
    unsigned char byte = (unsigned char)status;
    if (fd >= 0 && write(fd, &byte, 1) != 1) {
        log_message(LOG_LEVEL_WARNING, "the hook program did not take the verdict %d", status);
    }
}

static int run(char *const argv[])
{
    struct error err = {0};
    struct buffer text = {0};
    enum status status;
    if (file_read_fd(STDIN_FILENO, "the domain's XML", DOMAIN_XML_LIMIT, deadline_after_ms(STDIN_MS), &text, &err) <
        0) {
        error_set(&err, err.status, "%s; %s", err.text,
                  err.status == STATUS_INVALID ? "correct the VM with virsh edit" : "start it again");
        status = STATUS_OK;
        if (operation_may_refuse(argv[2])) {
            status = err.status;
            error_wrap(&err, "icn-hook: VM '%s' is not started", argv[1]);
        }
        log_message(LOG_LEVEL_ERROR, "%s", err.text);
    } else {
        status = operation_run(argv[1], argv[2], text.data, text.length, &err);
    }
    buffer_free(&text);
    if (status != STATUS_OK) {
        fprintf(stderr, "%s\n", err.text);
    }
    return status;
}

int hook_mode_run(char *const argv[])
{
    int verdict = verdict_descriptor();
    log_open_hook(argv[1], argv[2]);
    memory_set_failure_status(operation_may_refuse(argv[2]) ? STATUS_HARDWARE : STATUS_OK);
    int status = run(argv);
    give_verdict(verdict, status);
    return status;
}
