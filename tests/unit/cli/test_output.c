/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/output.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "../host/simulated_host.h"
#include "capture.h"

static struct output output;
static struct error err;

/* Standard output is a terminal of WIDTH columns (a real pseudo terminal) until it
 * is given back. */
static int kept_stdout, terminal;

static void take_terminal(unsigned short width)
{
    const struct winsize size = {.ws_row = 24, .ws_col = width};
    terminal = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(terminal >= 0 && grantpt(terminal) == 0 && unlockpt(terminal) == 0);
    int fd = open(ptsname(terminal), O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(fd >= 0 && ioctl(fd, TIOCSWINSZ, &size) == 0);
    fflush(stdout);
    kept_stdout = dup(STDOUT_FILENO);
    dup2(fd, STDOUT_FILENO);
    close(fd);
}

static void give_terminal_back(void)
{
    fflush(stdout);
    dup2(kept_stdout, STDOUT_FILENO);
    close(kept_stdout);
    close(terminal);
}

static void open_on_terminal(const struct options *options)
{
    take_terminal(132);
    output_open(&output, options);
    give_terminal_back();
}

static void test_terminal(void **state)
{
    static const struct {
        const char *columns;
        int width;
    } cases[] = {{NULL, 132}, {"80", 80}, {"0", 132}, {"-3", 132}, {"many", 132}, {"", 132}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cases[i].columns ? setenv("COLUMNS", cases[i].columns, 1) : unsetenv("COLUMNS");
        open_on_terminal(&(struct options){0});
        assert_int_equal(output.width, cases[i].width);
        assert_ptr_equal(output.stream, stdout);
    }
    unsetenv("COLUMNS");
}

static void test_colour(void **state)
{
    static const struct {
        enum colour_choice choice;
        const char *no_color;
        const char *term;
        bool expected;
    } cases[] = {
        {COLOUR_AUTO, NULL, "xterm", true}, {COLOUR_AUTO, NULL, NULL, true},      {COLOUR_AUTO, "", "xterm", true},
        {COLOUR_AUTO, "1", "xterm", false}, {COLOUR_AUTO, "0", "xterm", false},   {COLOUR_AUTO, NULL, "dumb", false},
        {COLOUR_ALWAYS, "1", "dumb", true}, {COLOUR_NEVER, NULL, "xterm", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cases[i].no_color ? setenv("NO_COLOR", cases[i].no_color, 1) : unsetenv("NO_COLOR");
        cases[i].term ? setenv("TERM", cases[i].term, 1) : unsetenv("TERM");
        open_on_terminal(&(struct options){.colour = cases[i].choice});
        assert_int_equal(output.in_colour, cases[i].expected);
    }
    unsetenv("NO_COLOR");
    setenv("TERM", "xterm", 1);
}

static void test_pipe(void **state)
{
    (void)state;
    setenv("COLUMNS", "40", 1);
    capture_begin();
    output_open(&output, &(struct options){0});
    output_line(&output, COLOUR_RED, "plain");
    assert_int_equal(output_close(&output, &err), 0);
    output_open(&output, &(struct options){.colour = COLOUR_ALWAYS, .output = "-"});
    output_line(&output, COLOUR_RED, "red");
    assert_int_equal(output_close(&output, &err), 0);
    capture_end();
    unsetenv("COLUMNS");
    assert_int_equal(output.width, 0);
    assert_string_equal(captured_stdout(), "plain\n\033[1;31mred\033[0m\n");
}

/* Prints "text" into PATH; returns what output_close does. */
static int write_to(const char *path)
{
    capture_begin();
    output_open(&output, &(struct options){.output = path});
    output_line(&output, COLOUR_RED, "text");
    int result = output_close(&output, &err);
    capture_end();
    assert_string_equal(captured_stdout(), "");
    return result;
}

static void test_file(void **state)
{
    (void)state;
    struct stat facts;
    char path[4096];
    snprintf(path, sizeof path, "%s", simulated_path("/file"));
    assert_int_equal(write_to(path), 0);
    assert_string_equal(simulated_read("/file"), "text\n");
    assert_int_equal(stat(path, &facts), 0);
    assert_int_equal(facts.st_mode & 07777, 0644);
    simulated_text("/file", "old");
    assert_int_equal(write_to(path), 0);
    assert_string_equal(simulated_read("/file"), "text\n");
    assert_string_equal(captured_stderr(), "");
}

static void test_link(void **state)
{
    (void)state;
    char path[4096];
    struct stat facts;
    simulated_text("/there/file", "old");
    simulated_link("/link", "there/file");
    snprintf(path, sizeof path, "%s", simulated_path("/link"));
    assert_int_equal(write_to(path), 0);
    assert_string_equal(simulated_read("/there/file"), "text\n");
    assert_int_equal(lstat(path, &facts), 0);
    assert_true(S_ISLNK(facts.st_mode));
}

static void test_what_is_no_file(void **state)
{
    (void)state;
    char path[4096];
    char expected[8192];
    snprintf(path, sizeof path, "%s", simulated_path("/fifo"));
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(write_to(path), -1);
    snprintf(expected, sizeof expected, "%s is not a regular file", path);
    assert_string_equal(err.text, expected);
    simulated_link("/link", "nowhere");
    snprintf(path, sizeof path, "%s", simulated_path("/link"));
    assert_int_equal(write_to(path), -1);
    simulated_directory("/directory");
    snprintf(path, sizeof path, "%s", simulated_path("/directory"));
    assert_int_equal(write_to(path), -1);
    assert_int_equal(write_to("/nowhere/at/all"), -1);
    assert_int_equal(err.status, STATUS_INVALID);
    assert_string_equal(err.text, "cannot write /nowhere/at/all: No such file or directory");
    assert_int_equal(write_to("/proc/icn-hook"), -1);
    assert_int_equal(err.status, STATUS_HARDWARE);
    assert_memory_equal(err.text, "/proc/icn-hook: cannot write icn-hook: ", 39);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_terminal),
        cmocka_unit_test(test_colour),
        cmocka_unit_test(test_pipe),
        cmocka_unit_test_setup(test_file, simulated_host_clear),
        cmocka_unit_test_setup(test_link, simulated_host_clear),
        cmocka_unit_test_setup(test_what_is_no_file, simulated_host_clear),
    };
    return cmocka_run_group_tests(tests, simulated_host_start, simulated_host_stop);
}
