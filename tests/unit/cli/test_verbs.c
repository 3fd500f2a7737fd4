/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/verbs.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "../engine/scene.h"
#include "capture.h"

enum { WORDS = 8 };

/* The words of LINE, by blanks; a lone '' is an empty word. */
static int run(const char *line)
{
    char copy[512];
    char *words[WORDS + 2] = {"icn-hook"};
    int count = 1;
    char *rest = copy;

    snprintf(copy, sizeof copy, "%s", line);
    for (char *word = strsep(&rest, " "); word && count <= WORDS; word = strsep(&rest, " ")) {
        if (word[0] != '\0') {
            words[count++] = strcmp(word, "''") == 0 ? "" : word;
        }
    }
    capture_begin();
    int status = verbs_run(count, words);
    capture_end();
    return status;
}

static void test_usage_errors(void **state)
{
    static const struct {
        const char *line;
        const char *message;
    } cases[] = {
        {"", "icn-hook: no verb given to 'icn-hook'; see icn-hook --help\n"},
        {"frobnicate", "icn-hook: unknown verb 'frobnicate'; see icn-hook --help\n"},
        {"''", "icn-hook: unknown verb ''; see icn-hook --help\n"},
        {"-", "icn-hook: unknown verb '-'; see icn-hook --help\n"},
        {"--frobnicate", "icn-hook: unknown option '--frobnicate'; see icn-hook --help\n"},
        {"status --jsonx", "icn-hook: unknown option '--jsonx'; see icn-hook --help\n"},
        {"status -x", "icn-hook: unknown option '-x'; see icn-hook --help\n"},
        {"status extra", "icn-hook: one argument too many: 'extra'; see icn-hook --help\n"},
        {"plan a b", "icn-hook: one argument too many: 'b'; see icn-hook --help\n"},
        {"plan", "icn-hook: FILE|- must follow 'plan'; see icn-hook --help\n"},
        {"-n", "icn-hook: FILE|- must follow 'plan'; see icn-hook --help\n"},
        {"status -n", "icn-hook: status takes no option 'dry-run'; see icn-hook --help\n"},
        {"status --config", "icn-hook: FILE must follow '--config'; see icn-hook --help\n"},
        {"--json", "icn-hook: no verb given to 'icn-hook'; see icn-hook --help\n"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(run(cases[i].line), STATUS_USAGE);
        assert_string_equal(captured_stderr(), cases[i].message);
        assert_string_equal(captured_stdout(), "");
    }
}

static void test_help_and_version(void **state)
{
    static const char *const helps[] = {"-h", "--help", "status --help", "-h status"};

    (void)state;
    for (size_t i = 0; i < sizeof helps / sizeof helps[0]; i++) {
        assert_int_equal(run(helps[i]), STATUS_OK);
        assert_memory_equal(captured_stdout(), "Usage: icn-hook ", 16);
        assert_string_equal(captured_stderr(), "");
    }
    assert_int_equal(run("--version"), STATUS_OK);
    assert_string_equal(captured_stdout(), "icn-hook " PACKAGE_VERSION "\n");
}

static void test_options_in_any_order(void **state)
{
    static const char expected[] = "{\n  \"schema\": \"icn-hook/check/1\",\n  \"ok\": true,";
    static const char *const lines[] = {
        "check --json",
        "--json check",
    };

    (void)state;
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        assert_int_equal(run(lines[i]), STATUS_OK);
        assert_memory_equal(captured_stdout(), expected, sizeof expected - 1);
        assert_string_equal(captured_stderr(), "");
    }
}

/* The log's destination stays for the rest of the program: the last test. */
static void test_verbose(void **state)
{
    static const char expected[] = "{\n  \"schema\": \"icn-hook/check/1\",";
    static const char *const lines[] = {"check --json -v", "--verbose --json check"};

    (void)state;
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        assert_int_equal(run(lines[i]), STATUS_OK);
        assert_memory_equal(captured_stdout(), expected, sizeof expected - 1);
        assert_memory_equal(captured_stderr(), "icn-hook: topology ", 19);
    }
}

static void test_configuration_that_is_named(void **state)
{
    char line[512];

    (void)state;
    simulated_text("/other.conf", "broken");
    snprintf(line, sizeof line, "status --config %s", simulated_path("/other.conf"));
    assert_int_equal(run(line), STATUS_INVALID);
    assert_memory_equal(captured_stderr(), "icn-hook: ", 10);
    assert_non_null(strstr(captured_stderr(), "/other.conf:1: "));
    simulated_text("/fine.conf", "[policy]\n");
    snprintf(line, sizeof line, "check --config=%s", simulated_path("/fine.conf"));
    assert_int_equal(run(line), STATUS_OK);
    snprintf(line, sizeof line, "--config %s check", simulated_path("/fine.conf"));
    assert_int_equal(run(line), STATUS_OK);
    assert_int_equal(run("status --config /proc/none"), STATUS_INVALID);
    assert_string_equal(captured_stderr(),
                        "icn-hook: cannot open the configuration /proc/none: No such file or directory\n");
    assert_string_equal(captured_stdout(), "");
}

/* The three spellings of one verb. */
static void test_plan(void **state)
{
    static const char *const forms[] = {"plan %s", "--dry-run %s", "-n %s", "%s", "plan -n %s"};
    char line[512];

    (void)state;
    simulated_text("/a.xml", scene_xml("a", VM_A, "01"));
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        const char *hole = strstr(forms[i], "%s");
        snprintf(line, sizeof line, "%.*s%s", (int)(hole - forms[i]), forms[i], simulated_path("/a.xml"));
        if (hole == forms[i]) {
            assert_int_equal(run(line), STATUS_USAGE);
            continue;
        }
        assert_int_equal(run(line), STATUS_OK);
        assert_string_equal(captured_stdout(),
                            "VM 'a' would be isolated. Register writes, in this order (bit set = link cut):\n"
                            "  PPU 0 (0000:08:00.0)     0x00000000 -> 0x00000019  card of the VM\n"
                            "  PPU 1 (0000:7e:00.0)     0x00000000 -> 0x00000031  card of the VM\n"
                            "  PPU 2 (0000:a2:00.0)     0x00000000 -> 0x00000018  idle card\n"
                            "  PPU 3 (0000:c6:00.0)     0x00000000 -> 0x00000030  idle card\n"
                            "  PPU 6 (0001:aa:00.0)     0x00000000 -> 0x00000001  idle card\n"
                            "  PPU 7 (0001:ce:00.0)     0x00000000 -> 0x00000001  idle card\n");
        assert_masks((const uint32_t[CARDS]){0});
    }
}

static void test_output_that_cannot_be_written(void **state)
{
    char *help[] = {"icn-hook", "--help", NULL};
    int full = open("/dev/full", O_WRONLY | O_CLOEXEC);

    (void)state;
    assert_true(full >= 0);
    capture_begin();
    dup2(full, STDOUT_FILENO);
    int status = verbs_run(2, help);
    __fpurge(stdout);
    clearerr(stdout);
    dup2(STDERR_FILENO, STDOUT_FILENO);
    capture_end();
    close(full);
    assert_int_equal(status, STATUS_HARDWARE);
    assert_string_equal(captured_stderr(), "icn-hook: cannot write to standard output: No space left on device\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_usage_errors, scene_start),
        cmocka_unit_test_setup(test_help_and_version, scene_start),
        cmocka_unit_test_setup(test_options_in_any_order, scene_start),
        cmocka_unit_test_setup(test_configuration_that_is_named, scene_start),
        cmocka_unit_test_setup(test_plan, scene_start),
        cmocka_unit_test_setup(test_output_that_cannot_be_written, scene_start),
        cmocka_unit_test_setup(test_verbose, scene_start),
    };
    return cmocka_run_group_tests(tests, simulated_host_start, simulated_host_stop);
}
