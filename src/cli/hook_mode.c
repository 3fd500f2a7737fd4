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
#include "cli/commands.h"
#include "engine/vm_events.h"
#include "host/domain.h"

enum { HOOK_ARGUMENTS = 5, STDIN_MS = 20000 };

/* libvirt's operations, and what the sub-operation of each is (libvirt: src/util/virhook.c,
 * src/qemu/qemu_process.c). */
static bool is_operation(const char *operation, const char *suboperation)
{
    static const struct {
        const char *name;
        const char *suboperation;
    } operations[] = {
        {"prepare", "begin"}, {"start", "begin"},     {"started", "begin"}, {"stopped", "end"},   {"release", "end"},
        {"migrate", "begin"}, {"reconnect", "begin"}, {"attach", "begin"},  {"restore", "begin"},
    };
    for (size_t i = 0; i < sizeof operations / sizeof operations[0]; i++) {
        if (strcmp(operations[i].name, operation) == 0) {
            return strcmp(operations[i].suboperation, suboperation) == 0;
        }
    }
    return false;
}

/*
 * Not every call of four arguments is libvirt's: in `apply --name end 0,1` they are an
 * operator's.  The hook program says that it is the caller, and has looked at the shape;
 * without its word a call has to be one that no verb can be.
 */
bool hook_mode_is_meant(int argc, char *const argv[])
{
    if (argc != HOOK_ARGUMENTS) {
        return false;
    }
    return hook_call_verdict_fd() >= 0 ||
           (argv[1][0] != '-' && command_find_verb(argv[1]) == VERB_NONE && is_operation(argv[2], argv[3]));
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
        if (vm_event_may_refuse(argv[2])) {
            status = err.status;
            error_wrap(&err, "icn-hook: VM '%s' is not started", argv[1]);
        }
        log_message(LOG_LEVEL_ERROR, "%s", err.text);
    } else {
        status = vm_event_run(argv[1], argv[2], text.data, text.length, &err);
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
        /* The hook program is gone, so libvirt does not wait for us any more: the domain's next
         * hook is at work, or will be, and what this call would do comes too late. */
        struct pollfd reader = {.fd = verdict, .events = 0};
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (poll(&reader, 1, 0) > 0 && (reader.revents & POLLERR)) {
            raise(SIGKILL); /* it went before that was asked for */
        }
    }
    hook_call_believe_deadline();
    log_open_hook(argv[1], argv[2]);
    memory_set_failure_status(vm_event_may_refuse(argv[2]) ? STATUS_HARDWARE : STATUS_OK);
    int status = run_operation(argv);
    /* The hook program believes some statuses only with this byte: the dynamic loader and
     * libpci exit with them too. */
    unsigned char byte = (unsigned char)status;
    if (verdict >= 0 && write(verdict, &byte, 1) != 1) {
        log_message(LOG_LEVEL_WARNING, "the hook program did not take the verdict %d", status);
    }
    return status;
}
