/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/verbs.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
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
        {"", "icn-hook: no command given; see icn-hook --help\n"},
        {"frobnicate", "icn-hook: unknown verb 'frobnicate'; see icn-hook --help\n"},
        {"stauts", "icn-hook: unknown verb 'stauts' (did you mean status?); see icn-hook --help\n"},
        {"relase red", "icn-hook: unknown verb 'relase' (did you mean release?); see icn-hook --help\n"},
        {"list", "icn-hook: unknown verb 'list' (did you mean status?); see icn-hook --help\n"},
        {"a-word-that-is-much-too-long",
         "icn-hook: unknown verb 'a-word-that-is-much-too-long'; see icn-hook --help\n"},
        {"xy", "icn-hook: unknown verb 'xy'; see icn-hook --help\n"},
        {"''", "icn-hook: unknown verb ''; see icn-hook --help\n"},
        {"-", "icn-hook: unknown verb '-'; see icn-hook --help\n"},
        {"--frobnicate", "icn-hook: unknown option '--frobnicate'; see icn-hook --help\n"},
        {"status --jsonx", "icn-hook: unknown option '--jsonx' (did you mean --json?); see icn-hook help status\n"},
        {"status -x", "icn-hook: unknown option '-x'; see icn-hook help status\n"},
        {"suggest 2 extra", "icn-hook: unexpected argument 'extra'; see icn-hook help suggest\n"},
        {"help stauts", "icn-hook: unknown verb 'stauts' (did you mean status?); see icn-hook --help\n"},
        {"--no-heder history",
         "icn-hook: unknown option '--no-heder' (did you mean --no-header?); see icn-hook --help\n"},
        {"check --no-heder", "icn-hook: unknown option '--no-heder'; see icn-hook help check\n"},
        {"topo --no-header --dot", "icn-hook: --no-header is for tables only; see icn-hook help topo\n"},
        {"complete", "icn-hook: 'complete' needs an argument: KIND; see icn-hook --help\n"},
        {"plan a b", "icn-hook: unexpected argument 'b'; see icn-hook help plan\n"},
        {"plan", "icn-hook: plan needs a FILE, or - for standard input, or --domain NAME; see icn-hook help plan\n"},
        {"-n", "icn-hook: plan needs a FILE, or - for standard input, or --domain NAME; see icn-hook help plan\n"},
        {"status -n", "icn-hook: 'status' has no option '--dry-run'; see icn-hook help status\n"},
        {"status --config", "icn-hook: option '--config' needs a value: FILE; see icn-hook help status\n"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(run(cases[i].line), STATUS_USAGE);
        assert_string_equal(captured_stderr(), cases[i].message);
        assert_string_equal(captured_stdout(), "");
    }
}

/* getopt_long would take them. */
static void test_abbreviations(void **state)
{
    static const struct {
        const char *line;
        const char *word;
        const char *likely; /* or NULL */
        const char *help;
    } cases[] = {
        {"--re", "--re", NULL, "--help"},
        {"--rese", "--rese", "reset", "--help"},
        {"reset --fo", "--fo", NULL, "help reset"},
        {"--vm 4", "--vm", NULL, "--help"},
        {"--vm=4", "--vm=4", NULL, "--help"},
        {"--vm_device 4", "--vm_device", "vm_devices", "--help"},
        {"--check 0", "--check", NULL, "--help"},
        {"--gen", "--gen", NULL, "--help"},
        {"status --js", "--js", NULL, "help status"},
        {"status --conf", "--conf", "config", "help status"},
        {"status --conf=x", "--conf=x", "config", "help status"},
        {"status --v", "--v", NULL, "help status"},
        {"-n --he", "--he", NULL, "--help"},
        {"apply --nam red 0", "--nam", "name", "help apply"},
    };
    char message[128];

    (void)state;
    set_masks((const uint32_t[CARDS]){1});
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        snprintf(message, sizeof message, "icn-hook: unknown option '%s'%s%s%s; see icn-hook %s\n", cases[i].word,
                 cases[i].likely ? " (did you mean --" : "", cases[i].likely ? cases[i].likely : "",
                 cases[i].likely ? "?)" : "", cases[i].help);
        assert_int_equal(run(cases[i].line), STATUS_USAGE);
        assert_string_equal(captured_stderr(), message);
        assert_string_equal(captured_stdout(), "");
    }
    assert_masks((const uint32_t[CARDS]){1});
}

static void test_errors_in_json(void **state)
{
    static const char *const usage[] = {"--json",          "--json frob",      "frob --json", "status -x --json",
                                        "plan a b --json", "suggest 0 --json", "plan --json", "status --js --json"};

    (void)state;
    for (size_t i = 0; i < sizeof usage / sizeof usage[0]; i++) {
        char text[256];
        assert_int_equal(run(usage[i]), STATUS_USAGE);
        assert_captured_json("/schema", "\"icn-hook/error/1\"");
        assert_captured_json("/status", "2");
        assert_captured_json("/code", "\"usage\"");
        snprintf(text, sizeof text, "\"%.*s\"", (int)strlen(captured_stderr()) - 11, captured_stderr() + 10);
        assert_captured_json("/text", text);
    }
    assert_int_equal(run("status -x -- --json"), STATUS_USAGE);
    assert_string_equal(captured_stdout(), "");
}

static void test_every_verb_has_its_error_in_json(void **state)
{
    static const char *const lines[] = {
        "status --json",           "check --json",      "check 0 --json",     "topo --json",  "explain 0 --json",
        "suggest 1 --json",        "apply 0 --json",    "release red --json", "reset --json", "topo --generate --json",
        "doctor --probe 0 --json", "plan /none --json", "doctor /none --json"};

    (void)state;
    simulated_text(SETTINGS, "broken");
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        assert_int_equal(run(lines[i]), STATUS_INVALID);
        assert_captured_json("/schema", "\"icn-hook/error/1\"");
        assert_captured_json("/status", "3");
        assert_captured_json("/code", "\"invalid\"");
        assert_memory_equal(captured_stderr(), "icn-hook: ", 10);
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
    static const char expected[] = "{\n  \"schema\": \"icn-hook/check/2\",\n  \"ok\": true,";
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

/* A reader that has seen enough is not an error: the status is that of the verb. */
static void test_reader_that_goes_away(void **state)
{
    char *fine[] = {"icn-hook", "check", NULL};
    char *bad[] = {"icn-hook", "check", "0", NULL};
    int ends[2];

    (void)state;
    void (*before)(int) = signal(SIGPIPE, SIG_IGN);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
        close(ends[0]);
        capture_begin();
        dup2(ends[1], STDOUT_FILENO);
        int status = verbs_run(2 + i, i == 0 ? fine : bad);
        __fpurge(stdout);
        clearerr(stdout);
        dup2(STDERR_FILENO, STDOUT_FILENO);
        capture_end();
        close(ends[1]);
        assert_int_equal(status, i == 0 ? STATUS_OK : STATUS_CHECK_FAILED);
        assert_string_equal(captured_stderr(), "");
    }
    signal(SIGPIPE, before);
}

/* The log's destination stays for the rest of the program: the last test. */
static void test_verbose(void **state)
{
    static const char expected[] = "{\n  \"schema\": \"icn-hook/check/2\",";
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
    simulated_text("/fine.conf", "[map]\n0 = 0000:08:00.0\n");
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
        cmocka_unit_test_setup(test_abbreviations, scene_start),
        cmocka_unit_test_setup(test_errors_in_json, scene_start),
        cmocka_unit_test_setup(test_every_verb_has_its_error_in_json, scene_start),
        cmocka_unit_test_setup(test_help_and_version, scene_start),
        cmocka_unit_test_setup(test_options_in_any_order, scene_start),
        cmocka_unit_test_setup(test_configuration_that_is_named, scene_start),
        cmocka_unit_test_setup(test_plan, scene_start),
        cmocka_unit_test_setup(test_output_that_cannot_be_written, scene_start),
        cmocka_unit_test_setup(test_reader_that_goes_away, scene_start),
        cmocka_unit_test_setup(test_verbose, scene_start),
    };
    return cmocka_run_group_tests(tests, simulated_host_start, simulated_host_stop);
}
