/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "scene.h"

#define NOBODY_ANSWERS                                                                                                 \
    "all registers read all ones, though the card is on the bus; check bar, link_config, link_status and stride in "   \
    "[registers], or reset the card"

static void test_is_the_default(void **state)
{
    (void)state;
    assert_ptr_equal(registers.backend, &registers_mmio);
    assert_string_equal(registers.backend->name, "mmio");
}

static void test_read(void **state)
{
    (void)state;
    check_reading(READING_FINE, 0, "");
    set_register(0xa5000019);
    check_reading(READING_FINE, 0x19, "");
    check_look(READING_FINE, 0x19, "");
    set_register(0xfffffffe);
    check_reading(READING_FINE, 0x38, "");
    settings.cut_bit = 0;
    check_reading(READING_FINE, 0x01, "");
    set_register(0);
    check_reading(READING_FINE, 0x39, "");
}

static void test_write_keeps_other_bits(void **state)
{
    (void)state;
    set_register(0xa5000006);
    check_written(0x19, 0xa500001f);
    check_written(0x39, 0xa500003f);
    check_written(0, 0xa5000006);
    check_written(0xffffffff, 0xa500003f);
    settings.cut_bit = 0;
    check_written(0x19, 0xa5000026);
    check_reading(READING_FINE, 0x19, "");
}

static void check_status(bool may_touch, enum reading_kind kind, uint32_t mask, const char *why)
{
    struct reading reading;
    memset(&reading, 0xaa, sizeof reading);
    registers.backend->read_status(&registers, &card, may_touch, &reading);
    assert_string_equal(reading.why, why);
    assert_int_equal(reading.kind, kind);
    assert_int_equal(reading.mask, mask);
}

/* Bit set = link up, whatever cut_bit says; only bits that are links. */
static void test_read_status(void **state)
{
    (void)state;
    set_register(0x19);
    check_status(true, READING_FINE, 0, "");
    simulated_set_register(BDF, LINK_STATUS_OFFSET, 0xa5000027);
    check_status(true, READING_FINE, 0x21, "");
    settings.cut_bit = 0;
    check_status(false, READING_FINE, 0x21, "");
    settings.link_status = 0x1003;
    settings.stride = 8;
    simulated_set_register(BDF, 0x1003 * 8, 0x38);
    check_status(true, READING_FINE, 0x38, "");
    assert_int_equal(simulated_register(BDF, LINK_CONFIG_OFFSET), 0x19);
}

/* Nothing is known of the status of a card whose mask cannot be read either. */
static void test_status_that_cannot_be_read(void **state)
{
    (void)state;
    simulated_config(BDF, 0x1ded, 0);
    check_status(false, READING_UNVERIFIABLE, 0, "memory decoding is off");
    simulated_config(BDF, 0x1ded, 2);
    scene.failure = EINVAL;
    check_status(true, READING_FAILED, 0, CLAIMED);
    scene.failure = 0;
    simulated_set_register(BDF, LINK_STATUS_OFFSET, 0xffffffff);
    check_status(true, READING_FINE, LINKS, "");
    set_register(0xffffffff);
    check_status(true, READING_FAILED, 0, NOBODY_ANSWERS);
    simulated_config(BDF, 0xffff, 0xffff);
    check_status(true, READING_GONE, 0, GONE);
    simulated_remove(DIRECTORY "/resource0");
    check_status(true, READING_FAILED, 0, "resource0 is missing: the card has no such BAR; check bar in [registers]");
}

/* Read and write through one mapping, read back through another. */
static void test_write_reads_back_afresh(void **state)
{
    (void)state;
    check_written(0x19, 0x19);
    assert_int_equal(scene.mappings, 2);
}

/* What was in no access's way is not looked at before the next one; one that fails brings that back. */
static void test_what_answered_is_not_asked_again(void **state)
{
    const char *io_bar = "BAR 0 is an I/O BAR; set bar in [registers]";
    (void)state;
    check_reading(READING_FINE, 0, "");
    simulated_text(DIRECTORY "/resource", "0x2000 0x20ff 0x40101\n");
    check_written(0x19, 0x19);
    scene.failure = ENOMEM;
    check_refused(APPLY_FAILED, "cannot map resource0: Cannot allocate memory");
    scene.failure = 0;
    check_refused(APPLY_FAILED, io_bar);
    assert_int_equal(simulated_register(BDF, LINK_CONFIG_OFFSET), 0x19);
}

static void test_place(void **state)
{
    (void)state;
    settings.link_config = 0x1003;
    settings.stride = 8;
    simulated_set_register(BDF, 0x1003 * 8, 0x21);
    check_reading(READING_FINE, 0x21, "");
    settings.link_config = (4 << 20) - 4;
    settings.stride = 1;
    simulated_set_register(BDF, (4 << 20) - 4, 0x18);
    check_reading(READING_FINE, 0x18, "");
    assert_int_equal(rename(simulated_path(DIRECTORY "/resource0"), simulated_path(DIRECTORY "/resource2")), 0);
    settings.bar = 2;
    check_reading(READING_FINE, 0x18, "");
}

/* A value as any other, as long as the card answers otherwise. */
static void test_all_ones_are_a_value(void **state)
{
    (void)state;
    set_register(0xffffffff);
    check_reading(READING_FINE, LINKS, "");
    check_look(READING_FINE, LINKS, "");
    check_written(0x19, 0xffffffdf);
    settings.cut_bit = 0;
    set_register(0xffffffff);
    check_reading(READING_FINE, 0, "");
    card.links = 0xffffffff;
    settings.cut_bit = 1;
    check_written(0xffffffff, 0xffffffff);
    check_reading(READING_FINE, 0xffffffff, "");
    check_written(0x19, 0x19);
}

static void test_gone(void **state)
{
    (void)state;
    set_register(0xffffffff);
    simulated_config(BDF, 0xffff, 0xffff);
    check_reading(READING_GONE, 0, GONE);
    check_refused(APPLY_FAILED, GONE);
    settings.cut_bit = 0;
    check_reading(READING_GONE, 0, GONE);
    simulated_remove(DIRECTORY "/config");
    check_reading(READING_GONE, 0, GONE);
    assert_int_equal(simulated_register(BDF, LINK_CONFIG_OFFSET), 0xffffffff);
}

/* What a wrong BAR or stride gives. */
static void test_nothing_but_ones(void **state)
{
    (void)state;
    set_register(0xffffffff);
    simulated_set_register(BDF, LINK_STATUS_OFFSET, 0xffffffff);
    check_reading(READING_FAILED, 0, NOBODY_ANSWERS);
    check_refused(APPLY_FAILED, NOBODY_ANSWERS);
    assert_int_equal(simulated_register(BDF, LINK_CONFIG_OFFSET), 0xffffffff);
    settings.link_status = 0xffffffff;
    check_reading(READING_FAILED, 0,
                  "resource0 has 4194304 bytes, too few for the register at 0x3fffffffc; "
                  "check bar, link_config and stride in [registers]");
}

/* Seen in D0, and put to sleep before the read. */
static void test_ones_of_a_card_that_falls_asleep(void **state)
{
    (void)state;
    simulated_text(DIRECTORY "/power_state", "D0\n");
    scene.falls_asleep = 1;
    check_look(READING_UNVERIFIABLE, 0, "the register reads all ones: the card fell asleep meanwhile");
}

static void test_goes_during_write(void **state)
{
    (void)state;
    scene.ones_from = 2;
    check_refused(APPLY_FAILED, GONE);
}

/* What was written is not known to be: not to be put off. */
static void test_is_taken_by_a_driver_during_write(void **state)
{
    (void)state;
    scene.failure = EINVAL;
    scene.failure_from = 2;
    scene.taken = bind_host_driver;
    enum apply_outcome outcome = APPLY_NOT_TRIED;
    const struct card_address cards[] = {[3] = card};
    const struct plan plan = {.count = 1, .writes = {{.ppu = 3, .role = ROLE_NEAR, .from = 0, .to = 0x19}}};
    const struct writing writing = {
        .plan = &plan, .cards = cards, .owners = (const int[4]){0}, .ppu_count = 4, .may_defer = true};
    struct text_list warnings = {0};
    struct error err;
    assert_int_equal(registers.backend->write_plan(&registers, &writing, &outcome, &warnings, &err), -1);
    assert_int_equal(outcome, APPLY_FAILED);
    assert_string_equal(err.text, "PPU 3 (" BDF "): " HELD);
}

static void test_removed_during_access(void **state)
{
    const char *reason = "resource0: bus error, the card was removed during the access";
    (void)state;
    scene.removal = true;
    check_reading(READING_FAILED, 0, reason);
    simulated_card(BDF);
    check_refused(APPLY_FAILED, reason);
    simulated_card(BDF);
    check_reading(READING_FAILED, 0, reason);
}

/* A bus error of somebody else's goes where it goes without us. */
static void test_other_bus_errors(void **state)
{
    int status = 0;
    (void)state;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        signal(SIGBUS, SIG_DFL);
        check_reading(READING_FINE, 0, "");
        scene.removal = true;
        check_reading(READING_FAILED, 0, "resource0: bus error, the card was removed during the access");
        raise(SIGBUS);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGBUS);
}

static void test_the_handler_of_bus_errors_comes_back(void **state)
{
    struct sigaction before;
    struct sigaction within;
    struct sigaction after;
    (void)state;
    assert_int_equal(sigaction(SIGBUS, NULL, &before), 0);
    check_reading(READING_FINE, 0, "");
    check_reading(READING_FINE, 0, "");
    assert_int_equal(sigaction(SIGBUS, NULL, &within), 0);
    assert_ptr_not_equal(within.sa_handler, before.sa_handler);
    registers_close(&registers);
    assert_int_equal(sigaction(SIGBUS, NULL, &after), 0);
    assert_ptr_equal(after.sa_handler, before.sa_handler);
}

static void test_write_is_not_taken(void **state)
{
    (void)state;
    set_register(0x80000020);
    scene.lost_writes = true;
    check_refused(APPLY_FAILED, "register did not take the write (wrote 0x80000019, reads 0x80000020)");
    assert_int_equal(simulated_register(BDF, LINK_CONFIG_OFFSET), 0x80000020);
}

static size_t count_open_files(void)
{
    DIR *directory = opendir("/proc/self/fd");
    size_t count = 0;
    assert_non_null(directory);
    while (readdir(directory)) {
        count++;
    }
    closedir(directory);
    return count;
}

static size_t count_mappings(void)
{
    FILE *maps = fopen("/proc/self/maps", "re");
    char line[PATH_MAX];
    size_t count = 0;
    assert_non_null(maps);
    while (fgets(line, sizeof line, maps)) {
        count += strstr(line, "/resource0") != NULL;
    }
    fclose(maps);
    return count;
}

/* An open resource file would hold up the unbinding of the host's driver. */
static void test_nothing_stays_open(void **state)
{
    (void)state;
    lock_state();
    simulated_config(BDF, 0x1ee0, 0);
    size_t before = count_open_files();
    check_written(0x19, 0x19);
    scene.lost_writes = true;
    set_register(0);
    check_refused(APPLY_FAILED, "register did not take the write (wrote 0x00000019, reads 0x00000000)");
    scene.failure = EINVAL;
    check_reading(READING_FAILED, 0, CLAIMED);
    scene.failure = 0;
    scene.removal = true;
    check_reading(READING_FAILED, 0, "resource0: bus error, the card was removed during the access");
    assert_int_equal(count_open_files(), before);
    assert_int_equal(count_mappings(), 0);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, scene_set_up, scene_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_is_the_default),
        TEST(test_read),
        TEST(test_read_status),
        TEST(test_status_that_cannot_be_read),
        TEST(test_write_keeps_other_bits),
        TEST(test_write_reads_back_afresh),
        TEST(test_what_answered_is_not_asked_again),
        TEST(test_place),
        TEST(test_all_ones_are_a_value),
        TEST(test_gone),
        TEST(test_nothing_but_ones),
        TEST(test_ones_of_a_card_that_falls_asleep),
        TEST(test_goes_during_write),
        TEST(test_is_taken_by_a_driver_during_write),
        TEST(test_removed_during_access),
        TEST(test_other_bus_errors),
        TEST(test_the_handler_of_bus_errors_comes_back),
        TEST(test_write_is_not_taken),
        TEST(test_nothing_stays_open),
    };
    return cmocka_run_group_tests(tests, simulated_host_start, simulated_host_stop);
}
