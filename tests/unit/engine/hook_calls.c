/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "hook_calls.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"
#include "engine/vm_events.h"

#define REFUSED "icn-hook: VM 'a' is not started: "

const uint32_t nothing_cut[CARDS] = {0};
const uint32_t isolated[CARDS] = {0x19, 0x31, 0x18, 0x30, 0, 0, 0x1, 0x1};

bool has_daemon;
struct process_identity daemon_identity;

bool __wrap_process_daemon_behind_call(struct process_identity *daemon);
bool __wrap_process_daemon_behind_call(struct process_identity *daemon)
{
    if (has_daemon) {
        *daemon = daemon_identity;
    }
    return has_daemon;
}

int hook_calls_start(void **state)
{
    has_daemon = false;
    scene_start(state);
    log_open_hook("a", "test");
    return 0;
}

const char *vm(const char *ppus)
{
    return scene_xml("a", VM_A, ppus);
}

enum status call(const char *operation, const char *text, struct error *err)
{
    *err = (struct error){0};
    return vm_event_run("a", operation, text, strlen(text), err);
}

void assert_fine(const char *operation, const char *text)
{
    struct error err;
    enum status status = call(operation, text, &err);
    if (status != STATUS_OK) {
        fail_msg("%s: %d %s", operation, status, err.text);
    }
}

void assert_start_refused(const char *operation, const char *text, enum status status, const char *reason)
{
    struct error err;
    assert_int_equal(call(operation, text, &err), status);
    assert_memory_equal(err.text, REFUSED, strlen(REFUSED));
    if (!strstr(err.text, reason)) {
        fail_msg("%s", err.text);
    }
}

bool is_logged(const char *words)
{
    return host_has(HOOK_LOG) && strstr(simulated_read(HOOK_LOG), words);
}

void assert_logged(const char *words)
{
    if (!is_logged(words)) {
        fail_msg("not logged: %s\n%s", words, host_has(HOOK_LOG) ? simulated_read(HOOK_LOG) : "");
    }
}

void assert_claim(const char *uuid, const char *expected)
{
    struct session session;
    char text[64] = "none";
    scene_session(&session, SESSION_LOOK);
    const struct claim *claim = state_claim(&session.state, uuid);
    if (claim) {
        size_t used =
            (size_t)snprintf(text, sizeof text, "%s ", claim->phase == CLAIM_RUNNING ? "running" : "starting");
        for (size_t i = 0; i < claim->card_count; i++) {
            used += (size_t)snprintf(text + used, sizeof text - used, "%d",
                                     machine_ppu_at(session.machine, claim->cards[i].bdf));
        }
    }
    session_close(&session);
    assert_string_equal(text, expected);
}

void qemu_starts(const char *ppus)
{
    scene_running("a", VM_A, ppus, 101);
    for (; *ppus != '\0'; ppus++) {
        scene_hold(*ppus - '0');
    }
}

void qemu_ends(const char *ppus)
{
    simulated_remove("/proc/101");
    for (; *ppus != '\0'; ppus++) {
        scene_let_go(*ppus - '0');
    }
}
