/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/file.h"
#include "base/hook_call.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "hook/claim.h"
#include "hook/engine.h"
#include "hook/plain.h"
#include "hook/scan.h"

/*
 * The hook that libvirt runs for every step of every domain:
 *   qemu NAME OPERATION SUBOPERATION EXTRA < domain XML
 *
 * Theory of operation.  A domain that cannot hold a host PCI device is answered
 * here, with nothing but libc loaded.  All others are the engine's.  When the
 * engine gives no answer, what is left to decide is which harm is worse:
 *   prepare, start    nothing runs yet: a domain with a host PCI device is
 *                     refused, any other goes on;
 *   everything else   the VM runs, or is gone: a failure would kill it or help
 *                     nobody, so the exit status is 0 and the log says why.
 * The end of a domain that has cards is noted all the same (base/hook_call.h): its claim
 * would hold them against other VMs.
 * stdout never gets a byte: libvirt would take it for XML in some operations.
 */

/* By this text packaging/hook-place knows its own file, of any version, among the
 * administrator's: it must never change. */
static const char mark[] __attribute__((used)) = "icn-hook: hook program for libvirt, placed by hook-place";

enum operation_kind {
    OPERATION_OTHER,  /* nothing to do */
    OPERATION_START,  /* prepare, start: a failure refuses the start */
    OPERATION_ALIVE,  /* started, reconnect: a failure kills the running VM */
    OPERATION_ENDING, /* stopped, release: the state may know more than the XML */
};

enum { ARGUMENT_NAME = 1, ARGUMENT_OPERATION = 2, ARGUMENT_SUBOPERATION = 3, ARGUMENT_COUNT = 5 };

enum {
    INPUT_LIMIT = 128 << 20, /* bytes; libvirt's own limits are far below */
    INPUT_MS = 20000,        /* libvirt writes at once; what does not is not libvirt */
};

static enum operation_kind operation_kind(const char *operation)
{
    static const struct {
        const char *name;
        enum operation_kind kind;
    } operations[] = {
        {"prepare", OPERATION_START},   {"start", OPERATION_START},    {"started", OPERATION_ALIVE},
        {"reconnect", OPERATION_ALIVE}, {"stopped", OPERATION_ENDING}, {"release", OPERATION_ENDING},
    };

    for (size_t i = 0; i < sizeof operations / sizeof operations[0]; i++) {
        if (strcmp(operation, operations[i].name) == 0) {
            return operations[i].kind;
        }
    }
    return OPERATION_OTHER;
}

/* The one line on stderr with which the VM's start is refused, and the same to the log.
 * Returns the exit status. */
static int refuse_start(const char *vm, const struct error *err)
{
    char name[1024];
    char line[sizeof name + sizeof err->text + 64];
    text_escape(name, sizeof name, vm);
    int length = snprintf(line, sizeof line, "icn-hook: VM '%s' is not started: %s\n", name, err->text);
    log_message(LOG_LEVEL_ERROR, "%s", err->text);
    file_write_all(STDERR_FILENO, line, (size_t)length);
    return err->status;
}

static int no_input(enum operation_kind kind, const char *vm, struct error *err)
{
    if (kind != OPERATION_START) {
        log_message(LOG_LEVEL_ERROR, "%s; nothing was done", err->text);
        return STATUS_OK;
    }
    error_append(err, "; %s", err->status == STATUS_INVALID ? "correct the VM with virsh edit" : "start it again");
    return refuse_start(vm, err);
}

/* What helps, as the end of a sentence. */
static int append_remedy(struct error *err)
{
    if (err->status == STATUS_BUSY) {
        return error_append(err, "; find the card or the tool that hangs with `icn-hook doctor`");
    }
    return error_append(err, "; reinstall icn-hook, then `ldd %s` must find every library", engine_path());
}

static void note_domain_end(const struct buffer *text)
{
    struct error err;
    char uuid[UUID_SIZE];
    if (!claim_uuid(text->data, text->length, uuid)) {
        log_message(LOG_LEVEL_ERROR, "the domain's XML has no uuid, so its end could not be noted; `icn-hook status` "
                                     "shows what it still owns");
    } else if (ended_note(uuid, &err) < 0) {
        log_message(LOG_LEVEL_ERROR, "%s; its cards stay its own until `icn-hook repair`", err.text);
    } else {
        log_message(LOG_LEVEL_NOTICE, "its end is noted: the next hook or `icn-hook repair` gives its cards back");
    }
}

static int without_engine(enum operation_kind kind, const char *vm, const struct buffer *text, struct error *err)
{
    bool has_claim = kind == OPERATION_ENDING && claim_may_exist(text->data, text->length);
    if (!has_claim && !scan_holds_host_device(text->data, text->length)) {
        return STATUS_OK;
    }
    if (kind == OPERATION_START) {
        error_append(err, ", so the links of its host PCI devices cannot be isolated");
        append_remedy(err);
        return refuse_start(vm, err);
    }
    error_append(err, "; the links of the VM's host PCI devices were left as they are");
    append_remedy(err);
    log_message(LOG_LEVEL_ERROR, "%s", err->text);
    if (has_claim) {
        note_domain_end(text);
    }
    return STATUS_OK;
}

static int answer_call(enum operation_kind kind, int count, char *arguments[])
{
    static struct buffer text; /* lives as long as the program */
    struct error err;
    int status;
    /* The engine knows hook mode by this shape; in any other it would take a VM's name for
     * an option. */
    if (count != ARGUMENT_COUNT || (strcmp(arguments[ARGUMENT_SUBOPERATION], "begin") != 0 &&
                                    strcmp(arguments[ARGUMENT_SUBOPERATION], "end") != 0)) {
        error_set(&err, STATUS_USAGE,
                  "the hook was not called as NAME OPERATION begin|end EXTRA; only libvirt should call it");
        return kind == OPERATION_START ? refuse_start(arguments[ARGUMENT_NAME], &err) : STATUS_OK;
    }
    if (file_read_fd(STDIN_FILENO, "the domain's XML on stdin", INPUT_LIMIT, deadline_after_ms(INPUT_MS), &text, &err) <
        0) {
        return no_input(kind, arguments[ARGUMENT_NAME], &err);
    }
    if (plain_cannot_hold(text.data, text.length) &&
        (kind != OPERATION_ENDING || !claim_may_exist(text.data, text.length))) {
        return STATUS_OK;
    }
    if (engine_run(arguments, &text, &status, &err) < 0) {
        return without_engine(kind, arguments[ARGUMENT_NAME], &text, &err);
    }
    /* Besides a start, only `started` may fail, and only to end a VM that leaks
     * (on_leak = kill). */
    bool kills = status == STATUS_CHECK_FAILED && strcmp(arguments[ARGUMENT_OPERATION], "started") == 0;
    return kind == OPERATION_START || kills ? status : STATUS_OK;
}

int main(int argc, char *argv[])
{
    file_occupy_standard_descriptors();
    signal(SIGPIPE, SIG_IGN);
    if (argc < 3) {
        fputs("usage: qemu NAME OPERATION begin|end EXTRA < DOMAIN-XML (libvirt's hook; see icn-hook)\n", stderr);
        return STATUS_USAGE;
    }
    enum operation_kind kind = operation_kind(argv[ARGUMENT_OPERATION]);
    if (kind == OPERATION_OTHER) {
        return STATUS_OK;
    }
    memory_set_failure_status(kind == OPERATION_START ? STATUS_HARDWARE : STATUS_OK);
    log_open_hook(argv[ARGUMENT_NAME], argv[ARGUMENT_OPERATION]);
    return answer_call(kind, argc, argv);
}
