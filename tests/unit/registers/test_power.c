/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/paths.h"
#include "registers/registers.h"
#include "../host/simulated_host.h"

#define CARD "0000:08:00.0"
#define DIRECTORY "/sys/bus/pci/devices/" CARD "/"
#define ASLEEP "it sleeps (D3hot) and is not woken only to look; vfio-pci with disable_idle_d3=1 keeps cards awake"
#define LOW "it is in D3hot, where its user has put it; without a user, load vfio-pci with disable_idle_d3=1"

enum { HERD = 16, NOBODY = 65534 };

static struct pci_state state_of_card;
static const struct card_address card = {.ppu = 0, .bdf = {.bus = 0x08}, .state = &state_of_card, .links = 0x39};

static struct settings settings;
static struct state state_of_host;
static struct registers registers;
static bool kernel_wakes;
static bool has_no_threads;
static atomic_int threads;
static int waits;

/* A herd: cards that the kernel wakes as soon as HERD_NEEDED of them are to be awake. */
static struct bdf herd[HERD];
static int herd_needed;
static pthread_mutex_t herd_lock = PTHREAD_MUTEX_INITIALIZER;

static const char *herd_path(int index, const char *name, char path[256])
{
    char text[BDF_TEXT_SIZE];
    snprintf(path, 256, "%s" PATH_PCI_DEVICES "/%s/%s", paths_sysroot(), bdf_format(herd[index], text), name);
    return path;
}

static bool herd_is(int index, const char *name, const char *value)
{
    char path[256];
    char word[16];
    return file_read_word_at(AT_FDCWD, herd_path(index, name, path), word, sizeof word) && strcmp(word, value) == 0;
}

static void wake_herd_members(void)
{
    char path[256];
    int wanted = 0;
    pthread_mutex_lock(&herd_lock);
    for (int i = 0; i < HERD; i++) {
        wanted += herd_is(i, "power/control", "on");
    }
    for (int i = 0; i < HERD && wanted >= herd_needed; i++) {
        if (herd_is(i, "power/control", "on")) {
            assert_int_equal(file_write_word_at(AT_FDCWD, herd_path(i, "power_state", path), "D0\n"), 0);
        }
    }
    pthread_mutex_unlock(&herd_lock);
}

/* The kernel at work while the program waits. */
int __wrap_nanosleep(const struct timespec *request, struct timespec *left);
int __wrap_nanosleep(const struct timespec *request, struct timespec *left)
{
    (void)request;
    (void)left;
    if (herd_needed > 0) {
        wake_herd_members();
        return 0;
    }
    if (++waits >= 3 && kernel_wakes && strcmp(simulated_read(DIRECTORY "power/control"), "on") == 0) {
        simulated_text(DIRECTORY "power_state", "D0\n");
        simulated_text(DIRECTORY "power/runtime_status", "active\n");
    }
    return 0;
}

int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *argument);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *argument);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *argument)
{
    if (has_no_threads) {
        return EAGAIN;
    }
    threads++;
    return __real_pthread_create(thread, attributes, start, argument);
}

static void set_power(const char *state, const char *runtime, const char *control)
{
    if (state) {
        simulated_text(DIRECTORY "power_state", state);
    }
    simulated_text(DIRECTORY "power/runtime_status", runtime);
    simulated_text(DIRECTORY "power/control", control);
}

static void open_registers(bool may_write)
{
    registers_close(&registers);
    registers_open(&registers, &settings, &state_of_host, may_write);
}

static int set_up(void **state)
{
    simulated_host_clear(state);
    simulated_card(CARD);
    settings_default(&settings);
    state_of_host = STATE_CLOSED;
    registers_open(&registers, &settings, &state_of_host, true);
    kernel_wakes = true;
    herd_needed = 0;
    has_no_threads = false;
    threads = 0;
    waits = 0;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    registers_close(&registers);
    return 0;
}

static void assert_read(bool may_touch, enum reading_kind kind, const char *why)
{
    struct reading reading;
    registers.backend->read(&registers, &card, may_touch, &reading);
    assert_string_equal(reading.why, why);
    assert_int_equal(reading.kind, kind);
}

static void assert_awake(void)
{
    assert_read(true, READING_FINE, "");
}

static void assert_control(const char *value)
{
    assert_string_equal(simulated_read(DIRECTORY "power/control"), value);
}

static void test_awake_cards_are_left_alone(void **state)
{
    (void)state;
    assert_awake();
    open_registers(true);
    set_power("D0\n", "active\n", "on\n");
    assert_awake();
    open_registers(true);
    set_power("unknown\n", "active\n", "on\n");
    assert_awake();
    open_registers(true);
    simulated_remove(DIRECTORY "power_state");
    set_power(NULL, "unsupported\n", "on\n");
    assert_awake();
    registers_close(&registers);
    assert_control("on\n");
    assert_int_equal(waits, 0);
    assert_int_equal(threads, 0);
}

/* "auto" is obeyed a moment after it was written: such a card may be about to sleep. */
static void test_a_card_that_may_fall_asleep_is_kept_awake(void **state)
{
    (void)state;
    set_power("D0\n", "active\n", "auto\n");
    assert_awake();
    assert_control("on");
    registers_close(&registers);
    assert_control("auto");
}

static void test_a_sleeping_card_is_woken_until_all_is_done(void **state)
{
    (void)state;
    set_power("D3hot\n", "suspended\n", "auto\n");
    registers_wake(&registers, &card.bdf, 1);
    assert_int_equal(waits, 3);
    assert_control("on");
    simulated_text(DIRECTORY "power/control", "auto\n");
    assert_awake();
    registers_wake(&registers, (const struct bdf[]){card.bdf, card.bdf}, 2);
    assert_control("auto\n"); /* is not looked at again */
    assert_int_equal(registers.woken_count, 1);
    registers_close(&registers);
    assert_control("auto");
    simulated_text(DIRECTORY "power/control", "as it was left\n");
    registers_close(&registers);
    assert_control("as it was left\n");
    assert_int_equal(threads, 0);
}

static void test_a_kernel_without_power_state(void **state)
{
    (void)state;
    set_power(NULL, "suspended\n", "auto\n");
    assert_awake();
    assert_control("on");
    assert_int_equal(waits, 3);
}

static void test_a_card_that_somebody_else_wakes(void **state)
{
    (void)state;
    set_power("D3hot\n", "resuming\n", "on");
    assert_awake();
    assert_int_equal(waits, 3);
    registers_close(&registers);
    assert_control("on");
}

static void test_looking_wakes_nobody(void **state)
{
    (void)state;
    set_power("D3hot\n", "suspended\n", "auto\n");
    assert_read(false, READING_UNVERIFIABLE, ASLEEP);
    open_registers(false);
    registers_wake(&registers, &card.bdf, 1);
    assert_read(true, READING_UNVERIFIABLE, ASLEEP);
    set_power("D0\n", "active\n", "auto\n");
    assert_awake();
    registers_close(&registers);
    assert_control("auto\n");
}

static void test_a_card_that_its_user_put_to_sleep(void **state)
{
    (void)state;
    set_power("D3hot\n", "active\n", "auto\n");
    assert_read(true, READING_UNVERIFIABLE, LOW);
    assert_read(false, READING_UNVERIFIABLE, LOW);
    registers_close(&registers);
    assert_control("auto\n");
}

static void test_a_card_that_does_not_wake(void **state)
{
    (void)state;
    kernel_wakes = false;
    set_power("D3cold\n", "suspended\n", "auto\n");
    assert_read(true, READING_FAILED, "it does not wake from D3cold");
    assert_control("auto");
    int64_t before = deadline_after_ms(0);
    assert_read(true, READING_FAILED, "it does not wake from D3cold");
    assert_in_range(deadline_after_ms(0) - before, 0, 900); /* is not waited for again */
    simulated_text(DIRECTORY "power/control", "as it was left\n");
    registers_close(&registers);
    assert_control("as it was left\n");
}

static void set_control_mode(mode_t mode)
{
    assert_int_equal(chmod(simulated_path(DIRECTORY "power/control"), mode), 0);
}

static void test_a_control_that_cannot_be_written(void **state)
{
    uid_t user = geteuid();
    (void)state;
    set_power("D3hot\n", "suspended\n", "auto\n");
    set_control_mode(0444);
    assert_int_equal(seteuid(user == 0 ? NOBODY : user), 0);
    assert_read(true, READING_FAILED, "cannot write on to power/control: Permission denied");
    assert_int_equal(seteuid(user), 0);
    set_control_mode(0644);
    set_power("D0\n", "active\n", "auto\n");
    set_control_mode(0444);
    open_registers(true);
    assert_int_equal(seteuid(user == 0 ? NOBODY : user), 0);
    assert_awake();
    assert_int_equal(seteuid(user), 0);
    registers_close(&registers);
    assert_control("auto\n");
}

static int write_mask(uint32_t mask, struct error *err)
{
    const int owners[] = {1};
    const struct plan plan = {.count = 1, .writes = {{.ppu = 0, .role = ROLE_NEAR, .from = 0, .to = mask}}};
    const struct writing writing = {.plan = &plan, .cards = &card, .owners = owners, .ppu_count = 1};
    struct text_list warnings = {0};
    enum apply_outcome outcome;
    return registers.backend->write_plan(&registers, &writing, &outcome, &warnings, err);
}

static void test_registers_of_a_sleeping_card(void **state)
{
    struct error err;
    (void)state;
    set_power("D3hot\n", "suspended\n", "auto\n");
    simulated_set_register(CARD, LINK_CONFIG_OFFSET, 0x40);
    kernel_wakes = false;
    assert_int_equal(write_mask(0x19, &err), -1);
    assert_string_equal(err.text, "PPU 0 (" CARD "): it does not wake from D3hot");
    assert_int_equal(simulated_register(CARD, LINK_CONFIG_OFFSET), 0x40);
    kernel_wakes = true;
    open_registers(true);
    assert_int_equal(write_mask(0x19, &err), 0);
    assert_int_equal(simulated_register(CARD, LINK_CONFIG_OFFSET), 0x59);
    assert_awake();
    registers_close(&registers);
    assert_control("auto");
}

static void make_herd(void)
{
    char text[BDF_TEXT_SIZE];
    for (int i = 0; i < HERD; i++) {
        static const char *const files[][2] = {
            {"power_state", "D3hot\n"}, {"power/runtime_status", "suspended\n"}, {"power/control", "auto\n"}};
        herd[i] = (struct bdf){.bus = (uint8_t)(0x10 + i)};
        for (size_t file = 0; file < sizeof files / sizeof files[0]; file++) {
            char path[256];
            snprintf(path, sizeof path, PATH_PCI_DEVICES "/%s/%s", bdf_format(herd[i], text), files[file][0]);
            simulated_text(path, files[file][1]);
        }
    }
}

static void check_herd(const char *control)
{
    for (int i = 0; i < HERD; i++) {
        assert_true(herd_is(i, "power/control", control));
        assert_true(herd_is(i, "power_state", "D0"));
    }
}

/* None of them wakes before all were asked to. */
static void test_cards_are_woken_together(void **state)
{
    (void)state;
    make_herd();
    herd_needed = HERD;
    registers_wake(&registers, herd, HERD);
    assert_int_equal(threads, HERD - 1);
    check_herd("on");
    registers_close(&registers);
    check_herd("auto");
}

/* One after the other, which takes longer. */
static void test_without_threads(void **state)
{
    (void)state;
    make_herd();
    herd_needed = 1;
    has_no_threads = true;
    registers_wake(&registers, herd, HERD);
    check_herd("on");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_awake_cards_are_left_alone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_card_that_may_fall_asleep_is_kept_awake, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_sleeping_card_is_woken_until_all_is_done, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_kernel_without_power_state, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_card_that_somebody_else_wakes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_looking_wakes_nobody, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_card_that_its_user_put_to_sleep, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_card_that_does_not_wake, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_control_that_cannot_be_written, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_registers_of_a_sleeping_card, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_cards_are_woken_together, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_without_threads, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, simulated_host_start, simulated_host_stop);
}
