/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/hook_mode.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
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

/* The hook program is gone, so libvirt does not wait for us any more: the domain's next
 * hook is at work, or will be, and what this call would do comes too late. */
static void die_with_the_hook(int verdict)
{
    struct pollfd reader = {.fd = verdict, .events = 0};
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (poll(&reader, 1, 0) > 0 && (reader.revents & POLLERR)) {
        raise(SIGKILL); /* it went before that was asked for */
    }
}

/* The hook program believes some statuses only with this byte: the dynamic loader and
 * libpci exit with them too. */
static void give_verdict(int fd, int status)
{
    unsigned char byte = (unsigned char)status;
    if (fd >= 0 && write(fd, &byte, 1) != 1) {
        log_message(LOG_LEVEL_WARNING, "the hook program did not take the verdict %d", status);
    }
}

static int run_operation(char *const argv[])
{
    struct error err = {0};
    struct buffer text = {0};
    enum status status;
    if (file_read_fd(STDIN_FILENO, "the domain's XML", DOMAIN_XML_LIMIT, deadline_after_ms(STDIN_MS), &text, &err) <
        0) {
        error_append(&err, "; %s", err.status == STATUS_INVALID ? "correct the VM with virsh edit" : "start it again");
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
    int verdict = hook_call_verdict_fd();
    if (verdict >= 0) {
        fcntl(verdict, F_SETFD, FD_CLOEXEC);
        die_with_the_hook(verdict);
    }
    hook_call_believe_deadline();
    log_open_hook(argv[1], argv[2]);
    memory_set_failure_status(operation_may_refuse(argv[2]) ? STATUS_HARDWARE : STATUS_OK);
    int status = run_operation(argv);
    give_verdict(verdict, status);
    return status;
}
