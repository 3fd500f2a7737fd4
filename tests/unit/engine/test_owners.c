/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/owners.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "scene.h"

#define ENDED(kind)                                                                                                    \
    "warning claim: " kind " 'a' has ended, or its start failed, without a call that said so; the next hook or "       \
    "`icn-hook repair` gives its cards back"
#define NOTED_END(kind) "warning claim: " kind " 'a' has ended; the next hook or `icn-hook repair` gives its cards back"
#define HELD(card)                                                                                                     \
    "warning unknown-holder: " card " is held open through vfio by a process that is not a known VM; its links stay "  \
    "cut until it ends"
#define HELD_0 HELD("PPU 0 (0000:08:00.0)")

/* Short, because no claim is older than the host's boot. */
#define SHORT_TIMEOUT "[policy]\nstart_timeout = 10\n"
enum { TIMEOUT_MS = 10 * 1000, LONG_AGO = 2 * TIMEOUT_MS };

static struct session session;

static int start(void **state)
{
    session = (struct session){.state = STATE_CLOSED};
    return scene_start(state);
}

static int stop(void **state)
{
    (void)state;
    session_close(&session);
    return 0;
}

static void look(void)
{
    scene_session(&session, SESSION_LOOK);
}

static void look_again(void)
{
    session_close(&session);
    look();
}

static void test_kinds(void **state)
{
    (void)state;
    assert_string_equal(owner_kind_text(OWNER_KIND_VM), "vm");
    assert_string_equal(owner_kind_text(OWNER_KIND_GROUP), "group");
    assert_string_equal(owner_kind_text(OWNER_KIND_STRANGER), "unknown");
}

static void test_nobody(void **state)
{
    (void)state;
    look();
    assert_int_equal(session.owners.count, 0);
    assert_owners(&session, "........");
    assert_notes(&session.notes, "");
}

/* -- 1. status files of living processes ------------------------------------- */

/* Started before we were installed: only libvirt knows it. */
static void test_running_without_a_claim(void **state)
{
    (void)state;
    scene_running("a", VM_A, "01", 101);
    scene_hold(0);
    look();
    const struct owner *owner = owners_find(&session.owners, VM_A);
    assert_owners(&session, "11......");
    assert_string_equal(owner->name, "a");
    assert_int_equal(owner->kind, OWNER_KIND_VM);
    assert_true(owner->runs);
    assert_int_equal(owner->since, 0);
    assert_int_equal(owner->pid, 101);
    assert_notes(&session.notes, "");
}

/* What was plugged in while it ran is in, what was unplugged is out, whatever the claim says. */
static void test_status_file_beats_the_claim(void **state)
{
    (void)state;
    scene_running("a", VM_A, "04", 101);
    scene_claim(&(struct scene_claim){.name = "a", .uuid = VM_A, .phase = CLAIM_RUNNING, .ppus = "01"});
    look();
    assert_owners(&session, "1...1...");
    assert_int_equal(session.owners.count, 1);
    assert_int_equal(session.owners.holding_count, 2);
    assert_int_equal(state_claim(&session.state, VM_A)->verdict, CLAIM_SUPERSEDED);
    assert_int_equal(owners_find(&session.owners, VM_A)->since, 4711);
}

/* … and who holds an unplugged card open is nobody we know. */
static void test_unplugged_card_that_is_held(void **state)
{
    (void)state;
    scene_running("a", VM_A, "1", 101);
    scene_claim(&(struct scene_claim){.name = "a", .uuid = VM_A, .phase = CLAIM_RUNNING, .ppus = "01"});
    scene_hold(0);
    look();
    assert_owners(&session, "?1......");
    assert_notes(&session.notes, HELD_0);
}

/* Running domains without a card, or without a uuid, own nothing, and neither do dead ones. */
static void test_domains_that_own_nothing(void **state)
{
    (void)state;
    scene_running("a", VM_A, "", 101);
    scene_running("b", " ", "1", 102);
    scene_left_over("c", VM_C, "2");
    look();
    assert_int_equal(session.owners.count, 0);
    assert_owners(&session, "........");
    /* … whatever an old claim says. */
    session_close(&session);
    scene_claim(&(struct scene_claim){.name = "a", .uuid = VM_A, .phase = CLAIM_RUNNING, .ppus = "0"});
    look();
    assert_int_equal(session.owners.count, 0);
    assert_int_equal(session.state.claims[0].verdict, CLAIM_SUPERSEDED);
}

/* A domain with a part of a card and the card itself has it as a whole. */
static void test_whole_beside_a_part(void **state)
{
    (void)state;
    scene_virtual_function(0, 0, "0000:08:00.1");
    simulated_text("/run/libvirt/qemu/a.xml",
                   "<domstatus pid='101'><domain><name>a</name><uuid>" VM_A "</uuid><devices>"
                   "<hostdev mode='subsystem' type='pci'><source><address bus='8' function='1'/></source></hostdev>"
                   "<hostdev mode='subsystem' type='pci'><source><address bus='8'/></source></hostdev>"
                   "</devices></domain></domstatus>");
    simulated_directory("/proc/101");
    look();
    assert_int_equal(session.owners.holding_count, 1);
    assert_true(session.owners.holdings[0].whole);
    assert_owners(&session, "1.......");
}

static void test_parts_of_two_domains(void **state)
{
    static const char status[] =
        "<domstatus pid='%d'><domain><name>%s</name><uuid>%s</uuid><devices><hostdev mode='subsystem' type='pci'>"
        "<source><address bus='8' function='%d'/></source></hostdev></devices></domain></domstatus>";
    char text[1024];
    (void)state;
    scene_virtual_function(0, 0, "0000:08:00.1");
    scene_virtual_function(0, 1, "0000:08:00.2");
    snprintf(text, sizeof text, status, 101, "a", VM_A, 1);
    simulated_text("/run/libvirt/qemu/a.xml", text);
    snprintf(text, sizeof text, status, 102, "b", VM_B, 2);
    simulated_text("/run/libvirt/qemu/b.xml", text);
    simulated_directory("/proc/101");
    simulated_directory("/proc/102");
    look();
    assert_owners(&session, "S.......");
    assert_false(session.owners.holdings[0].whole);
    assert_null(owners_sole(&session.owners, 0));
}

/* Each device for itself: one that cannot be told keeps no other from being owned. */
static void test_devices_that_cannot_be_told(void **state)
{
    (void)state;
    scene_running("a", VM_A, "01", 101);
    scene_running("b", VM_B, "2", 102);
    simulated_text(SETTINGS, "[map]\n1 = 0000:7e:00.0\n2 = 0000:a2:00.0\n");
    look();
    assert_owners(&session, ".12.....");
    assert_notes(&session.notes,
                 "warning card: VM 'a': 0000:08:00.0 is a PPU but no [map] line says which; add one to the "
                 "configuration, or give the VM another card");
    simulated_remove("/sys/bus/pci/devices/0000:08:00.0/vendor");
    look_again();
    assert_owners(&session, "..1.....");
    assert_int_equal(session.notes.count, 1);
    assert_int_equal(session.notes.items[0].code, NOTE_STATUS);
    assert_memory_equal(session.notes.items[0].text, "VM 'a': PCI function 0000:08:00.0: ", 35);
    /* Until they can be looked at again its claim is all that is known of it. */
    session_close(&session);
    scene_claim(&(struct scene_claim){.name = "a", .uuid = VM_A, .phase = CLAIM_RUNNING, .ppus = "1"});
    look();
    assert_string_equal(owners_sole(&session.owners, 1)->name, "a");
    assert_int_equal(state_claim(&session.state, VM_A)->verdict, CLAIM_COUNTS);
}

/* -- 2. claims ---------------------------------------------------------------- */

static const struct claim_case {
    struct scene_claim claim;
    bool held;      /* card 0 */
    bool lives;     /* process 101, which RUNNING claims may name */
    bool tombstone; /* its end was noted */
    enum claim_verdict verdict;
    const char *owners;
    const char *notes;
} claim_cases[] = {
    /* starting: while its daemon lives, or may live, and until start_timeout */
    {{.phase = CLAIM_STARTING, .daemon = DAEMON_HERE}, false, false, false, CLAIM_COUNTS, "11......", ""},
    {{.phase = CLAIM_STARTING, .daemon = NO_DAEMON}, false, false, false, CLAIM_COUNTS, "11......", ""},
    {{.phase = CLAIM_STARTING, .daemon = DAEMON_DEAD}, false, false, false, CLAIM_VOID, "........", ENDED("VM")},
    {{.phase = CLAIM_STARTING, .daemon = DAEMON_HERE, .age_ms = TIMEOUT_MS - 5000},
     false,
     false,
     false,
     CLAIM_COUNTS,
     "11......",
     ""},
    {{.phase = CLAIM_STARTING, .daemon = NO_DAEMON, .age_ms = TIMEOUT_MS - 5000},
     false,
     false,
     false,
     CLAIM_COUNTS,
     "11......",
     ""},
    {{.phase = CLAIM_STARTING, .daemon = DAEMON_HERE, .age_ms = TIMEOUT_MS},
     false,
     false,
     false,
     CLAIM_VOID,
     "........",
     ENDED("VM")},
    {{.phase = CLAIM_STARTING, .daemon = NO_DAEMON, .age_ms = TIMEOUT_MS},
     false,
     false,
     false,
     CLAIM_VOID,
     "........",
     ENDED("VM")},
    /* … and longer, or without its daemon, while a card of it is held */
    {{.phase = CLAIM_STARTING, .daemon = DAEMON_DEAD}, true, false, false, CLAIM_COUNTS, "11......", ""},
    {{.phase = CLAIM_STARTING, .daemon = NO_DAEMON, .age_ms = LONG_AGO},
     true,
     false,
     false,
     CLAIM_COUNTS,
     "11......",
     ""},
    /* running: while a card of it is held or the process that it names lives */
    {{.phase = CLAIM_RUNNING, .daemon = DAEMON_HERE}, false, false, false, CLAIM_VOID, "........", ENDED("VM")},
    {{.phase = CLAIM_RUNNING, .daemon = DAEMON_DEAD, .age_ms = LONG_AGO},
     true,
     false,
     false,
     CLAIM_COUNTS,
     "11......",
     ""},
    {{.phase = CLAIM_RUNNING, .pid = 101, .age_ms = LONG_AGO}, false, true, false, CLAIM_COUNTS, "11......", ""},
    {{.phase = CLAIM_RUNNING, .pid = 101}, false, false, false, CLAIM_VOID, "........", ENDED("VM")},
    /* ended is final: a card that is held then has an unknown holder */
    {{.phase = CLAIM_STARTING, .daemon = DAEMON_HERE}, false, false, true, CLAIM_VOID, "........", NOTED_END("VM")},
    {{.phase = CLAIM_RUNNING, .pid = 101}, true, true, true, CLAIM_VOID, "?.......", NOTED_END("VM") "\n" HELD_0},
    /* a group counts until it is released */
    {{.phase = CLAIM_RUNNING, .is_group = true, .age_ms = LONG_AGO}, false, false, false, CLAIM_COUNTS, "11......", ""},
    {{.phase = CLAIM_RUNNING, .is_group = true}, true, false, false, CLAIM_COUNTS, "11......", ""},
    {{.phase = CLAIM_RUNNING, .is_group = true}, false, false, true, CLAIM_VOID, "........", NOTED_END("the group")},
};

static void test_claims(void **state)
{
    for (size_t i = 0; i < sizeof claim_cases / sizeof claim_cases[0]; i++) {
        struct scene_claim claim = claim_cases[i].claim;
        claim.name = "a";
        claim.uuid = VM_A;
        claim.ppus = "01";
        start(state);
        simulated_text(SETTINGS, SHORT_TIMEOUT);
        scene_claim(&claim);
        if (claim_cases[i].held) {
            scene_hold(0);
        }
        if (claim_cases[i].lives) {
            simulated_directory("/proc/101");
        }
        if (claim_cases[i].tombstone) {
            simulated_text(TOMBSTONE_OF(VM_A), "");
        }
        look();
        if (session.state.claims[0].verdict != claim_cases[i].verdict) {
            fail_msg("case %zu: verdict %d", i, session.state.claims[0].verdict);
        }
        assert_owners(&session, claim_cases[i].owners);
        const struct owner *owner = owners_find(&session.owners, VM_A);
        assert_int_equal(owner != NULL, claim_cases[i].verdict == CLAIM_COUNTS);
        assert_true(!owner || owner->kind == (claim.is_group ? OWNER_KIND_GROUP : OWNER_KIND_VM));
        assert_notes(&session.notes, claim_cases[i].notes);
        stop(state);
    }
}

static void test_fields_of_a_claim(void **state)
{
    (void)state;
    scene_claim(
        &(struct scene_claim){.name = "red", .uuid = VM_A, .is_group = true, .phase = CLAIM_RUNNING, .ppus = "6"});
    look();
    const struct owner *owner = owners_find(&session.owners, VM_A);
    assert_int_equal(owner->kind, OWNER_KIND_GROUP);
    assert_string_equal(owner->name, "red");
    assert_false(owner->runs);
    assert_int_equal(owner->since, 4711);
    assert_int_equal(owner->pid, 0);
}

/* An hour, unless the settings say something else. */
static void test_usual_start_timeout(void **state)
{
    (void)state;
    scene_claim(&(struct scene_claim){.name = "a", .uuid = VM_A, .age_ms = 2 * TIMEOUT_MS, .ppus = "0"});
    look();
    assert_owners(&session, "1.......");
    state_claim(&session.state, VM_A)->boottime_ms -= 3600 * 1000;
    owners_free(&session.owners);
    owners_gather(&session);
    assert_owners(&session, "........");
}

/* A card that another living domain has supports no claim by being held. */
static void test_held_card_that_is_explained(void **state)
{
    (void)state;
    scene_claim(&(struct scene_claim){.name = "a", .uuid = VM_A, .phase = CLAIM_RUNNING, .ppus = "01"});
    scene_running("b", VM_B, "0", 102);
    scene_hold(0);
    look();
    assert_owners(&session, "1.......");
    assert_string_equal(session.owners.items[0].name, "b");
    assert_notes(&session.notes, ENDED("VM"));
}

/* One held card keeps all of them. */
static void test_one_held_card_is_enough(void **state)
{
    (void)state;
    scene_claim(&(struct scene_claim){.name = "a", .uuid = VM_A, .phase = CLAIM_RUNNING, .ppus = "016"});
    scene_hold(6);
    look();
    assert_owners(&session, "11....1.");
}

/* A file that libvirt keeps of a dead domain says nothing: the claim is asked. */
static void test_status_file_that_is_left_over(void **state)
{
    (void)state;
    scene_left_over("a", VM_A, "012");
    scene_claim(
        &(struct scene_claim){.name = "a", .uuid = VM_A, .phase = CLAIM_STARTING, .daemon = DAEMON_HERE, .ppus = "01"});
    look();
    assert_owners(&session, "11......");
    simulated_text(TOMBSTONE_OF(VM_A), "");
    look_again();
    assert_owners(&session, "........");
}

/* Its own status file is there, and cannot be read: it may run.  That of another domain says nothing of it. */
static void test_status_file_that_cannot_be_read(void **state)
{
    (void)state;
    scene_claim(&(struct scene_claim){.name = "a", .uuid = VM_A, .phase = CLAIM_RUNNING, .ppus = "01"});
    scene_claim(&(struct scene_claim){.name = "b", .uuid = VM_B, .phase = CLAIM_RUNNING, .ppus = "2"});
    simulated_text("/run/libvirt/qemu/a.xml", "<domstatus");
    look();
    assert_owners(&session, "11......");
    assert_int_equal(state_claim(&session.state, VM_A)->verdict, CLAIM_COUNTS);
    assert_int_equal(state_claim(&session.state, VM_B)->verdict, CLAIM_VOID);
    assert_int_equal(session.notes.count, 2);
    assert_int_equal(session.notes.items[0].code, NOTE_STATUS);
    assert_non_null(strstr(session.notes.items[0].text, simulated_path("/run/libvirt/qemu/a.xml")));
    /* … unless its end is known. */
    simulated_text(TOMBSTONE_OF(VM_A), "");
    look_again();
    assert_owners(&session, "........");
    simulated_remove(TOMBSTONE_OF(VM_A));
    simulated_remove("/run/libvirt/qemu/a.xml");
    look_again();
    assert_owners(&session, "........");
}

static void test_claim_of_another_boot(void **state)
{
    (void)state;
    scene_claim(&(struct scene_claim){.name = "a", .uuid = VM_A, .phase = CLAIM_RUNNING, .ppus = "0"});
    scene_hold(0);
    simulated_text(BOOT_ID, "11111111-7b0d-4d0e-9c35-2f6c6d8b1a77\n");
    look();
    assert_owners(&session, "?.......");
    assert_int_equal(session.state.claim_count, 0);
}

/* It counts as new, and so not for ever. */
static void test_claim_from_the_future(void **state)
{
    (void)state;
    scene_claim(&(struct scene_claim){.name = "a", .uuid = VM_A, .age_ms = -3600 * 1000, .ppus = "0"});
    look();
    assert_owners(&session, "1.......");
    assert_notes(&session.notes, "warning claim: the claim of VM 'a' is from the future; it counts as new, and "
                                 "`icn-hook repair` drops it once the VM is gone");
    session_close(&session);
    scene_claim(&(struct scene_claim){
        .name = "a", .uuid = VM_A, .is_group = true, .phase = CLAIM_RUNNING, .age_ms = -3600 * 1000, .ppus = "0"});
    look();
    assert_notes(&session.notes, "warning claim: the claim of the group 'a' is from the future; it counts as new, and "
                                 "`icn-hook repair` drops it once the VM is gone");
}

/* Two claims of one card: more than one may have it. */
static void test_two_claims_of_a_card(void **state)
{
    (void)state;
    scene_claim(&(struct scene_claim){.name = "a", .uuid = VM_A, .ppus = "01"});
    scene_claim(&(struct scene_claim){.name = "b", .uuid = VM_B, .ppus = "12"});
    look();
    assert_owners(&session, "2S1.....");
}

static void test_claimed_card_without_id(void **state)
{
    (void)state;
    scene_claim(&(struct scene_claim){.name = "a", .uuid = VM_A, .ppus = "01"});
    simulated_text(SETTINGS, "[map]\n1 = 0000:7e:00.0\n");
    look();
    assert_owners(&session, ".1......");
}

/* When the session may change something record_ends says it, once it is done. */
static void test_void_claim_is_not_noted_when_changing(void **state)
{
    (void)state;
    scene_claim(&(struct scene_claim){.name = "a", .uuid = VM_A, .phase = CLAIM_RUNNING, .ppus = "0"});
    scene_session(&session, SESSION_CHANGE);
    assert_int_equal(session.state.claims[0].verdict, CLAIM_VOID);
    assert_notes(&session.notes, "");
}

/* -- 3. unknown holders -------------------------------------------------------- */

static void test_stranger(void **state)
{
    (void)state;
    scene_claim(&(struct scene_claim){.name = "a", .uuid = VM_A, .ppus = "01"});
    scene_hold(2);
    look();
    assert_owners(&session, "11?.....");
    const struct owner *stranger = &session.owners.items[1];
    assert_int_equal(stranger->kind, OWNER_KIND_STRANGER);
    assert_string_equal(stranger->uuid, "");
    assert_true(session.owners.holdings[2].whole);
    assert_int_equal(stranger->pid, 0);
    assert_notes(&session.notes, HELD("PPU 2 (0000:a2:00.0)"));
    assert_int_equal(session.notes.items[0].ppu, 2);
}

static void test_stranger_with_a_name(void **state)
{
    (void)state;
    scene_hold(2);
    simulated_link("/sys/bus/pci/devices/0000:a2:00.0/iommu_group", "../../../kernel/iommu_groups/14");
    simulated_text("/proc/55/comm", "cloud-hyperv\n");
    simulated_link("/proc/55/fd/7", "/dev/vfio/14");
    look();
    assert_owners(&session, "..?.....");
    assert_int_equal(session.owners.items[0].pid, 55);
    assert_string_equal(session.owners.items[0].name, "cloud-hyperv");
    assert_notes(&session.notes, "warning unknown-holder: PPU 2 (0000:a2:00.0) is held open through vfio by process 55 "
                                 "(cloud-hyperv), which is not a known VM; its links stay cut until it ends");
}

/* Only of a virtual function, but the card is in use for all that. */
static void test_virtual_function_that_is_held(void **state)
{
    (void)state;
    scene_virtual_function(3, 0, "0000:c6:00.1");
    scene_bind("0000:c6:00.1", "vfio-pci", 2);
    look();
    assert_true(session.owners.held[3]);
    assert_owners(&session, "...?....");
}

/* The host's own driver is not somebody who has the card. */
static void test_host_driver(void **state)
{
    (void)state;
    scene_bind(addresses[3], "ppu", 1);
    look();
    assert_owners(&session, "........");
}

/* -- Queries and changes ------------------------------------------------------- */

static void test_find(void **state)
{
    (void)state;
    scene_running("a", VM_A, "01", 101);
    scene_claim(
        &(struct scene_claim){.name = "red", .uuid = VM_B, .is_group = true, .phase = CLAIM_RUNNING, .ppus = "2"});
    scene_hold(5);
    look();
    struct owners *owners = &session.owners;
    const struct owner *red = owners_find(owners, VM_B);
    assert_string_equal(red->name, "red");
    assert_ptr_equal(owners_named(owners, "red"), red);
    assert_null(owners_find(owners, VM_C));
    assert_null(owners_find(owners, ""));
    assert_null(owners_named(owners, "unknown"));
    assert_int_equal(owners->of[2], 2);
    assert_ptr_equal(owners_sole(owners, 2), red);
    assert_null(owners_sole(owners, 3));
    assert_null(owners_sole(owners, 5));
    assert_true(owners_has(owners, red, 2));
    assert_false(owners_has(owners, red, 0));
}

static void test_give_and_take_back(void **state)
{
    char text[OWNER_TEXT_SIZE];
    (void)state;
    scene_running("a", VM_A, "01", 101);
    scene_hold(1);
    look();
    struct owners *owners = &session.owners;
    owners_add(owners, OWNER_KIND_VM, VM_B, "");
    const struct owner *b = owners_find(owners, VM_B);
    assert_string_equal(b->name, VM_B);
    owners_give(owners, b, 1, false);
    owners_give(owners, b, 2, false);
    assert_owners(&session, "1S2.....");
    owners_give(owners, b, 2, true);
    owners_give(owners, b, 2, false);
    assert_int_equal(owners->holding_count, 4);
    assert_true(owners->holdings[3].whole);
    /* A card that is still held is nobody's to open towards. */
    owners_take_back(owners, owners_find(owners, VM_A));
    assert_owners(&session, ".22.....");
    owners_take_back(owners, owners_find(owners, VM_B));
    assert_owners(&session, ".?......");
    assert_int_equal(owners->holding_count, 0);
    assert_string_equal(owners_text(owners, 1, text), "unknown");
    assert_string_equal(owners_text(owners, 2, text), "idle");
    /* An unknown holder beside one that is known: who has the card is not known. */
    owners_give(owners, owners_find(owners, VM_A), 4, true);
    owners_add(owners, OWNER_KIND_STRANGER, "", "qemu");
    owners_give(owners, &owners->items[2], 4, true);
    assert_owners(&session, ".?..?...");
    assert_string_equal(owners_text(owners, 4, text), "a, unknown");
}

/* Taking back one owner's cards leaves the others' in the order in which they were given. */
static void test_next_holding(void **state)
{
    static const char *const uuids[] = {VM_A, VM_B, VM_C};
    (void)state;
    look();
    struct owners *owners = &session.owners;
    for (size_t i = 0; i < 3; i++) {
        owners_add(owners, OWNER_KIND_VM, uuids[i], "");
    }
    for (size_t i = 0; i < 3; i++) {
        owners_give(owners, &owners->items[2 - i], 4, false);
        owners_give(owners, &owners->items[i], 5, false);
    }
    assert_null(owners_next_holding(owners, 3, NULL));
    owners_take_back(owners, &owners->items[1]);
    assert_int_equal(owners->holding_count, 4);
    const struct holding *holding = owners_next_holding(owners, 4, NULL);
    assert_int_equal(holding->owner, 2);
    holding = owners_next_holding(owners, 4, holding);
    assert_int_equal(holding->owner, 0);
    assert_null(owners_next_holding(owners, 4, holding));
    holding = owners_next_holding(owners, 5, NULL);
    assert_int_equal(holding->owner, 0);
    holding = owners_next_holding(owners, 5, holding);
    assert_int_equal(holding->owner, 2);
    assert_null(owners_next_holding(owners, 5, holding));
    assert_owners(&session, "....SS..");
}

static void test_text(void **state)
{
    char text[OWNER_TEXT_SIZE];
    char status[1024];
    (void)state;
    scene_running("a", VM_A, "01", 101);
    snprintf(status, sizeof status, "<domstatus pid='101'>%s</domstatus>", scene_xml("", VM_B, "1"));
    simulated_text("/run/libvirt/qemu/nameless.xml", status);
    scene_hold(5);
    look();
    assert_owners(&session, "1S...?..");
    assert_string_equal(owners_text(&session.owners, 0, text), "a");
    assert_string_equal(owners_text(&session.owners, 4, text), "idle");
    assert_string_equal(owners_text(&session.owners, 5, text), "unknown");
    assert_string_equal(owners_text(&session.owners, 1, text), "a, " VM_B);
}

static void test_text_that_does_not_fit(void **state)
{
    char text[OWNER_TEXT_SIZE];
    char name[201];
    (void)state;
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    for (int i = 0; i < 4; i++) {
        char uuid[UUID_SIZE] = VM_A;
        name[0] = (char)('a' + i);
        uuid[0] = (char)('0' + i);
        scene_running(name, uuid, "0", 101 + i);
    }
    look();
    assert_int_equal(session.owners.holding_count, 4);
    owners_text(&session.owners, 0, text);
    assert_int_equal(strlen(text), OWNER_TEXT_SIZE - 1);
}

/* For whom something was read back: ascending, so that two lists can be compared. */
static void test_uuids(void **state)
{
    static const char *const order[] = {VM_A, VM_C, VM_B};
    char(*uuids)[UUID_SIZE] = NULL;
    size_t count = 77;
    (void)state;
    scene_hold(5);
    look();
    for (size_t i = 0; i < 3; i++) {
        owners_add(&session.owners, OWNER_KIND_VM, order[i], "x");
        owners_give(&session.owners, owners_find(&session.owners, order[i]), 0, true);
    }
    assert_true(owners_uuids(&session.owners, 0, &uuids, &count));
    assert_int_equal(count, 3);
    assert_string_equal(uuids[0], VM_B);
    assert_string_equal(uuids[1], VM_A);
    assert_string_equal(uuids[2], VM_C);
    free(uuids);
    assert_true(owners_uuids(&session.owners, 3, &uuids, &count));
    assert_int_equal(count, 0);
    free(uuids);
    count = 77;
    assert_false(owners_uuids(&session.owners, 5, &uuids, &count));
    assert_int_equal(count, 77);
}

#define EACH(test) cmocka_unit_test_setup_teardown(test, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        EACH(test_kinds),
        EACH(test_nobody),
        EACH(test_running_without_a_claim),
        EACH(test_status_file_beats_the_claim),
        EACH(test_unplugged_card_that_is_held),
        EACH(test_domains_that_own_nothing),
        EACH(test_whole_beside_a_part),
        EACH(test_parts_of_two_domains),
        EACH(test_devices_that_cannot_be_told),
        EACH(test_claims),
        EACH(test_fields_of_a_claim),
        EACH(test_usual_start_timeout),
        EACH(test_held_card_that_is_explained),
        EACH(test_one_held_card_is_enough),
        EACH(test_status_file_that_is_left_over),
        EACH(test_status_file_that_cannot_be_read),
        EACH(test_claim_of_another_boot),
        EACH(test_claim_from_the_future),
        EACH(test_two_claims_of_a_card),
        EACH(test_claimed_card_without_id),
        EACH(test_void_claim_is_not_noted_when_changing),
        EACH(test_stranger),
        EACH(test_stranger_with_a_name),
        EACH(test_virtual_function_that_is_held),
        EACH(test_host_driver),
        EACH(test_find),
        EACH(test_give_and_take_back),
        EACH(test_next_holding),
        EACH(test_text),
        EACH(test_text_that_does_not_fit),
        EACH(test_uuids),
    };
    return cmocka_run_group_tests(tests, simulated_host_start, simulated_host_stop);
}
