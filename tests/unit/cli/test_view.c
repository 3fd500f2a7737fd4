/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/view.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "../engine/scene.h"
#include "capture.h"

static struct session session;
static struct error err;

static int open_view(void)
{
    const struct options options = {0};
    capture_begin();
    int result = view_open(&session, &options, &err);
    capture_end();
    assert_string_equal(captured_stdout(), "");
    assert_string_equal(captured_stderr(), "");
    return result;
}

static void assert_leaks(const char *expected)
{
    struct json_object *object = json_object_new_object();
    assert_int_equal(view_put_leaks(&session, object), view_count_leaks(&session));
    assert_string_equal(json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN), expected);
    json_object_put(object);
}

static void test_isolated(void **state)
{
    (void)state;
    scene_running("a", VM_A, "01", 101);
    set_masks((const uint32_t[CARDS]){0x19, 0x31, 0x18, 0x30, 0, 0, 0x1, 0x1});
    scene_evidence(0, 0x19, 4711, (const char *const[]){VM_A, NULL});
    scene_evidence(1, 0x31, 4711, (const char *const[]){VM_A, NULL});
    assert_int_equal(open_view(), 0);
    assert_int_equal(links_judge(&session), STATUS_OK);
    assert_notes(&session.notes, "");
    assert_leaks("{\"leaks\":[]}");
    session_close(&session);
}

/* Each pair once, the smaller id first; each card that lacks cuts. */
static void test_leaks_and_drift(void **state)
{
    (void)state;
    scene_running("a", VM_A, "01", 101);
    scene_running("b", VM_B, "6", 102);
    scene_evidence(0, 0x19, 4711, (const char *const[]){VM_A, NULL});
    scene_evidence(1, 0x31, 4711, (const char *const[]){VM_A, NULL});
    scene_evidence(6, 0x39, 4711, (const char *const[]){VM_B, NULL});
    set_masks((const uint32_t[CARDS]){0x10, 0x31, 0x10, 0x30, 0x8, 0x10, 0x38, 0x9});
    assert_int_equal(open_view(), 0);
    assert_int_equal(links_judge(&session), STATUS_CHECK_FAILED);
    assert_int_equal(view_count_leaks(&session), 2);
    assert_notes(
        &session.notes,
        "error leak: LEAK: a link between PPU 0 (0000:08:00.0) and PPU 6 (0001:aa:00.0) is open on both sides; "
        "owners: a / b; stop the VM\n"
        "error leak: LEAK: a link between PPU 0 (0000:08:00.0) and PPU 2 (0000:a2:00.0) is open on both sides; "
        "owners: a / idle; stop the VM\n"
        "error cut-missing: PPU 0 (0000:08:00.0) lacks cuts: mask 0x00000010, required 0x00000019; icn-hook "
        "repair makes them\n"
        "error cut-missing: PPU 2 (0000:a2:00.0) lacks cuts: mask 0x00000010, required 0x00000018; icn-hook "
        "repair makes them\n"
        "error cut-missing: PPU 6 (0001:aa:00.0) lacks cuts: mask 0x00000038, required 0x00000039; icn-hook "
        "repair makes them");
    assert_leaks("{\"leaks\":[{\"a\":0,\"b\":2},{\"a\":0,\"b\":6}]}");
    session_close(&session);
}

static void test_what_cannot_be_seen(void **state)
{
    (void)state;
    simulated_text(CARDS_CONF, "[map]\n0 = 0000:08:00.0\n1 = 0000:7e:00.0\n2 = 0009:00:00.0\n");
    scene_unplug("234567");
    simulated_remove("/sys/bus/pci/devices/0000:7e:00.0/resource0");
    scene_hold(0);
    assert_int_equal(open_view(), 0);
    assert_notes(
        &session.notes,
        "warning unknown-holder: PPU 0 (0000:08:00.0) is held open through vfio by a process that is not a known "
        "VM; its links stay cut until it ends\n"
        "warning unverified: the link between PPU 0 (0000:08:00.0) and PPU 6 (no card) must be cut (owners: "
        "unknown / idle), and nothing shows that it is\n"
        "warning unverified: the link between PPU 0 (0000:08:00.0) and PPU 2 (0009:00:00.0) must be cut (owners: "
        "unknown / idle), and nothing shows that it is\n"
        "warning unverified: the link between PPU 0 (0000:08:00.0) and PPU 3 (no card) must be cut (owners: "
        "unknown / idle), and nothing shows that it is\n"
        "warning unverified: the link between PPU 0 (0000:08:00.0) and PPU 1 (0000:7e:00.0) must be cut (owners: "
        "unknown / idle), and nothing shows that it is\n"
        "info card: PPU 0 (0000:08:00.0): resource0 cannot be mapped now: a driver or QEMU holds the card's "
        "registers (EINVAL)\n"
        "info card: PPU 1 (0000:7e:00.0): resource0 is missing: the card has no such BAR; check bar in [registers]\n"
        "warning card: PPU 2 (0009:00:00.0) is not on the PCI bus\n"
        "warning card: PPU 3 has no card: no line of [map] names it\n"
        "warning card: PPU 4 has no card: no line of [map] names it\n"
        "warning card: PPU 5 has no card: no line of [map] names it\n"
        "warning card: PPU 6 has no card: no line of [map] names it\n"
        "warning card: PPU 7 has no card: no line of [map] names it");
    assert_int_equal(view_count_leaks(&session), 0);
    assert_int_equal(links_judge(&session), STATUS_UNVERIFIED);
    session_close(&session);
}

static void test_host_that_cannot_be_looked_at(void **state)
{
    static const struct {
        const char *path; /* gets a text that is wrong there */
        enum status status;
    } cases[] = {{SETTINGS, STATUS_INVALID}, {TOPOLOGY, STATUS_INVALID}, {RUN, STATUS_INVALID}};

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        scene_start(state);
        simulated_text(cases[i].path, "wrong");
        assert_int_equal(open_view(), -1);
        session_close(&session);
        assert_int_equal(err.status, cases[i].status);
        assert_non_null(strstr(err.text, simulated_path("%s", cases[i].path)));
        assert_null(strchr(err.text, '\n'));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_isolated, scene_start),
        cmocka_unit_test_setup(test_leaks_and_drift, scene_start),
        cmocka_unit_test_setup(test_what_cannot_be_seen, scene_start),
        cmocka_unit_test(test_host_that_cannot_be_looked_at),
    };
    return cmocka_run_group_tests(tests, simulated_host_start, simulated_host_stop);
}
