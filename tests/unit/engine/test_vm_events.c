/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/vm_events.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"
#include "engine/links.h"
#include "scene.h"

#define REFUSED "icn-hook: VM 'a' is not started: "

static const uint32_t nothing_cut[CARDS] = {0};
static const uint32_t isolated[CARDS] = {0x19, 0x31, 0x18, 0x30, 0, 0, 0x1, 0x1};
static const char claim_of_a[] = CLAIM_OF(VM_A);

/* The libvirt daemon behind the call: by itself there is none in a test. */
static bool has_daemon;
static struct process_identity daemon_identity;

bool __wrap_process_daemon_behind_call(struct process_identity *daemon);
bool __wrap_process_daemon_behind_call(struct process_identity *daemon)
{
    if (has_daemon) {
        *daemon = daemon_identity;
    }
    return has_daemon;
}

static int start(void **state)
{
    has_daemon = false;
    scene_start(state);
    log_open_hook("a", "test");
    return 0;
}

static enum status call(const char *operation, const char *text, struct error *err)
{
    *err = (struct error){0};
    return vm_event_run("a", operation, text, strlen(text), err);
}

static void assert_fine(const char *operation, const char *text)
{
    struct error err;
    enum status status = call(operation, text, &err);
    if (status != STATUS_OK) {
        fail_msg("%s: %d %s", operation, status, err.text);
    }
}

static void assert_refused(const char *operation, const char *text, enum status status, const char *reason)
{
    struct error err;
    assert_int_equal(call(operation, text, &err), status);
    assert_memory_equal(err.text, REFUSED, strlen(REFUSED));
    if (!strstr(err.text, reason)) {
        fail_msg("%s", err.text);
    }
}

static bool is_logged(const char *words)
{
    return host_has(HOOK_LOG) && strstr(simulated_read(HOOK_LOG), words);
}

static void assert_logged(const char *words)
{
    if (!is_logged(words)) {
        fail_msg("not logged: %s\n%s", words, host_has(HOOK_LOG) ? simulated_read(HOOK_LOG) : "");
    }
}

static const char *vm(const char *ppus)
{
    return scene_xml("a", VM_A, ppus);
}

/* libvirt binds the cards to vfio-pci and starts QEMU, which holds them open. */
static void qemu_starts(const char *ppus)
{
    scene_running("a", VM_A, ppus, 101);
    for (; *ppus != '\0'; ppus++) {
        scene_hold(*ppus - '0');
    }
}

static void qemu_ends(const char *ppus)
{
    simulated_remove("/proc/101");
    for (; *ppus != '\0'; ppus++) {
        scene_let_go(*ppus - '0');
    }
}

/* The claim's phase and cards, as a text. */
static void assert_claim(const char *uuid, const char *expected)
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
    assert_refused("prepare", "junk", STATUS_INVALID, "the domain's XML: ");
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
    assert_refused("prepare", without, STATUS_INVALID, "the domain's XML has no uuid");
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
    assert_refused("start", vm("01"), STATUS_HARDWARE, "PPU 0 (0000:08:00.0): resource0 cannot be mapped now");
    assert_refused("start", vm("01"), STATUS_HARDWARE,
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
        start(state);
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
    assert_refused("prepare", scene_xml("b", VM_B, "5"), STATUS_BUSY,
                   "the libvirt daemon that called this hook (pid 4194304) has ended; nothing was done");
    assert_claim(VM_B, "none");
    assert_fine("stopped", vm("01"));
    assert_masks(isolated);
    assert_true(host_has(claim_of_a));
    assert_false(host_has(TOMBSTONE_OF(VM_A)));
}

/* The evidence of the gate is what speaks for the cards while QEMU has them. */
static void test_evidence_of_the_gate(void **state)
{
    static const bool gated[] = {false, true};
    for (size_t i = 0; i < 2; i++) {
        struct session session;
        start(state);
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
    assert_refused("prepare", vm("01"), STATUS_CONFLICT, "PPU 1 (0000:7e:00.0) is owned by VM 'b'");
    assert_false(host_has(claim_of_a));
    assert_masks(nothing_cut);
}

static void test_state_that_cannot_be_used(void **state)
{
    (void)state;
    simulated_text(RUN, "");
    assert_refused("prepare", vm("0"), STATUS_INVALID, simulated_path(RUN));
    assert_fine("started", vm("0"));
    assert_fine("stopped", vm("0"));
    assert_masks(nothing_cut);
}

static void test_near_end_that_is_off_the_bus(void **state)
{
    (void)state;
    set_masks((const uint32_t[CARDS]){UINT32_MAX});
    simulated_config(addresses[0], 0xffff, 0xffff);
    assert_refused("prepare", vm("01"), STATUS_HARDWARE, "PPU 0 (0000:08:00.0): the register reads all ones");
    assert_false(host_has(claim_of_a));
}

static void test_doubt(void **state)
{
    (void)state;
    scene_claim(&(struct scene_claim){.name = "b", .uuid = VM_B, .ppus = "6"});
    simulated_text(CLAIM_OF(VM_B), "{");
    assert_refused("prepare", vm("0"), STATUS_INVALID, CLAIM_OF(VM_B));
    assert_masks(nothing_cut);
}

static void test_settings_that_are_broken(void **state)
{
    (void)state;
    simulated_text(SETTINGS, "[policy]\nidle = perhaps\n");
    assert_refused("prepare", vm("0"), STATUS_INVALID, "idle is \"perhaps\"");
    assert_refused("start", vm("0"), STATUS_INVALID, "idle is \"perhaps\"");
    assert_fine("started", vm("0"));
    assert_fine("reconnect", vm("0"));
    assert_fine("release", vm("0"));
}

/* -- While it runs -------------------------------------------------------------------- */

static void test_leak_in_a_running_vm(void **state)
{
    static const struct {
        const char *settings;
        const char *operation;
        enum status status;
    } cases[] = {
        {"", "started", STATUS_OK},
        {"[policy]\non_leak = kill\n", "started", STATUS_CHECK_FAILED},
        {"[policy]\non_leak = kill\n", "reconnect", STATUS_OK},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct error err;
        start(state);
        simulated_text(SETTINGS, cases[i].settings);
        scene_running("a", VM_A, "01", 101);
        assert_int_equal(call(cases[i].operation, vm("01"), &err), cases[i].status);
        assert_string_equal(err.text,
                            "LEAK: link 0 of PPU 0 (0000:08:00.0) to PPU 6 (idle) was open on both sides while "
                            "the VM ran");
        assert_logged(err.text);
        assert_int_equal(simulated_register(addresses[0], LINK_CONFIG_OFFSET), 0x19);
        assert_claim(VM_A, "running 01");
    }
}

/* Its links are cut where they must be, and never opened while it runs; started leaves the neighbours alone. */
static void test_running_vm_is_not_opened(void **state)
{
    static const struct {
        const char *operation;
        uint32_t masks[CARDS];
    } cases[] = {
        {"started", {0x39, 0x39}},
        {"reconnect", {0x39, 0x39, 0x18, 0x30, 0, 0, 0x1, 0x1}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        start(state);
        scene_running("a", VM_A, "01", 101);
        set_masks((const uint32_t[CARDS]){0x39, 0x39});
        assert_fine(cases[i].operation, vm("01"));
        assert_masks(cases[i].masks);
    }
}

/* The daemon is back, and the state is lost: the claim comes from the status file, hot-plugged cards included. */
static void test_reconnect_without_state(void **state)
{
    (void)state;
    qemu_starts("014");
    assert_fine("reconnect", vm("01"));
    assert_claim(VM_A, "running 014");
}

/* Only what a status file shows has been seen to run. */
static void test_started_without_a_status_file(void **state)
{
    (void)state;
    assert_fine("prepare", vm("01"));
    assert_fine("started", vm("01"));
    assert_claim(VM_A, "starting 01");
}

/* -- The end -------------------------------------------------------------------------- */

/* Undo is keyed by owner, never by the XML. */
static void test_stop_of_a_refused_domain(void **state)
{
    (void)state;
    assert_fine("prepare", vm("01"));
    assert_fine("stopped", scene_xml("b", VM_B, "1"));
    assert_fine("release", scene_xml("b", VM_B, "1"));
    assert_masks(isolated);
    assert_claim(VM_A, "starting 01");
}

/* … so it gives back all that it had, whatever the XML lists by then. */
static void test_stop_with_other_cards_in_the_xml(void **state)
{
    (void)state;
    assert_fine("prepare", vm("01"));
    assert_fine("stopped", vm("6"));
    assert_masks(nothing_cut);
    assert_claim(VM_A, "none");
    assert_fine("prepare", vm("01"));
    assert_fine("release", vm(""));
    assert_masks(nothing_cut);
}

/* The claim is lost, but libvirt still keeps the status file at `stopped`. */
static void test_stop_without_a_claim(void **state)
{
    (void)state;
    set_masks(isolated);
    scene_left_over("a", VM_A, "01");
    assert_fine("stopped", vm("01"));
    assert_masks(nothing_cut);
}

/* … or does not: then nothing says that these cards were its own. */
static void test_stop_without_anything(void **state)
{
    (void)state;
    set_masks(isolated);
    assert_fine("stopped", vm("01"));
    assert_masks(isolated);
}

/* libvirt goes on although QEMU survived its kill. */
static void test_stop_of_a_vm_that_lives(void **state)
{
    (void)state;
    assert_fine("prepare", vm("01"));
    assert_fine("start", vm("01"));
    qemu_starts("01");
    assert_fine("stopped", vm("01"));
    assert_masks(isolated);
    assert_claim(VM_A, "running 01");
    assert_logged("VM 'a' was stopped but its process 101 lives; its cards stay isolated until that ends");
}

/* A card that somebody still holds at `stopped` is given back by whatever comes next. */
static void test_stop_with_a_held_card(void **state)
{
    (void)state;
    assert_fine("prepare", vm("01"));
    scene_hold(0);
    assert_fine("stopped", vm("01"));
    assert_claim(VM_A, "none");
    assert_masks((const uint32_t[CARDS]){0x19, 0x08, 0x08, 0x10, 0, 0, 0x1, 0});
    scene_let_go(0);
    assert_fine("release", vm("01"));
    assert_masks(nothing_cut);
    assert_false(host_has(CARDS_JSON));
}

/* … and so is one whose registers cannot be written then: `release` tries again, and leaves a debt at the most. */
static void test_stop_that_release_finishes(void **state)
{
    static const bool can_be_written[] = {true, false};
    for (size_t i = 0; i < 2; i++) {
        start(state);
        assert_fine("prepare", vm("01"));
        scene_bind(addresses[0], "ppu", 1);
        assert_fine("stopped", vm("01"));
        assert_true(host_has(claim_of_a));
        assert_true(host_has(TOMBSTONE_OF(VM_A)));
        assert_masks((const uint32_t[CARDS]){0x19});
        if (can_be_written[i]) {
            scene_let_go(0);
        }
        assert_fine("release", vm("01"));
        assert_false(host_has(claim_of_a));
        assert_false(host_has(TOMBSTONE_OF(VM_A)));
        assert_masks((const uint32_t[CARDS]){can_be_written[i] ? 0 : 0x19});
        assert_int_equal(host_has(CARDS_JSON), !can_be_written[i]);
    }
}

/* What is broken refuses starts, but an end is never lost: it is noted, and carried out by whoever comes next. */
static void test_stop_with_broken_settings(void **state)
{
    (void)state;
    assert_fine("prepare", vm("01"));
    simulated_text(SETTINGS, "[policy]\nidle = perhaps\n");
    assert_fine("stopped", vm("01"));
    assert_logged("; its end is noted, and the next hook or `icn-hook repair` carries it out");
    assert_masks(isolated);
    assert_true(host_has(TOMBSTONE_OF(VM_A)));
    simulated_remove(SETTINGS);
    assert_fine("prepare", scene_xml("b", VM_B, "5"));
    assert_claim(VM_A, "none");
    assert_false(host_has(TOMBSTONE_OF(VM_A)));
    assert_masks((const uint32_t[CARDS]){0, 0, 0, 0x01, 0x20, 0x39, 0x10, 0x20});
}

static void test_stop_without_the_lock(void **state)
{
    struct session other;
    (void)state;
    simulated_text(SETTINGS, "[policy]\nlock_timeout = 0\n");
    assert_fine("prepare", vm("01"));
    scene_session(&other, SESSION_CHANGE);
    assert_fine("stopped", vm("01"));
    assert_true(host_has(TOMBSTONE_OF(VM_A)));
    session_close(&other);
    assert_masks(isolated);
    assert_fine("release", vm("01"));
    assert_masks(nothing_cut);
    assert_false(host_has(claim_of_a));
}

/* A damaged claim is the domain's own: its end removes it, and a new start may replace it. */
static void test_damaged_claim_of_its_own(void **state)
{
    (void)state;
    assert_fine("prepare", vm("01"));
    simulated_text(claim_of_a, "{");
    assert_fine("prepare", vm("01"));
    assert_claim(VM_A, "starting 01");
    simulated_text(claim_of_a, "{");
    assert_fine("stopped", vm("01"));
    assert_claim(VM_A, "none");
}

/* -- Besides -------------------------------------------------------------------------- */

static void test_notes_are_logged(void **state)
{
    (void)state;
    assert_fine("prepare", vm("0"));
    simulated_remove("/sys/bus/pci/devices/0001:aa:00.0/resource0");
    simulated_text(RUN "/stranger", "");
    assert_fine("start", vm("0"));
    assert_logged(RUN "/stranger");
    assert_logged(
        "PPU 6 (0001:aa:00.0): resource0 is missing: the card has no such BAR; check bar in [registers]; its own "
        "ends of the links stay as they are");
}

static void test_vendor_tool(void **state)
{
    (void)state;
    simulated_text(SETTINGS, "[registers]\nbackend = ppudbg\n[ppudbg]\npath = " TESTS_DIR "/lib/ppudbg\n");
    assert_fine("prepare", vm("01"));
    assert_masks((const uint32_t[CARDS]){0x19, 0x31});
    assert_fine("start", vm("01"));
    assert_fine("stopped", vm("01"));
    assert_fine("release", vm("01"));
    assert_masks(nothing_cut);
    simulated_text("/etc/ppudbg.fault", "exit");
    assert_refused("prepare", vm("01"), STATUS_HARDWARE, "the firmware refused");
    assert_true(host_has(claim_of_a));
    assert_fine("stopped", vm("01"));
    assert_true(host_has(claim_of_a));
    assert_fine("release", vm("01"));
    assert_false(host_has(claim_of_a));
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
        cmocka_unit_test_setup(test_operations_that_do_nothing, start),
        cmocka_unit_test_setup(test_domain_without_devices, start),
        cmocka_unit_test_setup(test_text_that_is_no_domain, start),
        cmocka_unit_test_setup(test_domain_without_uuid, start),
        cmocka_unit_test_setup(test_a_whole_life, start),
        cmocka_unit_test_setup(test_cards_that_a_driver_holds, start),
        cmocka_unit_test(test_originals_at_the_gate),
        cmocka_unit_test_setup(test_daemon, start),
        cmocka_unit_test(test_evidence_of_the_gate),
        cmocka_unit_test_setup(test_new_start_has_no_old_evidence, start),
        cmocka_unit_test_setup(test_card_that_appears_at_start, start),
        cmocka_unit_test_setup(test_other_cards_than_before, start),
        cmocka_unit_test_setup(test_after_a_vm_that_is_gone, start),
        cmocka_unit_test_setup(test_card_of_another_domain, start),
        cmocka_unit_test_setup(test_state_that_cannot_be_used, start),
        cmocka_unit_test_setup(test_near_end_that_is_off_the_bus, start),
        cmocka_unit_test_setup(test_doubt, start),
        cmocka_unit_test_setup(test_settings_that_are_broken, start),
        cmocka_unit_test(test_leak_in_a_running_vm),
        cmocka_unit_test(test_running_vm_is_not_opened),
        cmocka_unit_test_setup(test_reconnect_without_state, start),
        cmocka_unit_test_setup(test_started_without_a_status_file, start),
        cmocka_unit_test_setup(test_stop_of_a_refused_domain, start),
        cmocka_unit_test_setup(test_stop_with_other_cards_in_the_xml, start),
        cmocka_unit_test_setup(test_stop_without_a_claim, start),
        cmocka_unit_test_setup(test_stop_without_anything, start),
        cmocka_unit_test_setup(test_stop_of_a_vm_that_lives, start),
        cmocka_unit_test_setup(test_stop_with_a_held_card, start),
        cmocka_unit_test(test_stop_that_release_finishes),
        cmocka_unit_test_setup(test_stop_with_broken_settings, start),
        cmocka_unit_test_setup(test_stop_without_the_lock, start),
        cmocka_unit_test_setup(test_damaged_claim_of_its_own, start),
        cmocka_unit_test_setup(test_notes_are_logged, start),
        cmocka_unit_test_setup(test_vendor_tool, start),
        cmocka_unit_test_setup(test_plan, start),
        cmocka_unit_test_setup(test_plan_of_a_domain_that_passes, start),
        cmocka_unit_test_setup(test_plan_that_is_refused, start),
        cmocka_unit_test_setup(test_plan_after_a_vm_that_is_gone, start),
    };
    return cmocka_run_group_tests(tests, simulated_host_start, simulated_host_stop);
}
