/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/hook_mode.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "../engine/scene.h"
#include "capture.h"

static int start(void **state)
{
    unsetenv("ICN_HOOK_VERDICT_FD");
    return scene_start(state);
}

static void test_shape(void **state)
{
    static const struct {
        int count;
        char *arguments[7];
        bool meant;
    } cases[] = {
        {5, {"qemu", "vm1", "prepare", "begin", "-"}, true},
        {5, {"icn-hook", "vm1", "start", "begin", "-"}, true},
        {5, {"icn-hook", "vm1", "started", "begin", "-"}, true},
        {5, {"icn-hook", "vm1", "stopped", "end", "shutdown"}, true},
        {5, {"icn-hook", "vm1", "release", "end", ""}, true},
        {5, {"icn-hook", "vm1", "reconnect", "begin", "-"}, true},
        {5, {"icn-hook", "vm1", "migrate", "begin", "-"}, true},
        {5, {"icn-hook", "vm1", "restore", "begin", "-"}, true},
        {5, {"icn-hook", "vm1", "attach", "begin", "-"}, true},
        {5, {"icn-hook", "end", "prepare", "begin", "--name"}, true},
        {5, {"icn-hook", "", "prepare", "begin", "-"}, true},
        {5, {"icn-hook", "vm1", "stopped", "begin", "-"}, false},
        {5, {"icn-hook", "vm1", "prepare", "end", "-"}, false},
        {5, {"icn-hook", "vm1", "prepare", "middle", "-"}, false},
        {5, {"icn-hook", "vm1", "unheard-of", "begin", "-"}, false},
        {5, {"icn-hook", "vm1", "PREPARE", "begin", "-"}, false},
        {5, {"icn-hook", "vm1", "", "begin", "-"}, false},
        {5, {"icn-hook", "--help", "prepare", "begin", ""}, false},
        {5, {"icn-hook", "-n", "prepare", "begin", ""}, false},
        {5, {"icn-hook", "apply", "prepare", "begin", "-"}, false},
        {5, {"icn-hook", "status", "prepare", "begin", "-"}, false},
        {5, {"icn-hook", "apply", "--name", "end", "0,1"}, false},
        {4, {"icn-hook", "vm1", "prepare", "begin"}, false},
        {6, {"icn-hook", "vm1", "prepare", "begin", "-", "-"}, false},
        {1, {"icn-hook"}, false},
        {0, {NULL}, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(hook_mode_is_meant(cases[i].count, cases[i].arguments), cases[i].meant);
    }
}

/* The hook program says so: then the VM may have any name. */
static void test_word_of_the_hook_program(void **state)
{
    char *strange[] = {"icn-hook", "--help", "unheard-of", "end", "-", NULL};
    char *verb[] = {"icn-hook", "apply", "prepare", "begin", "-", NULL};
    char number[32];

    (void)state;
    int fd = dup(STDERR_FILENO);
    snprintf(number, sizeof number, "%d", fd);
    setenv("ICN_HOOK_VERDICT_FD", number, 1);
    assert_true(hook_mode_is_meant(5, strange));
    assert_true(hook_mode_is_meant(5, verb));
    assert_false(hook_mode_is_meant(4, verb));
    close(fd);
    assert_false(hook_mode_is_meant(5, strange));
    assert_false(hook_mode_is_meant(5, verb));
    unsetenv("ICN_HOOK_VERDICT_FD");
}

static int run(const char *operation, const char *text)
{
    char name[] = "a";
    char kind[32];
    char *arguments[] = {"icn-hook", name, kind, "begin", "-", NULL};

    snprintf(kind, sizeof kind, "%s", operation);
    stdin_give(text);
    capture_begin();
    int status = hook_mode_run(arguments);
    capture_end();
    stdin_restore();
    assert_string_equal(captured_stdout(), "");
    return status;
}

static void test_success_is_silent(void **state)
{
    (void)state;
    assert_int_equal(run("prepare", scene_xml("a", VM_A, "01")), 0);
    assert_string_equal(captured_stderr(), "");
    assert_masks((const uint32_t[CARDS]){0x19, 0x31, 0x18, 0x30, 0, 0, 0x1, 0x1});
    assert_non_null(strstr(simulated_read(HOOK_LOG), "vm=a op=prepare isolated; "));
}

static void test_refusal_is_one_line(void **state)
{
    (void)state;
    scene_running("b", VM_B, "1", 102);
    assert_int_equal(run("prepare", scene_xml("a", VM_A, "1")), STATUS_CONFLICT);
    assert_string_equal(captured_stderr(),
                        "icn-hook: VM 'a' is not started: PPU 1 (0000:7e:00.0) is owned by VM 'b' (" VM_B
                        "), which runs; stop that VM or give this one another card\n");
}

/* libvirt would kill the VM for it, or does not care. */
static void test_other_operations_do_not_fail(void **state)
{
    static const char *const operations[] = {"started", "stopped", "release", "reconnect", "migrate"};

    (void)state;
    for (size_t i = 0; i < sizeof operations / sizeof operations[0]; i++) {
        assert_int_equal(run(operations[i], "junk"), 0);
        assert_string_equal(captured_stderr(), "");
    }
}

static void test_too_much_on_stdin(void **state)
{
    static char text[(16 << 20) + 2];

    (void)state;
    memset(text, ' ', sizeof text - 1);
    assert_int_equal(run("prepare", text), STATUS_INVALID);
    assert_memory_equal(captured_stderr(), "icn-hook: VM 'a' is not started: the domain's XML", 49);
    assert_int_equal(run("started", text), 0);
    assert_string_equal(captured_stderr(), "");
    assert_non_null(strstr(simulated_read(HOOK_LOG), "vm=a op=started the domain's XML"));
}

/* The hook program gets the status as one byte, too. */
static void test_verdict(void **state)
{
    char number[32];
    int ends[2];
    unsigned char byte = 0xaa;

    (void)state;
    assert_int_equal(pipe(ends), 0);
    snprintf(number, sizeof number, "%d", ends[1]);
    setenv("ICN_HOOK_VERDICT_FD", number, 1);
    assert_int_equal(run("prepare", "junk"), STATUS_INVALID);
    assert_int_equal(read(ends[0], &byte, 1), 1);
    assert_int_equal(byte, STATUS_INVALID);
    assert_int_equal(fcntl(ends[1], F_GETFD), FD_CLOEXEC);
    assert_int_equal(run("started", "junk"), 0);
    assert_int_equal(read(ends[0], &byte, 1), 1);
    assert_int_equal(byte, 0);
    close(ends[0]);
    close(ends[1]);
}

static void test_verdict_that_nobody_takes(void **state)
{
    static const char *const descriptors[] = {"", "junk", "0", "2", "1023", "1024", "-1"};
    char number[32];

    (void)state;
    for (size_t i = 0; i < sizeof descriptors / sizeof descriptors[0]; i++) {
        setenv("ICN_HOOK_VERDICT_FD", descriptors[i], 1);
        assert_int_equal(run("prepare", "junk"), STATUS_INVALID);
        assert_null(strstr(simulated_read(HOOK_LOG), "verdict"));
        assert_int_equal(captured_stderr()[strlen(captured_stderr()) - 1], '\n');
    }
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    snprintf(number, sizeof number, "%d", fd);
    setenv("ICN_HOOK_VERDICT_FD", number, 1);
    assert_int_equal(run("prepare", "junk"), STATUS_INVALID);
    assert_non_null(strstr(simulated_read(HOOK_LOG), "the hook program did not take the verdict 3"));
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shape),
        cmocka_unit_test(test_word_of_the_hook_program),
        cmocka_unit_test_setup(test_success_is_silent, start),
        cmocka_unit_test_setup(test_refusal_is_one_line, start),
        cmocka_unit_test_setup(test_other_operations_do_not_fail, start),
        cmocka_unit_test_setup(test_too_much_on_stdin, start),
        cmocka_unit_test_setup(test_verdict, start),
        cmocka_unit_test_setup(test_verdict_that_nobody_takes, start),
    };
    return cmocka_run_group_tests(tests, simulated_host_start, simulated_host_stop);
}
