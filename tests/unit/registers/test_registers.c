/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "registers/registers.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "../host/simulated_host.h"

#define FIRST "0000:08:00.0"
#define SECOND "0000:7e:00.0"
#define DIRECTORY "/sys/bus/pci/devices/"

enum { NOBODY = 65534 };

static const struct bdf first = {.bus = 0x08};
static const struct bdf second = {.bus = 0x7e};

static struct settings settings;
static struct state state_of_host;
static struct registers registers;

static int set_up(void **state)
{
    struct error err;
    simulated_host_clear(state);
    simulated_card(FIRST);
    simulated_card(SECOND);
    simulated_directory("/run");
    settings_default(&settings);
    assert_int_equal(state_open(&state_of_host, STATE_CHANGE, deadline_after_ms(1000), &err), 0);
    registers_open(&registers, &settings, &state_of_host, true);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    registers_close(&registers);
    state_close(&state_of_host);
    return 0;
}

/* What a killed hook leaves. */
static void note(struct bdf bdf)
{
    struct error err;
    assert_int_equal(state_note_enabled(&state_of_host, bdf, &err), 0);
}

/* The notes are found when the state is opened. */
static void open_again(void)
{
    struct error err;
    registers_close(&registers);
    state_close(&state_of_host);
    assert_int_equal(state_open(&state_of_host, STATE_CHANGE, deadline_after_ms(1000), &err), 0);
    registers_open(&registers, &settings, &state_of_host, true);
}

static void check_notes(size_t expected)
{
    struct text_list names = {0};
    struct error err;
    size_t count = 0;
    assert_int_equal(file_list(simulated_path("/run/icn-hook"), &names, NULL, &err), 0);
    for (size_t i = 0; i < names.count; i++) {
        count += strncmp(names.items[i], "enabled-", strlen("enabled-")) == 0;
    }
    text_list_free(&names);
    assert_int_equal(count, expected);
}

static void check_recovered(void)
{
    struct error err;
    open_again();
    assert_int_equal(registers_recover(&registers, &err), 0);
}

static void set_enable(const char *text)
{
    simulated_text(DIRECTORY FIRST "/enable", text);
}

/* The directory and what is in it. */
static void hand_over(const char *path, uid_t user)
{
    DIR *directory = opendir(simulated_path("%s", path));
    const struct dirent *entry;
    assert_non_null(directory);
    while ((entry = readdir(directory))) {
        if (strcmp(entry->d_name, "..") != 0) {
            assert_int_equal(fchownat(dirfd(directory), entry->d_name, user, -1, AT_SYMLINK_NOFOLLOW), 0);
        }
    }
    closedir(directory);
}

static void check_enable(const char *text)
{
    assert_string_equal(simulated_read(DIRECTORY FIRST "/enable"), text);
}

static void test_open(void **state)
{
    (void)state;
    assert_ptr_equal(registers.backend, &registers_mmio);
    assert_ptr_equal(registers.settings, &settings);
    assert_ptr_equal(registers.state, &state_of_host);
    assert_true(registers.may_write);
    settings.backend = BACKEND_PPUDBG;
    registers_open(&registers, &settings, NULL, false);
    assert_ptr_equal(registers.backend, &registers_ppudbg);
    assert_null(registers.state);
    assert_false(registers.may_write);
}

static void test_no_notes(void **state)
{
    (void)state;
    set_enable("1\n");
    check_recovered();
    check_enable("1\n");
}

/* Killed while it was on: its own one is taken back, once. */
static void test_left_on(void **state)
{
    (void)state;
    set_enable("1\n");
    note(first);
    note(second);
    check_recovered();
    check_enable("0\n");
    check_notes(0);
    set_enable("1\n");
    check_recovered();
    check_enable("1\n");
}

/* Killed before it was on or after it was off: nothing is written (the kernel
 * would answer EIO). */
static void test_was_off(void **state)
{
    (void)state;
    set_enable("0");
    note(first);
    check_recovered();
    check_enable("0");
    check_notes(0);
}

/* The kernel would refuse: the note waits until the driver is gone. */
static void test_driver_bound(void **state)
{
    (void)state;
    set_enable("1\n");
    simulated_link(DIRECTORY FIRST "/driver", "../../../bus/pci/drivers/vfio-pci");
    note(first);
    check_recovered();
    check_enable("1\n");
    check_notes(1);
    simulated_remove(DIRECTORY FIRST "/driver");
    check_recovered();
    check_enable("0\n");
    check_notes(0);
}

static void test_card_absent(void **state)
{
    (void)state;
    note(first);
    simulated_remove(DIRECTORY FIRST);
    check_recovered();
    check_notes(0);
}

static void check_not_recovered(const struct state *state, bool may_write)
{
    struct error err;
    registers_open(&registers, &settings, state, may_write);
    assert_int_equal(registers_recover(&registers, &err), 0);
    check_enable("1\n");
    check_notes(1);
}

static void test_only_looking(void **state)
{
    (void)state;
    set_enable("1\n");
    note(first);
    open_again();
    check_not_recovered(&state_of_host, false);
    check_not_recovered(NULL, true);
    state_unlock(&state_of_host);
    check_not_recovered(&state_of_host, true);
}

/* One card's count can be read and not written; the other card is recovered all
 * the same. */
static void test_cannot_switch_off(void **state)
{
    uid_t user = geteuid();
    struct error err = {0};
    (void)state;
    set_enable("1\n");
    simulated_text(DIRECTORY SECOND "/enable", "1\n");
    assert_int_equal(chmod(simulated_path(DIRECTORY FIRST "/enable"), 0444), 0);
    assert_int_equal(chmod(simulated_path(DIRECTORY SECOND "/enable"), 0666), 0);
    note(first);
    note(second);
    open_again();
    hand_over("/run/icn-hook", user == 0 ? NOBODY : user);
    assert_int_equal(seteuid(user == 0 ? NOBODY : user), 0);
    int result = registers_recover(&registers, &err);
    assert_int_equal(seteuid(user), 0);
    assert_int_equal(result, -1);
    assert_int_equal(err.status, STATUS_HARDWARE);
    assert_string_equal(err.text, "cannot write 0 to enable of " FIRST ": Permission denied");
    assert_string_equal(simulated_read(DIRECTORY SECOND "/enable"), "0\n");
    check_notes(1);
}

/* A note that cannot be taken away. */
static void test_note_stays(void **state)
{
    struct error err = {0};
    (void)state;
    note(first);
    open_again();
    simulated_remove("/run/icn-hook/enabled-" FIRST);
    simulated_directory("/run/icn-hook/enabled-" FIRST);
    assert_int_equal(registers_recover(&registers, &err), -1);
    assert_int_equal(err.status, STATUS_HARDWARE);
    check_notes(1);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_open),         TEST(test_no_notes),          TEST(test_left_on),
        TEST(test_was_off),      TEST(test_driver_bound),      TEST(test_card_absent),
        TEST(test_only_looking), TEST(test_cannot_switch_off), TEST(test_note_stays),
    };
    return cmocka_run_group_tests(tests, simulated_host_start, simulated_host_stop);
}
