/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/manual.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <unistd.h>

#include <cmocka.h>

#include "scene.h"

static const uint32_t nothing_cut[CARDS] = {0};
static const uint32_t alone[CARDS] = {0x19, 0x31, 0x18, 0x30, 0, 0, 0x1, 0x1};
static struct machine *machine;
static struct manual_report report;
static struct error err;

/* Cards whose registers cannot be mapped, as while a driver or QEMU holds them. */
static bool unmappable[CARDS];
static bool no_uuid;

void *__real_mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset);
void *__wrap_mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset);
void *__wrap_mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset)
{
    char link[64];
    char path[1024];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t used = fd >= 0 ? readlink(link, path, sizeof path - 1) : -1;
    if (used > 0) {
        path[used] = '\0';
        for (int ppu = 0; ppu < CARDS; ppu++) {
            if (unmappable[ppu] && strstr(path, addresses[ppu])) {
                errno = EINVAL;
                return MAP_FAILED;
            }
        }
    }
    return __real_mmap(address, length, protection, flags, fd, offset);
}

bool __real_text_make_uuid(char uuid[UUID_SIZE]);
bool __wrap_text_make_uuid(char uuid[UUID_SIZE]);
bool __wrap_text_make_uuid(char uuid[UUID_SIZE])
{
    return no_uuid ? false : __real_text_make_uuid(uuid);
}

static int start(void **state)
{
    scene_start(state);
    memset(unmappable, 0, sizeof unmappable);
    no_uuid = false;
    machine = scene_machine();
    return 0;
}

static int stop(void **state)
{
    (void)state;
    manual_report_free(&report);
    machine_close(machine);
    return 0;
}

static void restart_with(void **state, const char *settings)
{
    stop(state);
    simulated_text(SETTINGS, settings);
    machine = scene_machine();
}

static int apply(const char *list)
{
    struct card_groups groups;
    manual_report_free(&report);
    err = (struct error){0};
    if (card_groups_parse(machine, list, &groups, &err) < 0) {
        fail_msg("%s", err.text);
    }
    return manual_apply(machine, &groups, NULL, 0, false, &report, &err);
}

static int release(const char *name)
{
    manual_report_free(&report);
    err = (struct error){0};
    return manual_release(machine, name, false, &report, &err);
}

static int reset(void)
{
    manual_report_free(&report);
    err = (struct error){0};
    return manual_reset(machine, false, false, &report, &err);
}

static void assert_fine(int result)
{
    if (result < 0) {
        fail_msg("%s", err.text);
    }
}

static void assert_failed(int result, enum status status, const char *text)
{
    assert_int_equal(result, -1);
    assert_error(&err, status, text, "");
}

static void assert_groups_known(const char *expected)
{
    struct ledger ledger = scene_ledger(LEDGER_LOOK);
    struct ledger_content content;
    struct error trouble;
    struct text_list names = {0};
    assert_int_equal(ledger_read(&ledger, &content, &trouble), 0);
    for (size_t i = 0; i < content.entry_count; i++) {
        text_list_add(&names, "%s %s%s", content.entries[i].name, content.entries[i].manual ? "" : "not by hand ",
                      content.entries[i].phase == PHASE_ENDED ? "ended" : "alive");
    }
    assert_lines(&names, expected);
    text_list_free(&names);
    ledger_content_free(&content);
    ledger_close(&ledger);
}

static void test_life(void **state)
{
    (void)state;
    assert_fine(apply("0,1"));
    assert_masks(alone);
    assert_groups_known("manual-0 alive");
    assert_int_equal(report.groups.count, 1);
    assert_string_equal(report.groups.items[0].name, "manual-0");
    assert_int_equal(report.groups.items[0].ppu_count, 2);
    assert_int_equal(report.write_count, 6);
    assert_fine(release("manual-0"));
    assert_masks(nothing_cut);
    assert_groups_known("");
    assert_int_equal(report.write_count, 6);
}

#define HELD_1                                                                                                         \
    "PPU 1 (0000:7e:00.0): resource0 cannot be mapped now: a driver or QEMU holds the card's registers (EINVAL)"

/* Nothing is put off as at `prepare`: nobody comes back to cut. */
static void test_near_end_that_a_driver_holds(void **state)
{
    (void)state;
    unmappable[1] = true;
    assert_failed(apply("6|0,1"), STATUS_HARDWARE,
                  "group 'manual-0': " HELD_1
                  "; no group of this call is isolated, so correct that, then apply it again");
    assert_int_equal(report.groups.count, 0);
    assert_masks(nothing_cut);
}

/* The group's user keeps its registers from being read: the far ends tell. */
static void test_group_in_use(void **state)
{
    (void)state;
    assert_fine(apply("0,1"));
    scene_bind(addresses[1], "vfio-pci", 1);
    unmappable[1] = true;
    assert_fine(apply("0,1"));
    assert_lines(&report.warnings, HELD_1 "; its own ends of the links stay as they are");
    assert_int_equal(report.groups.count, 1);
    assert_failed(release("manual-0"), STATUS_CONFLICT,
                  "PPU 1 (0000:7e:00.0) of the group 'manual-0' is held open through vfio; end its VM first (fuser "
                  "/dev/vfio/* names the process)");
    assert_masks(alone);
}

static void test_group_in_use_that_nobody_can_verify(void **state)
{
    restart_with(state, "[policy]\nfar_end = leave\n");
    assert_fine(apply("0,1"));
    scene_bind(addresses[1], "vfio-pci", 1);
    unmappable[1] = true;
    assert_failed(apply("0,1|4"), STATUS_HARDWARE,
                  "group 'manual-0': link 0 of PPU 1 (0000:7e:00.0) to PPU 7 (0001:ce:00.0) leaves the group, and "
                  "neither end is known to be cut; end its VM, then apply it again; no group of this call is isolated, "
                  "so correct that, then apply it again");
    assert_groups_known("manual-0 alive");
}

static void test_release_of_a_card_that_a_driver_holds(void **state)
{
    (void)state;
    assert_fine(apply("0,1"));
    unmappable[1] = true;
    assert_failed(release("manual-0"), STATUS_HARDWARE,
                  "not all links are back: " HELD_1 "; correct that, then run icn-hook reset");
    assert_groups_known("manual-0 ended");
    assert_failed(reset(), STATUS_HARDWARE, "not all links are back: " HELD_1);
    unmappable[1] = false;
    assert_fine(release("manual-0"));
    assert_masks(nothing_cut);
    assert_groups_known("");
}

/* A card that we never touched is not ours to give back. */
static void test_reset_beside_a_card_that_a_driver_holds(void **state)
{
    (void)state;
    assert_fine(apply("0"));
    unmappable[4] = true;
    assert_fine(reset());
    assert_lines(&report.warnings, "PPU 4 (0001:09:00.0): resource0 cannot be mapped now: a driver or QEMU holds the "
                                   "card's registers (EINVAL); its links stay as they are");
    assert_masks(nothing_cut);
    assert_groups_known("");
}

static void test_release_in_doubt(void **state)
{
    (void)state;
    assert_fine(apply("0,1"));
    simulated_text(LEDGER "/" VM_B ".json", "{");
    assert_int_equal(release("manual-0"), -1);
    assert_memory_equal(err.text, "not all links are back: ", 24);
    assert_int_equal(err.status, STATUS_INVALID);
    assert_masks(alone);
}

static void test_no_uuid(void **state)
{
    (void)state;
    no_uuid = true;
    assert_failed(apply("0"), STATUS_HARDWARE, "cannot make a uuid");
    assert_masks(nothing_cut);
}

static void test_ledger_that_cannot_be_used(void **state)
{
    (void)state;
    simulated_text(LEDGER, "");
    assert_int_equal(apply("0"), -1);
    assert_int_equal(release("a"), -1);
    assert_int_equal(reset(), -1);
    assert_int_equal(err.status, STATUS_INVALID);
    assert_masks(nothing_cut);
}

#define EACH(test) cmocka_unit_test_setup_teardown(test, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        EACH(test_life),
        EACH(test_near_end_that_a_driver_holds),
        EACH(test_group_in_use),
        EACH(test_group_in_use_that_nobody_can_verify),
        EACH(test_release_of_a_card_that_a_driver_holds),
        EACH(test_reset_beside_a_card_that_a_driver_holds),
        EACH(test_release_in_doubt),
        EACH(test_no_uuid),
        EACH(test_ledger_that_cannot_be_used),
    };
    return cmocka_run_group_tests(tests, simulated_host_start, simulated_host_stop);
}
