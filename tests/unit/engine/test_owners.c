/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/owners.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "session_scene.h"

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
    open_to_look();
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
    open_to_look();
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
    open_to_look();
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
    open_to_look();
    assert_owners(&session, "?1......");
    assert_notes(&session.notes, UNKNOWN_HOLDER("PPU 0 (0000:08:00.0)"));
}

/* Running domains without a card, or without a uuid, own nothing, and neither do dead ones. */
static void test_domains_that_own_nothing(void **state)
{
    (void)state;
    scene_running("a", VM_A, "", 101);
    scene_running("b", " ", "1", 102);
    scene_left_over("c", VM_C, "2");
    open_to_look();
    assert_int_equal(session.owners.count, 0);
    assert_owners(&session, "........");
    /* … whatever an old claim says. */
    session_close(&session);
    scene_claim(&(struct scene_claim){.name = "a", .uuid = VM_A, .phase = CLAIM_RUNNING, .ppus = "0"});
    open_to_look();
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
    open_to_look();
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
    open_to_look();
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
    simulated_text(CARDS_CONF, "[map]\n1 = 0000:7e:00.0\n2 = 0000:a2:00.0\n");
    open_to_look();
    assert_owners(&session, ".12.....");
    assert_notes(&session.notes,
                 "warning card: VM 'a': 0000:08:00.0 is a PPU but no [map] line says which; run icn-hook "
                 "setup, or give the VM another card");
    simulated_remove("/sys/bus/pci/devices/0000:08:00.0/vendor");
    look_again();
    assert_owners(&session, "..1.....");
    assert_int_equal(session.notes.count, 1);
    assert_int_equal(session.notes.items[0].code, NOTE_STATUS);
    assert_memory_equal(session.notes.items[0].text, "VM 'a': PCI function 0000:08:00.0: ", 35);
    /* Until they can be looked at again its claim is all that is known of it. */
    session_close(&session);
    scene_claim(&(struct scene_claim){.name = "a", .uuid = VM_A, .phase = CLAIM_RUNNING, .ppus = "1"});
    open_to_look();
    assert_string_equal(owners_sole(&session.owners, 1)->name, "a");
    assert_int_equal(state_claim(&session.state, VM_A)->verdict, CLAIM_COUNTS);
}

/* -- 3. unknown holders -------------------------------------------------------- */

static void test_stranger(void **state)
{
    (void)state;
    scene_claim(&(struct scene_claim){.name = "a", .uuid = VM_A, .ppus = "01"});
    scene_hold(2);
    open_to_look();
    assert_owners(&session, "11?.....");
    const struct owner *stranger = &session.owners.items[1];
    assert_int_equal(stranger->kind, OWNER_KIND_STRANGER);
    assert_string_equal(stranger->uuid, "");
    assert_true(session.owners.holdings[2].whole);
    assert_int_equal(stranger->pid, 0);
    assert_notes(&session.notes, UNKNOWN_HOLDER("PPU 2 (0000:a2:00.0)"));
    assert_int_equal(session.notes.items[0].ppu, 2);
}

static void test_stranger_with_a_name(void **state)
{
    (void)state;
    scene_hold(2);
    simulated_link("/sys/bus/pci/devices/0000:a2:00.0/iommu_group", "../../../kernel/iommu_groups/14");
    simulated_text("/proc/55/comm", "cloud-hyperv\n");
    simulated_link("/proc/55/fd/7", "/dev/vfio/14");
    open_to_look();
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
    open_to_look();
    assert_true(session.owners.held[3]);
    assert_owners(&session, "...?....");
}

/* The host's own driver is not somebody who has the card. */
static void test_host_driver(void **state)
{
    (void)state;
    scene_bind(addresses[3], "ppu", 1);
    open_to_look();
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
    open_to_look();
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
    open_to_look();
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
    open_to_look();
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
    open_to_look();
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
    open_to_look();
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
    open_to_look();
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
