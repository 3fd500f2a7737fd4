/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/vm_events.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "engine/links.h"
#include "hook_calls.h"

/* -- What is asked ------------------------------------------------------------------- */

static void test_may_refuse(void **state)
{
    static const char *const others[] = {"started", "stopped", "release", "reconnect", "migrate", "", "prepare "};
    (void)state;
    assert_true(vm_event_may_refuse("prepare"));
    assert_true(vm_event_may_refuse("start"));
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        assert_false(vm_event_may_refuse(others[i]));
    }
}

static void test_operations_that_do_nothing(void **state)
{
    static const char *const operations[] = {"migrate", "restore", "attach", "", "PREPARE"};
    (void)state;
    for (size_t i = 0; i < sizeof operations / sizeof operations[0]; i++) {
        assert_fine(operations[i], "junk");
    }
    assert_false(host_has(HOOK_LOG));
}

static void test_domain_without_devices(void **state)
{
    static const char *const operations[] = {"prepare", "start", "started", "stopped", "release", "reconnect"};
    (void)state;
    simulated_text(SETTINGS, "broken");
    for (size_t i = 0; i < sizeof operations / sizeof operations[0]; i++) {
        assert_fine(operations[i], vm(""));
    }
    assert_false(host_has(RUN));
    assert_false(host_has(HOOK_LOG));
}

static void test_text_that_is_no_domain(void **state)
{
    (void)state;
    assert_start_refused("prepare", "junk", STATUS_INVALID, "the domain's XML: ");
    assert_fine("stopped", "junk");
    assert_fine("reconnect", "junk");
    assert_logged("correct the VM with virsh edit");
}

static void test_domain_without_uuid(void **state)
{
    (void)state;
    const char *text = scene_xml("a", "", "01");
    char without[2048];
    snprintf(without, sizeof without, "%.*s%s", (int)(strstr(text, "<uuid>") - text), text,
             strstr(text, "</uuid>") + strlen("</uuid>"));
    assert_start_refused("prepare", without, STATUS_INVALID, "the domain's XML has no uuid");
    assert_fine("started", without);
    assert_fine("stopped", without);
    assert_logged("the domain's XML has no uuid");
    assert_false(host_has(RUN));
}

/* -- A whole life --------------------------------------------------------------------- */

static void test_a_whole_life(void **state)
{
    (void)state;
    assert_fine("prepare", vm("01"));
    assert_masks(isolated);
    assert_claim(VM_A, "starting 01");
    assert_logged("vm=a op=test isolated; cut: 0:0x00000000>0x00000019 1:0x00000000>0x00000031 2:");
    assert_fine("start", vm("01"));
    assert_logged("isolation verified; cut: nothing; restored: nothing; ");
    assert_claim(VM_A, "starting 01");
    qemu_starts("01");
    assert_fine("started", vm("01"));
    assert_logged("running; cut: nothing; restored: nothing; ");
    assert_false(is_logged("LEAK"));
    assert_claim(VM_A, "running 01");
    assert_masks(isolated);
    qemu_ends("01");
    assert_fine("stopped", vm("01"));
    assert_masks(nothing_cut);
    assert_claim(VM_A, "none");
    assert_logged("stopped; cut: nothing; restored: 0:0x00000019>0x00000000 ");
    assert_fine("release", vm("01"));
    assert_logged("released; cut: nothing; restored: nothing; ");
    assert_false(host_has(CARDS_JSON));
}

/* At prepare a host driver may hold the cards: their cuts are put off to the gate, which insists. */
static void test_cards_that_a_driver_holds(void **state)
{
    (void)state;
    scene_bind(addresses[0], "ppu", 1);
    scene_bind(addresses[1], "ppu", 1);
    assert_fine("prepare", vm("01"));
    assert_masks((const uint32_t[CARDS]){0, 0, 0x18, 0x30, 0, 0, 0x1, 0x1});
    assert_logged("0:unread>0x00000019(deferred)");
    assert_start_refused("start", vm("01"), STATUS_HARDWARE, "PPU 0 (0000:08:00.0): resource0 cannot be mapped now");
    assert_start_refused("start", vm("01"), STATUS_HARDWARE,
                         "; its links are not all cut, so correct that, then start it again");
    scene_let_go(0);
    scene_let_go(1);
    assert_fine("start", vm("01"));
    assert_masks(isolated);
}

/* At the gate without a claim the cuts that are there are taken to be ours; with one they were there before us. */
static void test_originals_at_the_gate(void **state)
{
    static const char *const remembered[] = {"0/19/19", "19/19/19"};
    for (int prepared = 0; prepared < 2; prepared++) {
        struct session session;
        hook_calls_start(state);
        set_masks(isolated);
        if (prepared == 1) {
            assert_fine("prepare", vm("01"));
        }
        assert_fine("start", vm("01"));
        scene_session(&session, SESSION_LOOK);
        assert_memory(&session, 0, remembered[prepared]);
        session_close(&session);
    }
}

/* The claim names the daemon; a hook that outlives it comes too late, for its successor may be at work already. */
static void test_daemon(void **state)
{
    struct session session;
    (void)state;
    has_daemon = true;
    daemon_identity = scene_daemon();
    assert_fine("prepare", vm("01"));
    scene_session(&session, SESSION_LOOK);
    assert_true(state_claim(&session.state, VM_A)->has_daemon);
    assert_int_equal(state_claim(&session.state, VM_A)->daemon.pid, daemon_identity.pid);
    session_close(&session);
    daemon_identity = (struct process_identity){.pid = 4194304, .start = 1}; /* above the largest pid */
    assert_start_refused("prepare", scene_xml("b", VM_B, "5"), STATUS_BUSY,
                         "the libvirt daemon that called this hook (pid 4194304) has ended; nothing was done");
    assert_claim(VM_B, "none");
    assert_fine("stopped", vm("01"));
    assert_masks(isolated);
    assert_true(host_has(CLAIM_OF_A));
    assert_false(host_has(TOMBSTONE_OF(VM_A)));
}

/* The evidence of the gate is what speaks for the cards while QEMU has them. */
static void test_evidence_of_the_gate(void **state)
{
    static const bool gated[] = {false, true};
    for (size_t i = 0; i < 2; i++) {
        struct session session;
        hook_calls_start(state);
        assert_fine("prepare", vm("01"));
        if (gated[i]) {
            assert_fine("start", vm("01"));
        }
        qemu_starts("01");
        assert_fine("started", vm("01"));
        scene_session(&session, SESSION_LOOK);
        session_look_at_all(&session);
        assert_int_equal(links_no_gate(&session, 0), !gated[i]);
        assert_int_equal(links_no_gate(&session, 1), !gated[i]);
        assert_int_equal(links_judge(&session), gated[i] ? STATUS_OK : STATUS_UNVERIFIED);
        session_close(&session);
    }
}

/* A card that was written after the gate, or for an earlier start, is not shown to be cut by it. */
static void test_new_start_has_no_old_evidence(void **state)
{
    struct session session;
    (void)state;
    assert_fine("prepare", vm("0"));
    assert_fine("start", vm("0"));
    assert_fine("prepare", vm("0"));
    scene_session(&session, SESSION_LOOK);
    assert_memory(&session, 0, "0/39/-");
    session_close(&session);
}

/* Cards that the network pool gives show up at start only. */
static void test_card_that_appears_at_start(void **state)
{
    (void)state;
    assert_fine("prepare", vm(""));
    assert_fine("start", vm("01"));
    assert_masks(isolated);
    assert_claim(VM_A, "starting 01");
}

/* The XML of the next call has other cards: what it had before goes back. */
static void test_other_cards_than_before(void **state)
{
    (void)state;
    assert_fine("prepare", vm("01"));
    assert_fine("prepare", vm("6"));
    assert_masks((const uint32_t[CARDS]){0x01, 0, 0, 0, 0x08, 0x10, 0x39, 0x08});
    assert_claim(VM_A, "starting 6");
}

/* A VM that is gone, and of which nobody said so, gives its cards to the next one. */
static void test_after_a_vm_that_is_gone(void **state)
{
    (void)state;
    scene_claim(&(struct scene_claim){.name = "b", .uuid = VM_B, .phase = CLAIM_RUNNING, .ppus = "06"});
    for (const char *at = "06"; *at != '\0'; at++) {
        scene_memory(*at - '0', 0, 0x39);
    }
    set_masks((const uint32_t[CARDS]){0x38, 0, 0, 0, 0, 0, 0x38});
    assert_fine("prepare", vm("01"));
    assert_masks(isolated);
    assert_claim(VM_B, "none");
    assert_logged("VM 'b' has ended without a call that said so; its cards are given back");
}

/* -- Refusals ------------------------------------------------------------------------- */

static void test_card_of_another_domain(void **state)
{
    (void)state;
    scene_running("b", VM_B, "1", 102);
    assert_start_refused("prepare", vm("01"), STATUS_CONFLICT, "PPU 1 (0000:7e:00.0) is owned by VM 'b'");
    assert_false(host_has(CLAIM_OF_A));
    assert_masks(nothing_cut);
}

static void test_state_that_cannot_be_used(void **state)
{
    (void)state;
    simulated_text(RUN, "");
    assert_start_refused("prepare", vm("0"), STATUS_INVALID, simulated_path(RUN));
    assert_fine("started", vm("0"));
    assert_fine("stopped", vm("0"));
    assert_masks(nothing_cut);
}

static void test_near_end_that_is_off_the_bus(void **state)
{
    (void)state;
    set_masks((const uint32_t[CARDS]){UINT32_MAX});
    simulated_config(addresses[0], 0xffff, 0xffff);
    assert_start_refused("prepare", vm("01"), STATUS_HARDWARE, "PPU 0 (0000:08:00.0): the register reads all ones");
    assert_false(host_has(CLAIM_OF_A));
}

static void test_doubt(void **state)
{
    (void)state;
    scene_claim(&(struct scene_claim){.name = "b", .uuid = VM_B, .ppus = "6"});
    simulated_text(CLAIM_OF(VM_B), "{");
    assert_start_refused("prepare", vm("0"), STATUS_INVALID, CLAIM_OF(VM_B));
    assert_masks(nothing_cut);
}

static void test_settings_that_are_broken(void **state)
{
    (void)state;
    simulated_text(SETTINGS, "[policy]\nidle = perhaps\n");
    assert_start_refused("prepare", vm("0"), STATUS_INVALID, "idle is \"perhaps\"");
    assert_start_refused("start", vm("0"), STATUS_INVALID, "idle is \"perhaps\"");
    assert_fine("started", vm("0"));
    assert_fine("reconnect", vm("0"));
    assert_fine("release", vm("0"));
}

/* -- The same path, looking -------------------------------------------------------------- */

static int make_plan(struct vm_plan *plan, const char *text, struct error *err)
{
    struct domain domain;
    *err = (struct error){0};
    assert_done(domain_parse(text, strlen(text), "test", &domain, err), err);
    int result = vm_plan_make(plan, NULL, &domain, err);
    domain_free(&domain);
    return result;
}

static void test_plan(void **state)
{
    struct vm_plan plan;
    struct error err;
    (void)state;
    assert_done(make_plan(&plan, vm("01"), &err), &err);
    assert_true(plan.isolates);
    assert_int_equal(plan.cards.count, 2);
    assert_true(plan.turn->near[1] && !plan.turn->near[2]);
    assert_plan(&plan.session, "0:0>19 1:0>31 2:0>18 3:0>30 6:0>1 7:0>1");
    assert_int_equal(plan.session.state.lockfd, -1);
    vm_plan_free(&plan);
    assert_masks(nothing_cut);
    assert_false(host_has(RUN));
}

static void test_plan_of_a_domain_that_passes(void **state)
{
    struct vm_plan plan;
    struct error err;
    (void)state;
    simulated_text(SETTINGS, "broken");
    assert_done(make_plan(&plan, vm(""), &err), &err);
    assert_false(plan.isolates);
    assert_null(plan.turn);
    assert_int_equal(plan.cards.count, 0);
    vm_plan_free(&plan);
}

static void test_plan_that_is_refused(void **state)
{
    struct vm_plan plan;
    struct error err;
    (void)state;
    scene_running("b", VM_B, "1", 102);
    assert_int_equal(make_plan(&plan, vm("01"), &err), -1);
    assert_int_equal(err.status, STATUS_CONFLICT);
    assert_memory_equal(err.text, "PPU 1 (0000:7e:00.0) is owned by VM 'b'", 39);
    assert_false(plan.isolates);
    assert_null(plan.turn);
    assert_int_equal(plan.cards.count, 2);
    assert_owners(&plan.session, ".1......");
    vm_plan_free(&plan);
    simulated_remove(TOPOLOGY);
    assert_int_equal(make_plan(&plan, vm("0"), &err), -1);
    assert_int_equal(err.status, STATUS_INVALID);
    vm_plan_free(&plan);
}

/* What it says of a domain that ended in silence is what prepare does then. */
static void test_plan_after_a_vm_that_is_gone(void **state)
{
    struct vm_plan plan;
    struct error err;
    (void)state;
    scene_claim(&(struct scene_claim){.name = "b", .uuid = VM_B, .phase = CLAIM_RUNNING, .ppus = "5"});
    scene_memory(5, 0, 0x39);
    set_masks((const uint32_t[CARDS]){[5] = 0x39});
    assert_done(make_plan(&plan, vm("01"), &err), &err);
    assert_plan(&plan.session, "0:0>19 1:0>31 2:0>18 3:0>30 6:0>1 7:0>1 5:39>0");
    vm_plan_free(&plan);
    assert_true(host_has(CLAIM_OF(VM_B)));
    assert_fine("prepare", vm("01"));
    assert_masks(isolated);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_may_refuse),
        cmocka_unit_test_setup(test_operations_that_do_nothing, hook_calls_start),
        cmocka_unit_test_setup(test_domain_without_devices, hook_calls_start),
        cmocka_unit_test_setup(test_text_that_is_no_domain, hook_calls_start),
        cmocka_unit_test_setup(test_domain_without_uuid, hook_calls_start),
        cmocka_unit_test_setup(test_a_whole_life, hook_calls_start),
        cmocka_unit_test_setup(test_cards_that_a_driver_holds, hook_calls_start),
        cmocka_unit_test(test_originals_at_the_gate),
        cmocka_unit_test_setup(test_daemon, hook_calls_start),
        cmocka_unit_test(test_evidence_of_the_gate),
        cmocka_unit_test_setup(test_new_start_has_no_old_evidence, hook_calls_start),
        cmocka_unit_test_setup(test_card_that_appears_at_start, hook_calls_start),
        cmocka_unit_test_setup(test_other_cards_than_before, hook_calls_start),
        cmocka_unit_test_setup(test_after_a_vm_that_is_gone, hook_calls_start),
        cmocka_unit_test_setup(test_card_of_another_domain, hook_calls_start),
        cmocka_unit_test_setup(test_state_that_cannot_be_used, hook_calls_start),
        cmocka_unit_test_setup(test_near_end_that_is_off_the_bus, hook_calls_start),
        cmocka_unit_test_setup(test_doubt, hook_calls_start),
        cmocka_unit_test_setup(test_settings_that_are_broken, hook_calls_start),
        cmocka_unit_test_setup(test_plan, hook_calls_start),
        cmocka_unit_test_setup(test_plan_of_a_domain_that_passes, hook_calls_start),
        cmocka_unit_test_setup(test_plan_that_is_refused, hook_calls_start),
        cmocka_unit_test_setup(test_plan_after_a_vm_that_is_gone, hook_calls_start),
    };
    return cmocka_run_group_tests(tests, simulated_host_start, simulated_host_stop);
}
