/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#include "base/log.h"
#include "child.h"

/* libc's syslog, replaced: the tests must not write into the host's log. */
static char syslog_ident[50];
static int syslog_option;
static int syslog_facility;
static int syslog_priority;
static char syslog_line[8192];

void openlog(const char *ident, int option, int facility)
{
    snprintf(syslog_ident, sizeof(syslog_ident), "%s", ident);
    syslog_option = option;
    syslog_facility = facility;
}

static void record(int priority, const char *format, va_list arguments) PRINTF_LIKE(2, 0);
static void record(int priority, const char *format, va_list arguments)
{
    syslog_priority = priority;
    vsnprintf(syslog_line, sizeof(syslog_line), format, arguments);
}

/* In parentheses: where _FORTIFY_SOURCE makes syslog a macro, this is still the
 * function. */
void(syslog)(int priority, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    record(priority, format, arguments);
    va_end(arguments);
}

/* What _FORTIFY_SOURCE turns calls of syslog into. */
void __syslog_chk(int priority, int flag, const char *format, ...) PRINTF_LIKE(3, 4);
void __syslog_chk(int priority, int flag, const char *format, ...)
{
    va_list arguments;

    (void)flag;
    va_start(arguments, format);
    record(priority, format, arguments);
    va_end(arguments);
}

static char directory[200];

static int set_up(void **state)
{
    (void)state;
    directory_make(directory, sizeof(directory));
    unsetenv("ICN_SYSROOT");
    syslog_line[0] = '\0';
    syslog_ident[0] = '\0';
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    directory_remove(directory);
    return 0;
}

static void make_log_directory(void)
{
    char path[300];

    snprintf(path, sizeof(path), "%s/var", directory);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(path, sizeof(path), "%s/var/log", directory);
    assert_int_equal(mkdir(path, 0700), 0);
}

/* Must be the first: the destination is chosen once for the process. */
static void test_closed_log_says_nothing(void **state)
{
    (void)state;
    log_message(LOG_LEVEL_ERROR, "nobody hears %s", "this");
    assert_string_equal(syslog_line, "");
}

static void check_syslog(enum log_level level, int priority)
{
    log_message(level, "cut %d\nlinks", 3);
    assert_string_equal(syslog_line, "vm=vm1 op=prepare cut 3\\x0alinks");
    assert_int_equal(syslog_priority, priority);
}

static void test_syslog(void **state)
{
    (void)state;

    log_open_hook("vm1", "prepare");
    assert_string_equal(syslog_ident, "icn-hook");
    assert_int_equal(syslog_option, LOG_PID);
    assert_int_equal(syslog_facility, LOG_DAEMON);
    check_syslog(LOG_LEVEL_ERROR, LOG_ERR);
    check_syslog(LOG_LEVEL_WARNING, LOG_WARNING);
    check_syslog(LOG_LEVEL_NOTICE, LOG_NOTICE);
}

/* What a hook looked at would drown what it did. */
static void test_info_is_not_for_the_log(void **state)
{
    (void)state;

    log_open_hook("vm1", "prepare");
    log_message(LOG_LEVEL_INFO, "seen");
    assert_string_equal(syslog_line, "");
}

static void test_names_stay_on_one_line(void **state)
{
    (void)state;

    log_open_hook("vm\n%s\\", "\x1bop");
    log_message(LOG_LEVEL_NOTICE, "fine");
    assert_string_equal(syslog_line, "vm=vm\\x0a%s\\x5c op=\\x1bop fine");
}

static void test_longest_name(void **state)
{
    char name[256];
    (void)state;

    memset(name, '\n', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    log_open_hook(name, "start");
    log_message(LOG_LEVEL_NOTICE, "fine");
    assert_int_equal(strlen(syslog_line), 3 + 4 * 255 + 1 + 8 + 1 + 4);
    assert_string_equal(syslog_line + 3 + 4 * 255, " op=start fine");
}

static void test_simulated_host_has_its_own_log(void **state)
{
    char content[1000];
    char expected[300];
    (void)state;

    make_log_directory();
    setenv("ICN_SYSROOT", directory, 1);
    log_open_hook("vm1", "release");
    log_message(LOG_LEVEL_NOTICE, "restored\t%d", 2);
    log_message(LOG_LEVEL_WARNING, "again");
    directory_read(directory, "var/log/icn-hook.log", content, sizeof(content));
    snprintf(expected, sizeof(expected),
             "icn-hook[%ld]: vm=vm1 op=release restored\\x092\nicn-hook[%ld]: vm=vm1 op=release again\n",
             (long)getpid(), (long)getpid());
    assert_string_equal(content, expected);
    assert_string_equal(syslog_ident, "");
    assert_string_equal(syslog_line, "");
}

static void test_simulated_host_without_log_directory(void **state)
{
    char path[300];
    (void)state;

    setenv("ICN_SYSROOT", directory, 1);
    log_open_hook("vm1", "release");
    log_message(LOG_LEVEL_NOTICE, "unheard");
    snprintf(path, sizeof(path), "%s/var", directory);
    assert_int_equal(access(path, F_OK), -1);
    assert_string_equal(syslog_line, "");
}

static void test_simulated_log_that_cannot_be_written(void **state)
{
    char link[300];
    (void)state;

    make_log_directory();
    snprintf(link, sizeof(link), "%s/var/log/icn-hook.log", directory);
    assert_int_equal(symlink("/dev/full", link), 0);
    setenv("ICN_SYSROOT", directory, 1);
    log_open_hook("vm1", "release");
    log_message(LOG_LEVEL_NOTICE, "unheard");
    assert_string_equal(syslog_line, "");
}

/* A verb has one line, and with -v it is shown as well. */
static void say_as_a_verb(void)
{
    log_open_verbose();
    log_open_verb("apply");
    log_message(LOG_LEVEL_NOTICE, "red");
    exit(strcmp(syslog_line, "verb=apply red") == 0 ? 0 : 1);
}

static void test_verb(void **state)
{
    char output[200];
    (void)state;

    log_open_verb("apply");
    log_message(LOG_LEVEL_INFO, "looked at");
    assert_string_equal(syslog_line, "");
    log_message(LOG_LEVEL_ERROR, "no such card");
    assert_string_equal(syslog_line, "verb=apply no such card");
    assert_int_equal(syslog_priority, LOG_ERR);
    assert_int_equal(child_run(say_as_a_verb, output, sizeof(output)), 0);
    assert_string_equal(output, "icn-hook: red\n");
}

static void say_verbosely(void)
{
    log_open_verbose();
    log_message(LOG_LEVEL_WARNING, "card %d\nis idle", 4);
    exit(0);
}

static void test_verbose(void **state)
{
    char output[200];
    (void)state;

    log_open_hook("vm1", "release");
    assert_int_equal(child_run(say_verbosely, output, sizeof(output)), 0);
    assert_string_equal(output, "icn-hook: card 4\\x0ais idle\n");
    assert_string_equal(syslog_line, "");
}

#define CASE(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_closed_log_says_nothing),
        CASE(test_syslog),
        CASE(test_info_is_not_for_the_log),
        CASE(test_names_stay_on_one_line),
        CASE(test_longest_name),
        CASE(test_simulated_host_has_its_own_log),
        CASE(test_simulated_host_without_log_directory),
        CASE(test_simulated_log_that_cannot_be_written),
        CASE(test_verb),
        CASE(test_verbose),
    };
    return cmocka_run_group_tests_name("base/log", tests, NULL, NULL);
}
