/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "scene.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/paths.h"

struct scene scene;
struct settings settings;
struct state state_of_host;
struct registers registers;
struct card_address card;
static struct pci_state state_of_card;

size_t count_notes(void)
{
    struct text_list names = {0};
    struct error err;
    size_t count = 0;
    if (file_list(simulated_path(PATH_STATE), &names, NULL, &err) < 0) {
        return 0;
    }
    for (size_t i = 0; i < names.count; i++) {
        count += strncmp(names.items[i], "enabled-", strlen("enabled-")) == 0;
    }
    text_list_free(&names);
    return count;
}

static void sink(void)
{
    simulated_text(DIRECTORY "/power_state", "D0\n");
    simulated_text(DIRECTORY "/power/runtime_status", "suspending\n");
    simulated_set_register(BDF, LINK_CONFIG_OFFSET, 0xffffffff);
}

static void vanish(void)
{
    simulated_config(BDF, 0xffff, 0xffff);
    simulated_set_register(BDF, LINK_CONFIG_OFFSET, 0xffffffff);
}

static void bind(const char *driver)
{
    struct stat facts;
    if (lstat(simulated_path(DIRECTORY "/driver"), &facts) < 0) {
        simulated_link(DIRECTORY "/driver", driver);
    }
}

void bind_host_driver(void)
{
    bind("../../../bus/pci/drivers/alixpu");
}

void open_through_vfio(void)
{
    bind("../../../bus/pci/drivers/vfio-pci");
    simulated_text(DIRECTORY "/enable", "1\n");
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
    if (scene.failure != 0 && scene.mappings >= scene.failure_from) {
        if (scene.taken) {
            scene.taken();
        }
        errno = scene.failure;
        return MAP_FAILED;
    }
    if (scene.removal) {
        assert_int_equal(truncate(simulated_path(DIRECTORY "/resource0"), 0), 0);
    }
    if (scene.ones_from != 0 && scene.mappings >= scene.ones_from) {
        vanish();
    }
    if (scene.mappings == scene.falls_asleep) {
        sink();
    }
    if (scene.stuck_enable) {
        simulated_remove(DIRECTORY "/enable");
        simulated_directory(DIRECTORY "/enable");
    }
    return __real_mmap(address, length, protection, scene.lost_writes ? MAP_PRIVATE : flags, fd, offset);
}

int scene_set_up(void **state)
{
    simulated_host_clear(state);
    simulated_card(BDF);
    memset(&scene, 0, sizeof scene);
    settings_default(&settings);
    state_of_host = STATE_CLOSED;
    registers_open(&registers, &settings, &state_of_host, true);
    card = (struct card_address){.ppu = 3, .bdf = {.bus = 8}, .state = &state_of_card, .links = LINKS};
    return 0;
}

int scene_tear_down(void **state)
{
    (void)state;
    registers_close(&registers);
    state_close(&state_of_host);
    return 0;
}

void lock_state(void)
{
    struct error err;
    simulated_directory("/run");
    assert_int_equal(state_open(&state_of_host, STATE_CHANGE, deadline_after_ms(1000), &err), 0);
}

void scene_reopen(void)
{
    registers_close(&registers);
    registers_open(&registers, &settings, &state_of_host, true);
}

void set_register(uint32_t value)
{
    simulated_set_register(BDF, LINK_CONFIG_OFFSET, value);
}

static void check_read(bool may_touch, enum reading_kind kind, uint32_t mask, const char *why)
{
    struct reading reading;
    memset(&reading, 0xaa, sizeof reading);
    sysfs_read_state(card.bdf, &state_of_card);
    registers.backend->read(&registers, &card, may_touch, &reading);
    assert_string_equal(reading.why, why);
    assert_int_equal(reading.kind, kind);
    assert_int_equal(reading.mask, mask);
}

void check_reading(enum reading_kind kind, uint32_t mask, const char *why)
{
    check_read(true, kind, mask, why);
}

void check_look(enum reading_kind kind, uint32_t mask, const char *why)
{
    check_read(false, kind, mask, why);
}

/* One cut of a near end. */
static int cut(uint32_t mask, bool may_defer, enum apply_outcome *outcome, struct error *err)
{
    const struct card_address cards[] = {[3] = card};
    const int owners[] = {[3] = 1};
    struct plan plan = {.count = 1, .writes = {{.ppu = 3, .role = ROLE_NEAR, .from = 0, .to = mask}}};
    const struct writing writing = {
        .plan = &plan, .cards = cards, .owners = owners, .ppu_count = 4, .may_defer = may_defer};
    struct text_list warnings = {0};
    sysfs_read_state(card.bdf, &state_of_card);
    int result = registers.backend->write_plan(&registers, &writing, outcome, &warnings, err);
    assert_int_equal(warnings.count, 0);
    return result;
}

void check_written(uint32_t mask, uint32_t expected)
{
    enum apply_outcome outcome = APPLY_NOT_TRIED;
    struct error err;
    assert_int_equal(cut(mask, false, &outcome, &err), 0);
    assert_int_equal(outcome, APPLY_DONE);
    assert_int_equal(simulated_register(BDF, LINK_CONFIG_OFFSET), expected);
}

void check_refused(enum apply_outcome outcome, const char *reason)
{
    char text[2048];
    enum apply_outcome seen = APPLY_NOT_TRIED;
    struct error err = {0};
    assert_int_equal(cut(0x19, false, &seen, &err), -1);
    assert_int_equal(seen, APPLY_FAILED);
    assert_int_equal(err.status, STATUS_HARDWARE);
    snprintf(text, sizeof text, "PPU 3 (" BDF "): %s", reason);
    assert_string_equal(err.text, text);
    assert_int_equal(cut(0x19, true, &seen, &err), outcome == APPLY_DEFERRED ? 0 : -1);
    assert_int_equal(seen, outcome);
}
