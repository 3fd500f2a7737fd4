/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "hook/engine.h"
#include "hook/entry.h"
#include "hook/input.h"
#include "hook/plain.h"
#include "hook/scan.h"
#include "hook/tell.h"

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
 * stdout never gets a byte: libvirt would take it for XML in some operations.
 */

/* By this text packaging/hook-place knows its own file among the administrator's,
 * of whatever version it is: it must never change. */
static const char mark[] __attribute__((used)) = "icn-hook: hook program for libvirt, placed by hook-place";

enum operation_kind {
    OPERATION_OTHER,  /* nothing to do */
    OPERATION_START,  /* prepare, start: a failure refuses the start */
    OPERATION_ALIVE,  /* started, reconnect: a failure kills the running VM */
    OPERATION_ENDING, /* stopped, release: the ledger may know more than the XML */
};

enum { ARGUMENT_NAME = 1, ARGUMENT_OPERATION = 2, ARGUMENT_SUBOPERATION = 3, ARGUMENT_COUNT = 5 };

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

/* The engine knows hook mode by this shape; in any other it would take a VM's
 * name for an option. */
static bool arguments_have_the_shape(int count, char *const arguments[])
{
    return count == ARGUMENT_COUNT && (strcmp(arguments[ARGUMENT_SUBOPERATION], "begin") == 0 ||
                                       strcmp(arguments[ARGUMENT_SUBOPERATION], "end") == 0);
}

static int wrong_arguments(enum operation_kind kind)
{
    if (kind != OPERATION_START) {
        return STATUS_OK;
    }
    tell_refusal("the hook was not called as NAME OPERATION begin|end EXTRA; only libvirt should call it");
    return STATUS_USAGE;
}

static int no_input(enum operation_kind kind, enum status status, int number)
{
    char reason[256];
    if (status == STATUS_BUSY) {
        snprintf(reason, sizeof reason, "the domain's XML on stdin did not end within %d s", INPUT_DEADLINE_S);
    } else if (status == STATUS_INVALID) {
        snprintf(reason, sizeof reason, "the domain's XML on stdin is larger than %d MiB", INPUT_LIMIT >> 20);
    } else {
        snprintf(reason, sizeof reason, "cannot read the domain's XML from stdin: %s", strerror(number));
    }
    if (kind != OPERATION_START) {
        tell_log("%s; nothing was done", reason);
        return STATUS_OK;
    }
    tell_refusal("%s; start it again", reason);
    return status;
}

static int without_engine(enum operation_kind kind, const struct input *input, const char *trouble)
{
    const char *path = engine_path();
    if (!scan_holds_host_device(input->text, input->length) &&
        (kind != OPERATION_ENDING || !entry_may_exist(input->text, input->length))) {
        return STATUS_OK;
    }
    if (kind == OPERATION_START) {
        tell_refusal("%s %s, so the links of its host PCI devices cannot be isolated; reinstall icn-hook, "
                     "then `ldd %s` must find every library",
                     path, trouble, path);
        return STATUS_HARDWARE;
    }
    tell_log("%s %s; the links of the VM's host PCI devices were left as they are; reinstall icn-hook, "
             "then `icn-hook check`",
             path, trouble);
    return STATUS_OK;
}

/* Beside a start, only `started` may fail, and only to end a VM that leaks
 * (on_leak = kill). */
static int with_answer(enum operation_kind kind, const char *operation, int status)
{
    bool kills = status == STATUS_CHECK_FAILED && strcmp(operation, "started") == 0;
    return kind == OPERATION_START || kills ? status : STATUS_OK;
}

static int run(enum operation_kind kind, char *arguments[])
{
    static struct input input; /* lives as long as the program */
    struct engine_answer answer;
    int number = 0;
    enum status status = input_read(&input, &number);
    if (status != STATUS_OK) {
        return no_input(kind, status, number);
    }
    if (plain_cannot_hold(input.text, input.length) &&
        (kind != OPERATION_ENDING || !entry_may_exist(input.text, input.length))) {
        return STATUS_OK;
    }
    engine_run(arguments, &input.text, input.length, &answer);
    if (!answer.given) {
        return without_engine(kind, &input, answer.trouble);
    }
    return with_answer(kind, arguments[ARGUMENT_OPERATION], answer.status);
}

int main(int argc, char *argv[])
{
    if (argc < 3) {
        tell_stderr("usage: qemu NAME OPERATION begin|end EXTRA < DOMAIN-XML (libvirt's hook; see icn-hook)\n");
        return STATUS_USAGE;
    }
    enum operation_kind kind = operation_kind(argv[ARGUMENT_OPERATION]);
    if (kind == OPERATION_OTHER) {
        return STATUS_OK;
    }
    tell_open(argv[ARGUMENT_NAME], argv[ARGUMENT_OPERATION]);
    return arguments_have_the_shape(argc, argv) ? run(kind, argv) : wrong_arguments(kind);
}
