/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/identity.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "session_scene.h"

#define MOVED "the cards have moved since [map] was written: "
#define NEW_CARD "0000:03:00.0"
#define CARD_0 "0000:08:00.0"
#define CARD_1 "0000:7e:00.0"
#define DEVICES "/sys/bus/pci/devices/"
#define IDENTITY RUN "/identity"

static struct error refuse_to_survey(void)
{
    struct machine *machine = NULL;
    struct error err = {0};
    assert_done(machine_open(NULL, &machine, &err), &err);
    assert_int_equal(machine_survey(machine, &err), -1);
    machine_close(machine);
    return err;
}

static void map(const char *lines)
{
    char text[1024];
    snprintf(text, sizeof text, "[map]\n%s", lines);
    simulated_text(CARDS_CONF, text);
}

/* The card at BDF is behind the bridge in SLOT of pci0000:00. */
static void put_into_slot(const char *bdf, int slot)
{
    char real[128];
    char link[128];
    char target[256];
    snprintf(real, sizeof real, "/sys/devices/pci0000:00/0000:00:%02x.0", slot);
    simulated_directory(real);
    snprintf(target, sizeof target, "../../..%s/%s", real + strlen("/sys"), bdf);
    snprintf(link, sizeof link, DEVICES "%s", bdf);
    assert_int_equal(rename(simulated_path("%s", link), simulated_path("%s/%s", real, bdf)), 0);
    simulated_link(link, target);
}

/* As lspci prints it, "00-00-00-00-00-00-00-NN". */
static void put_serial(const char *bdf, unsigned char number)
{
    unsigned char config[4096] = {0xe0, 0x1e};
    char path[128];
    config[0x100] = 3; /* Device Serial Number, the only extended capability */
    config[0x102] = 1;
    config[0x104] = number;
    snprintf(path, sizeof path, DEVICES "%s/config", bdf);
    simulated_file(path, config, sizeof config);
}

static void test_moved(void **state)
{
    (void)state;
    simulated_remove(DEVICES CARD_1);
    simulated_card(NEW_CARD);
    struct error err = refuse_to_survey();
    assert_error(&err, STATUS_INVALID,
                 MOVED "PPU 1 was at " CARD_1 ", where no card matches :6001 now, and " NEW_CARD
                       " is a card that is not in [map]; run icn-hook setup",
                 "");
}

/* Paths and serial numbers tell which of the new cards it is. */
static void test_moved_and_recognised(void **state)
{
    static const char *const marks[] = {"path=pci0000:00/02.0/00.0", "serial=00-00-00-00-00-00-00-09"};
    for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++) {
        char lines[256];
        restart(state);
        simulated_card(NEW_CARD);
        simulated_card("0000:04:00.0");
        put_into_slot(NEW_CARD, 1);
        put_into_slot("0000:04:00.0", 2);
        put_serial("0000:04:00.0", 9);
        snprintf(lines, sizeof lines, "0 = " CARD_0 "\n1 = 0009:01:00.0 %s\n", marks[i]);
        map(lines);
        struct error err = refuse_to_survey();
        assert_error(&err, STATUS_INVALID,
                     MOVED "PPU 1 was at 0009:01:00.0 and is at 0000:04:00.0 now; run icn-hook setup", "");
    }
}

static void test_only_absent(void **state)
{
    (void)state;
    simulated_remove(DEVICES CARD_1);
    struct machine *machine = scene_machine();
    assert_int_equal(machine->pins[0], PIN_FINE);
    assert_int_equal(machine->pins[1], PIN_ABSENT);
    assert_false(machine->finds_none);
    machine_close(machine);
}

static void test_only_not_pinned(void **state)
{
    (void)state;
    simulated_card(NEW_CARD);
    struct machine *machine = scene_machine();
    assert_int_equal(machine_ppu_at(machine, parse_bdf(NEW_CARD)), -1);
    assert_int_equal(machine_ppu_at(machine, address_of(0)), 0);
    machine_close(machine);
}

/* The bus is not listed where every pinned card is there. */
static void test_bus_is_not_listed(void **state)
{
    (void)state;
    simulated_card(NEW_CARD);
    simulated_remove(DEVICES NEW_CARD "/vendor");
    machine_close(scene_machine());
    simulated_remove(DEVICES CARD_1);
    struct error err = refuse_to_survey();
    assert_error(&err, STATUS_HARDWARE, "PCI function " NEW_CARD ": cannot read %s: No such file or directory",
                 DEVICES NEW_CARD "/vendor");
}

static void test_none_matches(void **state)
{
    struct machine *machine = NULL;
    struct error err = {0};
    (void)state;
    simulated_text(SETTINGS, "[ppu]\nmatch = :7001\n");
    assert_done(machine_open(NULL, &machine, &err), &err);
    assert_int_equal(machine_survey(machine, &err), -1);
    assert_error(&err, STATUS_INVALID,
                 "match = :7001 in [ppu] finds none of the 8 cards in [map], not even " CARD_0
                 "; correct it, or see lspci -D -nn for what became of the cards",
                 "");
    assert_true(machine->finds_none);
    machine_close(machine);
}

static void test_other_function_at_the_address(void **state)
{
    (void)state;
    simulated_text(DEVICES CARD_1 "/device", "0x10fb\n");
    open_to_look();
    assert_int_equal(session.machine->pins[1], PIN_OTHER_FUNCTION);
    assert_true(session.machine->mapped[1]);
    assert_false(session.cards[1].state.present);
    assert_true(session.cards[0].state.present);
}

static void test_marks_that_fit(void **state)
{
    (void)state;
    put_into_slot(CARD_0, 1);
    put_serial(CARD_0, 9);
    map("0 = " CARD_0 " path=pci0000:00/01.0/00.0 serial=00-00-00-00-00-00-00-09\n");
    struct machine *machine = scene_machine();
    assert_int_equal(machine->pins[0], PIN_FINE);
    machine_close(machine);
}

static void test_another_card_at_the_address(void **state)
{
    static const struct {
        const char *mark;
        const char *what;
    } cases[] = {
        {"path=pci0000:00/02.0/00.0", "path pci0000:00/01.0/00.0, not pci0000:00/02.0/00.0"},
        {"serial=00-00-00-00-00-00-00-08", "serial 00-00-00-00-00-00-00-09, not 00-00-00-00-00-00-00-08"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[256];
        restart(state);
        put_into_slot(CARD_0, 1);
        put_serial(CARD_0, 9);
        snprintf(text, sizeof text, "0 = " CARD_0 " %s\n", cases[i].mark);
        map(text);
        snprintf(text, sizeof text, MOVED "PPU 0 was at " CARD_0 ", where another card is now (%s); run icn-hook setup",
                 cases[i].what);
        struct error err = refuse_to_survey();
        assert_error(&err, STATUS_INVALID, text, "");
    }
}

static void test_another_card_and_where_it_is(void **state)
{
    (void)state;
    put_serial(CARD_0, 8);
    put_serial(CARD_1, 9);
    map("0 = " CARD_0 " serial=00-00-00-00-00-00-00-09\n1 = " CARD_1 " serial=00-00-00-00-00-00-00-08\n");
    struct error err = refuse_to_survey();
    assert_error(&err, STATUS_INVALID,
                 MOVED "PPU 0 was at " CARD_0 " and is at " CARD_1
                       " now (serial 00-00-00-00-00-00-00-09); run icn-hook setup",
                 "");
}

static void test_card_without_what_is_pinned(void **state)
{
    (void)state;
    map("0 = " CARD_0 " path=pci0000:00/02.0/00.0\n");
    struct error err = refuse_to_survey();
    assert_error(&err, STATUS_INVALID,
                 MOVED "PPU 0 was at " CARD_0 ", where another card is now (path none, not pci0000:00/02.0/00.0); run "
                       "icn-hook setup",
                 "");
}

static void test_serial_that_cannot_be_read(void **state)
{
    struct error err = {0};
    const struct applicant applicant = {.uuid = VM_A};
    (void)state;
    simulated_remove(DEVICES CARD_0 "/config");
    simulated_directory(DEVICES CARD_0 "/config");
    map("0 = " CARD_0 " serial=00-00-00-00-00-00-00-09\n1 = " CARD_1 "\n");
    open_to_look();
    assert_int_equal(session.machine->pins[0], PIN_UNSURE);
    assert_int_equal(session.machine->pins[1], PIN_FINE);
    assert_int_equal(policy_admit(&session, &applicant, 1, true, &err), 0);
    assert_int_equal(policy_admit(&session, &applicant, 0, true, &err), -1);
    assert_error(&err, STATUS_HARDWARE,
                 "PPU 0 (" CARD_0
                 ") may be another card than the one in [map]: its path or serial number cannot be read; "
                 "correct that, or give the VM another card",
                 "");
}

/* -- This boot's ------------------------------------------------------------ */

#define SWAPPED "0 = 0000:08:00.0\n1 = 0000:a2:00.0\n2 = 0000:7e:00.0\n"
#define CHANGED                                                                                                        \
    "the configuration was changed while cards are in use: PPU 1 was 0000:7e:00.0 and is 0000:a2:00.0 now; change it " \
    "back, or stop the VMs and release the groups that have cards"

static void open_and_close(enum session_access access)
{
    scene_session(&session, access);
    session_close(&session);
}

static void test_written_by_a_change(void **state)
{
    (void)state;
    open_and_close(SESSION_LOOK);
    assert_false(host_has(IDENTITY));
    open_and_close(SESSION_CHANGE);
    assert_non_null(strstr(simulated_read(IDENTITY), "\nppus 8\npin 0 0000:08:00.0\n"));
    open_to_look();
    assert_null(session_doubt(&session, VM_A));
    assert_notes(&session.notes, "");
}

static void test_change_while_nobody_owns_a_card(void **state)
{
    (void)state;
    open_and_close(SESSION_CHANGE);
    map(SWAPPED);
    open_to_look();
    assert_null(session_doubt(&session, VM_A));
    assert_int_equal(machine_ppu_at(session.machine, address_of(2)), 1);
    assert_false(session.machine->mapped[7]);
    assert_non_null(strstr(simulated_read(IDENTITY), "pin 1 0000:7e:00.0\n"));
    session_close(&session);
    open_and_close(SESSION_CHANGE);
    assert_non_null(strstr(simulated_read(IDENTITY), "pin 1 0000:a2:00.0\n"));
}

/* What is in force stays so, for those that have cards too. */
static void test_change_while_somebody_owns_a_card(void **state)
{
    (void)state;
    running("a", VM_A, "1", getpid());
    open_and_close(SESSION_CHANGE);
    map(SWAPPED);
    open_to_change();
    assert_true(session.has_old_identity);
    assert_int_equal(machine_ppu_at(session.machine, address_of(1)), 1);
    assert_int_equal(machine_ppu_at(session.machine, address_of(7)), 7);
    assert_owners(&session, ".1......");
    assert_string_equal(session_doubt(&session, VM_A)->text, CHANGED);
    assert_notes(&session.notes, "error identity: " CHANGED);
    assert_non_null(strstr(simulated_read(IDENTITY), "pin 1 0000:7e:00.0\n"));
}

static void test_other_topology_of_another_size(void **state)
{
    (void)state;
    running("a", VM_A, "7", getpid());
    open_and_close(SESSION_CHANGE);
    map("0 = 0000:08:00.0\n");
    simulated_text(TOPOLOGY, "==========device0==========\nppuid: 0\n");
    open_to_change();
    assert_owners(&session, ".......1");
    assert_string_equal(session_doubt(&session, VM_A)->text,
                        "the configuration was changed while cards are in use: PPU 1 was 0000:7e:00.0 and is not in "
                        "[map] now; change it back, or stop the VMs and release the groups that have cards");
}

static void test_of_another_boot(void **state)
{
    (void)state;
    running("a", VM_A, "1", getpid());
    open_and_close(SESSION_CHANGE);
    simulated_text(BOOT_ID, "7a0f2e5c-7b0d-4d0e-9c35-2f6c6d8b1a77\n");
    map(SWAPPED);
    open_to_change();
    assert_null(session_doubt(&session, VM_A));
    assert_non_null(strstr(simulated_read(IDENTITY), "pin 1 0000:a2:00.0\n"));
}

static void test_damaged(void **state)
{
    (void)state;
    running("a", VM_A, "1", getpid());
    open_and_close(SESSION_CHANGE);
    simulated_text(IDENTITY, "junk");
    open_to_change();
    assert_error(session_doubt(&session, VM_A), STATUS_INVALID,
                 "%s:1: it is not what icn-hook writes; when no VM or group has a card any more, run: icn-hook repair",
                 IDENTITY);
    assert_string_equal(simulated_read(IDENTITY), "junk");
}

static void test_damaged_and_nobody_owns_a_card(void **state)
{
    (void)state;
    open_and_close(SESSION_CHANGE);
    simulated_text(IDENTITY, "junk");
    open_to_look();
    assert_null(session_doubt(&session, VM_A));
    session_close(&session);
    open_to_change();
    assert_null(session_doubt(&session, VM_A));
    assert_noted(&session.notes, "info repaired: the damaged record of which card is which PPU is begun anew");
    assert_non_null(strstr(simulated_read(IDENTITY), "\npin 1 0000:7e:00.0\n"));
}

/* Without ids there is nothing to compare. */
static void test_survey_without_topology(void **state)
{
    struct machine *machine = NULL;
    struct error err = {0};
    (void)state;
    open_and_close(SESSION_CHANGE);
    simulated_remove(CARDS_CONF);
    assert_done(machine_open(NULL, &machine, &err), &err);
    assert_done(machine_survey_without_topology(machine, &err), &err);
    assert_done(session_open(&session, machine, SESSION_LOOK, &err), &err);
    assert_null(session_doubt(&session, VM_A));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_moved, start, stop),
        cmocka_unit_test_setup_teardown(test_moved_and_recognised, start, stop),
        cmocka_unit_test_setup_teardown(test_only_absent, start, stop),
        cmocka_unit_test_setup_teardown(test_only_not_pinned, start, stop),
        cmocka_unit_test_setup_teardown(test_bus_is_not_listed, start, stop),
        cmocka_unit_test_setup_teardown(test_none_matches, start, stop),
        cmocka_unit_test_setup_teardown(test_other_function_at_the_address, start, stop),
        cmocka_unit_test_setup_teardown(test_marks_that_fit, start, stop),
        cmocka_unit_test_setup_teardown(test_another_card_at_the_address, start, stop),
        cmocka_unit_test_setup_teardown(test_another_card_and_where_it_is, start, stop),
        cmocka_unit_test_setup_teardown(test_card_without_what_is_pinned, start, stop),
        cmocka_unit_test_setup_teardown(test_serial_that_cannot_be_read, start, stop),
        cmocka_unit_test_setup_teardown(test_written_by_a_change, start, stop),
        cmocka_unit_test_setup_teardown(test_change_while_nobody_owns_a_card, start, stop),
        cmocka_unit_test_setup_teardown(test_change_while_somebody_owns_a_card, start, stop),
        cmocka_unit_test_setup_teardown(test_other_topology_of_another_size, start, stop),
        cmocka_unit_test_setup_teardown(test_of_another_boot, start, stop),
        cmocka_unit_test_setup_teardown(test_damaged, start, stop),
        cmocka_unit_test_setup_teardown(test_damaged_and_nobody_owns_a_card, start, stop),
        cmocka_unit_test_setup_teardown(test_survey_without_topology, start, stop),
    };
    return cmocka_run_group_tests(tests, simulated_host_start, simulated_host_stop);
}
