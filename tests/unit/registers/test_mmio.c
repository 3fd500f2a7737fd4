/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "registers/registers.h"
#include "../host/simulated_host.h"

#define BDF "0000:08:00.0"
#define DIRECTORY "/sys/bus/pci/devices/" BDF
#define GONE "the register reads all ones: the card is off the bus or powered down; reset it or replace it"

enum { LINKS = 0x39, NOBODY = 65534 };

/* What the next mappings of a register meet (linked with --wrap=mmap). */
static struct {
    int failure;       /* errno of the failing mmap */
    bool lost_writes;  /* what is written stays in the mapping */
    bool removal;      /* the BAR vanishes before the access */
    int ones_from;     /* from this mapping on the card reads all ones; 0 = never */
    bool stuck_enable; /* `enable` cannot be written any more */
    int mappings;
    char enable[8]; /* its text at the last mapping */
    size_t notes;   /* in the ledger then */
} scene;

static struct settings settings;
static struct ledger ledger;
static struct registers registers;
static struct card_address card;

static size_t count_notes(void)
{
    struct bdf *functions = NULL;
    size_t count = 0;
    struct error err;

    if (ledger.lockfd == -1) {
        return 0;
    }
    assert_int_equal(ledger_enabled_notes(&ledger, &functions, &count, &err), 0);
    free(functions);
    return count;
}

void *__real_mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset);
void *__wrap_mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset);
void *__wrap_mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset)
{
    struct stat status;

    if (flags != MAP_SHARED) { /* not a register */
        return __real_mmap(address, length, protection, flags, fd, offset);
    }
    scene.mappings++;
    if (stat(simulated_path(DIRECTORY "/enable"), &status) == 0 && S_ISREG(status.st_mode)) {
        snprintf(scene.enable, sizeof scene.enable, "%.7s", simulated_read(DIRECTORY "/enable"));
    }
    scene.notes = count_notes();
    if (scene.failure != 0) {
        errno = scene.failure;
        return MAP_FAILED;
    }
    if (scene.removal) {
        assert_int_equal(truncate(simulated_path(DIRECTORY "/resource0"), 0), 0);
    }
    if (scene.ones_from != 0 && scene.mappings >= scene.ones_from) {
        simulated_set_register(BDF, LINK_CONFIG_OFFSET, 0xffffffff);
    }
    if (scene.stuck_enable) {
        simulated_remove(DIRECTORY "/enable");
        simulated_directory(DIRECTORY "/enable");
    }
    return __real_mmap(address, length, protection, scene.lost_writes ? MAP_PRIVATE : flags, fd, offset);
}

static int set_up(void **state)
{
    simulated_host_clear(state);
    simulated_card(BDF);
    memset(&scene, 0, sizeof scene);
    settings_default(&settings);
    ledger = (struct ledger){.dirfd = -1, .lockfd = -1};
    registers_open(&registers, &settings, &ledger, true);
    card = (struct card_address){.ppu = 3, .bdf = {.bus = 8}, .links = LINKS};
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    if (ledger.lockfd != -1) {
        ledger_close(&ledger);
    }
    return 0;
}

/* The ledger as a hook has it. */
static void lock_ledger(void)
{
    struct error err;

    simulated_directory("/run");
    assert_int_equal(ledger_open(&ledger, LEDGER_CHANGE, deadline_after_ms(1000), &err), 0);
}

static void check_reading(enum reading_kind kind, uint32_t mask, const char *why)
{
    struct reading reading;

    memset(&reading, 0xaa, sizeof reading);
    registers.backend->read(&registers, &card, &reading);
    assert_string_equal(reading.why, why);
    assert_int_equal(reading.kind, kind);
    assert_int_equal(reading.mask, mask);
}

static void check_written(uint32_t mask, uint32_t expected)
{
    struct error err;

    assert_int_equal(registers.backend->write(&registers, &card, mask, &err), WRITE_FINE);
    assert_int_equal(simulated_register(BDF, LINK_CONFIG_OFFSET), expected);
}

static void check_refused(enum write_failure failure, const char *reason)
{
    char text[2048];
    struct error err = {0};

    assert_int_equal(registers.backend->write(&registers, &card, 0x19, &err), failure);
    assert_int_equal(err.status, STATUS_HARDWARE);
    snprintf(text, sizeof text, "PPU 3 (" BDF "): %s", reason);
    assert_string_equal(err.text, text);
}

static void set_register(uint32_t value)
{
    simulated_set_register(BDF, LINK_CONFIG_OFFSET, value);
}

static void test_is_the_default(void **state)
{
    (void)state;
    assert_ptr_equal(registers.backend, &registers_mmio);
    assert_string_equal(registers.backend->name, "mmio");
    assert_true(registers.backend->reads_back);
    assert_null(registers.backend->isolate);
    assert_null(registers.backend->reset);
}

static void test_read(void **state)
{
    (void)state;
    check_reading(READING_FINE, 0, "");
    set_register(0xa5000019);
    check_reading(READING_FINE, 0x19, "");
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

/* Read, write, read back: each through a mapping of its own. */
static void test_write_reads_back_afresh(void **state)
{
    (void)state;
    check_written(0x19, 0x19);
    assert_int_equal(scene.mappings, 3);
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

static void test_gone(void **state)
{
    (void)state;
    set_register(0xffffffff);
    check_reading(READING_GONE, 0, GONE);
    check_refused(WRITE_FAILED, GONE);
    settings.cut_bit = 0;
    check_reading(READING_GONE, 0, GONE);
}

static void test_goes_during_write(void **state)
{
    (void)state;
    scene.ones_from = 3;
    check_refused(WRITE_FAILED, GONE);
}

static void test_removed_during_access(void **state)
{
    const char *reason = "resource0: bus error, the card was removed during the access";

    (void)state;
    scene.removal = true;
    check_reading(READING_FAILED, 0, reason);
    simulated_card(BDF);
    check_refused(WRITE_FAILED, reason);
}

static void test_all_links_wired(void **state)
{
    (void)state;
    card.links = 0xffffffff;
    check_written(0xffffffff, 0xffffffff);
    check_reading(READING_FINE, 0xffffffff, "");
    check_written(0x19, 0x19);
    set_register(0xffffffff);
    simulated_config(BDF, 0xffff, 0xffff);
    check_reading(READING_GONE, 0, GONE);
    simulated_remove(DIRECTORY "/config");
    check_reading(READING_GONE, 0, GONE);
    check_refused(WRITE_FAILED, GONE);
}

static void test_write_is_not_taken(void **state)
{
    (void)state;
    set_register(0x80000020);
    scene.lost_writes = true;
    check_refused(WRITE_FAILED, "register did not take the write (wrote 0x80000019, reads 0x80000020)");
    assert_int_equal(simulated_register(BDF, LINK_CONFIG_OFFSET), 0x80000020);
}

static void check_both(const char *reason)
{
    check_reading(READING_FAILED, 0, reason);
    check_refused(WRITE_FAILED, reason);
}

static void test_missing(void **state)
{
    (void)state;
    simulated_remove(DIRECTORY "/resource0");
    check_both("resource0 is missing: the card has no such BAR; check bar in [registers]");
    simulated_directory(DIRECTORY "/resource0");
    check_both("resource0 is not a regular file");
    simulated_remove(DIRECTORY "/resource0");
    simulated_link(DIRECTORY "/resource0", "resource1");
    check_both("cannot open resource0: Too many levels of symbolic links");
    simulated_remove(DIRECTORY);
    check_both("the card is not in sysfs; check that it is plugged in and powered");
}

static void test_too_short(void **state)
{
    (void)state;
    assert_int_equal(truncate(simulated_path(DIRECTORY "/resource0"), LINK_CONFIG_OFFSET + 3), 0);
    check_both("resource0 has 3116555 bytes, too few for the register at 0x2f8e08; "
               "check bar, link_config and stride in [registers]");
    assert_int_equal(truncate(simulated_path(DIRECTORY "/resource0"), LINK_CONFIG_OFFSET + 4), 0);
    check_reading(READING_FINE, 0, "");
    settings.link_config = UINT32_MAX;
    settings.stride = UINT32_MAX;
    check_both("resource0 has 3116556 bytes, too few for the register at 0xfffffffe00000001; "
               "check bar, link_config and stride in [registers]");
}

static void test_not_permitted(void **state)
{
    const char *reason = "cannot open resource0 (this needs root): Permission denied";
    const char *resource = simulated_path(DIRECTORY "/resource0");
    uid_t user = geteuid();

    (void)state;
    assert_int_equal(chmod(resource, 0444), 0);
    assert_int_equal(seteuid(user == 0 ? NOBODY : user), 0);
    check_reading(READING_FINE, 0, "");
    check_refused(WRITE_FAILED, reason);
    assert_int_equal(seteuid(user), 0);
    assert_int_equal(chmod(resource, 0), 0);
    assert_int_equal(seteuid(user == 0 ? NOBODY : user), 0);
    check_both(reason);
    assert_int_equal(seteuid(user), 0);
}

static void test_held(void **state)
{
    const char *invalid = "resource0 cannot be mapped now: a driver or QEMU holds the card's registers (EINVAL)";
    const char *busy = "resource0 cannot be mapped now: a driver or QEMU holds the card's registers (EBUSY)";

    (void)state;
    scene.failure = EINVAL;
    check_reading(READING_UNVERIFIABLE, 0, invalid);
    check_refused(WRITE_HELD, invalid);
    scene.failure = EBUSY;
    check_reading(READING_UNVERIFIABLE, 0, busy);
    check_refused(WRITE_HELD, busy);
}

static void test_cannot_map(void **state)
{
    (void)state;
    scene.failure = EPERM;
    check_both("the kernel does not let resource0 be mapped: it is locked down (/sys/kernel/security/lockdown); "
               "boot without lockdown or set backend = ppudbg");
    scene.failure = ENOMEM;
    check_both("cannot map resource0: Cannot allocate memory");
}

static size_t count_open_files(void)
{
    DIR *directory = opendir("/proc/self/fd");
    size_t count = 0;

    assert_non_null(directory);
    while (readdir(directory) != NULL) {
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
    while (fgets(line, sizeof line, maps) != NULL) {
        count += strstr(line, "/resource0") != NULL;
    }
    fclose(maps);
    return count;
}

/* An open resource file would hold up the unbinding of the host's driver. */
static void test_nothing_stays_open(void **state)
{
    size_t before;

    (void)state;
    lock_ledger();
    simulated_config(BDF, 0x1ee0, 0);
    before = count_open_files();
    check_written(0x19, 0x19);
    scene.lost_writes = true;
    set_register(0);
    check_refused(WRITE_FAILED, "register did not take the write (wrote 0x00000019, reads 0x00000000)");
    scene.failure = EINVAL;
    check_reading(READING_UNVERIFIABLE, 0,
                  "resource0 cannot be mapped now: a driver or QEMU holds the card's registers (EINVAL)");
    assert_int_equal(count_open_files(), before);
    assert_int_equal(count_mappings(), 0);
}

/* Only looking: nothing on the host is changed. */
static void test_decoding_off_while_looking(void **state)
{
    (void)state;
    lock_ledger();
    registers.may_write = false;
    simulated_config(BDF, 0x1ee0, 0x0004);
    set_register(0x19);
    check_reading(READING_FINE, 0x19, "");
    assert_string_equal(scene.enable, "0\n");
    assert_int_equal(scene.notes, 0);
    set_register(0xffffffff);
    check_reading(READING_UNVERIFIABLE, 0, "memory decoding is off");
    card.links = 0xffffffff;
    check_reading(READING_UNVERIFIABLE, 0, "memory decoding is off");
    assert_string_equal(simulated_read(DIRECTORY "/enable"), "0\n");
}

static void test_decoding_needs_the_ledger(void **state)
{
    struct ledger unlocked;

    (void)state;
    simulated_config(BDF, 0x1ee0, 0x0004);
    check_reading(READING_FINE, 0, "");
    assert_string_equal(scene.enable, "0\n");
    registers.ledger = NULL;
    check_reading(READING_FINE, 0, "");
    assert_string_equal(scene.enable, "0\n");
    lock_ledger();
    unlocked = (struct ledger){.dirfd = ledger.dirfd, .lockfd = -1};
    registers.ledger = &unlocked;
    check_reading(READING_FINE, 0, "");
    assert_string_equal(scene.enable, "0\n");
    set_register(0xffffffff);
    check_reading(READING_FAILED, 0, "memory decoding is off");
}

static void test_decoding_is_switched(void **state)
{
    (void)state;
    lock_ledger();
    simulated_config(BDF, 0x1ee0, 0x0004);
    check_written(0x19, 0x19);
    assert_string_equal(scene.enable, "1\n");
    assert_int_equal(scene.notes, 1);
    assert_string_equal(simulated_read(DIRECTORY "/enable"), "0\n");
    assert_int_equal(count_notes(), 0);
    check_reading(READING_FINE, 0x19, "");
    assert_string_equal(scene.enable, "1\n");
    assert_string_equal(simulated_read(DIRECTORY "/enable"), "0\n");
    set_register(0xffffffff);
    check_reading(READING_GONE, 0, GONE);
    assert_string_equal(simulated_read(DIRECTORY "/enable"), "0\n");
    assert_int_equal(count_notes(), 0);
}

static void test_decoding_is_on(void **state)
{
    (void)state;
    lock_ledger();
    check_written(0x19, 0x19);
    assert_string_equal(scene.enable, "0\n");
    simulated_text(DIRECTORY "/config", "\xe0\x1e\x01\x60"); /* too short to say */
    check_written(0x31, 0x31);
    assert_string_equal(scene.enable, "0\n");
    simulated_remove(DIRECTORY "/config");
    check_written(0x19, 0x19);
    assert_string_equal(scene.enable, "0\n");
}

static void check_stays_off(enum reading_kind kind, enum write_failure failure, const char *reason)
{
    set_register(0x20);
    check_written(0x19, 0x19);
    set_register(0xffffffff);
    check_reading(kind, 0, reason);
    check_refused(failure, reason);
    assert_int_equal(count_notes(), 0);
}

/* The kernel refuses to change `enable` then. */
static void test_decoding_with_driver(void **state)
{
    (void)state;
    lock_ledger();
    simulated_config(BDF, 0x1ee0, 0x0004);
    simulated_link(DIRECTORY "/driver", "../../../bus/pci/drivers/vfio-pci");
    check_stays_off(READING_UNVERIFIABLE, WRITE_HELD,
                    "memory decoding is off and cannot be switched on while driver vfio-pci is bound");
    assert_string_equal(scene.enable, "0\n");
}

static void test_decoding_although_enabled(void **state)
{
    (void)state;
    lock_ledger();
    simulated_config(BDF, 0x1ee0, 0x0004);
    simulated_text(DIRECTORY "/enable", "2\n");
    check_stays_off(READING_FAILED, WRITE_FAILED, "memory decoding is off although the card is enabled (enable is 2)");
    assert_string_equal(simulated_read(DIRECTORY "/enable"), "2\n");
}

static void test_decoding_cannot_be_switched_on(void **state)
{
    (void)state;
    lock_ledger();
    simulated_config(BDF, 0x1ee0, 0x0004);
    simulated_remove(DIRECTORY "/enable");
    check_stays_off(READING_FAILED, WRITE_FAILED,
                    "memory decoding is off and cannot be switched on: cannot write 1 to enable of " BDF
                    ": No such file or directory");
    simulated_directory(DIRECTORY "/enable");
    check_stays_off(READING_FAILED, WRITE_FAILED,
                    "memory decoding is off and cannot be switched on: cannot write 1 to enable of " BDF
                    ": Is a directory");
}

/* Without a note nothing is switched on. */
static void test_decoding_without_note(void **state)
{
    struct ledger broken;
    struct reading reading;

    (void)state;
    lock_ledger();
    broken = (struct ledger){.dirfd = -1, .lockfd = ledger.lockfd};
    registers.ledger = &broken;
    simulated_config(BDF, 0x1ee0, 0x0004);
    check_reading(READING_FINE, 0, "");
    assert_string_equal(scene.enable, "0\n");
    set_register(0xffffffff);
    registers.backend->read(&registers, &card, &reading);
    assert_int_equal(reading.kind, READING_FAILED);
    reading.why[strlen("memory decoding is off and is not switched on without a note in the ledger: ")] = '\0';
    assert_string_equal(reading.why, "memory decoding is off and is not switched on without a note in the ledger: ");
}

/* The note stays for registers_recover. */
static void test_decoding_cannot_be_switched_off(void **state)
{
    (void)state;
    lock_ledger();
    simulated_config(BDF, 0x1ee0, 0x0004);
    scene.stuck_enable = true;
    check_reading(READING_FINE, 0, "");
    assert_int_equal(count_notes(), 1);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_is_the_default),
        TEST(test_read),
        TEST(test_write_keeps_other_bits),
        TEST(test_write_reads_back_afresh),
        TEST(test_place),
        TEST(test_gone),
        TEST(test_goes_during_write),
        TEST(test_removed_during_access),
        TEST(test_all_links_wired),
        TEST(test_write_is_not_taken),
        TEST(test_missing),
        TEST(test_too_short),
        TEST(test_not_permitted),
        TEST(test_held),
        TEST(test_cannot_map),
        TEST(test_nothing_stays_open),
        TEST(test_decoding_off_while_looking),
        TEST(test_decoding_needs_the_ledger),
        TEST(test_decoding_is_switched),
        TEST(test_decoding_is_on),
        TEST(test_decoding_with_driver),
        TEST(test_decoding_although_enabled),
        TEST(test_decoding_cannot_be_switched_on),
        TEST(test_decoding_without_note),
        TEST(test_decoding_cannot_be_switched_off),
    };

    return cmocka_run_group_tests(tests, simulated_host_start, simulated_host_stop);
}
