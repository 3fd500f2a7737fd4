/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <syslog.h>
#include <unistd.h>

#include "base/log.h"
#include "child.h"

static char directory[200];

/* What a daemon would get at one of the two sockets of the simulated host. */
enum listener { SYSLOG, JOURNAL, LISTENER_COUNT };
static int listeners[LISTENER_COUNT];

static void make_directories(const char *path)
{
    char part[300];
    for (const char *end = strchr(path + 1, '/'); end; end = strchr(end + 1, '/')) {
        snprintf(part, sizeof(part), "%s%.*s", directory, (int)(end - path), path);
        mkdir(part, 0700);
    }
}

static void listen_at(enum listener listener, const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    make_directories(path);
    int length = snprintf(address.sun_path, sizeof(address.sun_path), "%s%s", directory, path);
    assert_true(length > 0 && (size_t)length < sizeof(address.sun_path));
    listeners[listener] = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(listeners[listener], (struct sockaddr *)&address, sizeof(address)), 0);
}

/* The next datagram; "" if there is none. */
static const char *heard(enum listener listener)
{
    static char data[1 << 16];
    ssize_t length = recv(listeners[listener], data, sizeof(data) - 1, 0);
    data[length > 0 ? length : 0] = '\0';
    return data;
}

/* "<PRIORITY>Nov 28 01:02:03 icn-hook[pid]: TEXT" */
static void assert_syslog(int priority, const char *text)
{
    char begin[20];
    char end[200];
    const char *line = heard(SYSLOG);
    snprintf(begin, sizeof(begin), "<%d>", LOG_DAEMON | priority);
    snprintf(end, sizeof(end), " icn-hook[%ld]: ", (long)getpid());
    assert_memory_equal(line, begin, strlen(begin));
    assert_memory_equal(line + strlen(begin) + sizeof("Nov 28 01:02:03") - 1, end, strlen(end));
    assert_string_equal(line + strlen(begin) + sizeof("Nov 28 01:02:03") - 1 + strlen(end), text);
}

static int set_up(void **state)
{
    (void)state;
    directory_make(directory, sizeof(directory));
    setenv("ICN_SYSROOT", directory, 1);
    listen_at(SYSLOG, "/dev/log");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    close(listeners[SYSLOG]);
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
    const struct log_field none[] = {{"ICN_CARDS", NULL}};
    (void)state;
    log_message(LOG_LEVEL_ERROR, "nobody hears %s", "this");
    log_event(EVENT_FAILED, LOG_LEVEL_ERROR, none, 1, "nor this");
    assert_string_equal(heard(SYSLOG), "");
}

static void check_syslog(enum log_level level, int priority)
{
    log_message(level, "cut %d\nlinks", 3);
    assert_syslog(priority, "vm=vm1 op=prepare cut 3\\x0alinks");
}

static void test_syslog(void **state)
{
    (void)state;

    log_open_hook("vm1", "prepare");
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
    assert_string_equal(heard(SYSLOG), "");
}

static void test_names_stay_on_one_line(void **state)
{
    (void)state;

    log_open_hook("vm\n%s\\", "\x1bop");
    log_message(LOG_LEVEL_NOTICE, "fine");
    assert_syslog(LOG_NOTICE, "vm=vm\\x0a%s\\x5c op=\\x1bop fine");
}

static void test_longest_name(void **state)
{
    char name[256];
    (void)state;

    memset(name, '\n', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    log_open_hook(name, "start");
    log_message(LOG_LEVEL_NOTICE, "fine");
    const char *text = strstr(heard(SYSLOG), "vm=");
    assert_int_equal(strlen(text), 3 + 4 * 255 + 1 + 8 + 1 + 4);
    assert_string_equal(text + 3 + 4 * 255, " op=start fine");
}

/* The native protocol: a line a field, a value with a line break after its length. */
static void test_an_event_in_the_journal(void **state)
{
    static const char length[8] = {3, 0, 0, 0, 0, 0, 0, 0};
    const struct log_field fields[] = {{"ICN_VM_NAME", "a\nb"}, {"ICN_CARDS", NULL}, {"ICN_LINKS_CUT", "0/3:6"}};
    char expected[500];
    char got[500];
    (void)state;

    listen_at(JOURNAL, "/run/systemd/journal/socket");
    log_open_hook("vm1", "prepare");
    log_event(EVENT_CARDS_GIVEN, LOG_LEVEL_NOTICE, fields, 3, "isolated\nnow");
    int used = snprintf(expected, sizeof(expected),
                        "MESSAGE=vm=vm1 op=prepare isolated\\x0anow\nPRIORITY=5\nSYSLOG_FACILITY=3\n"
                        "SYSLOG_IDENTIFIER=icn-hook\nMESSAGE_ID=0d985993ea894838a94d5c15613bb004\n"
                        "ICN_OPERATION=prepare\nICN_DURATION_USEC=0000000\nICN_VM_NAME\n");
    memcpy(expected + used, length, sizeof(length));
    snprintf(expected + used + 8, sizeof(expected) - (size_t)used - 8, "a\nb\nICN_LINKS_CUT=0/3:6\n");
    size_t size = (size_t)used + 8 + strlen("a\nb\nICN_LINKS_CUT=0/3:6\n");
    /* The duration is any number, and less than a second. */
    const char *event = heard(JOURNAL);
    const char *number = strstr(event, "USEC=") + strlen("USEC=");
    size_t digits = strspn(number, "0123456789");
    size_t before = (size_t)(number - event);
    assert_in_range(digits, 1, 6);
    memcpy(got, event, before);
    memset(got + before, '0', 7);
    memcpy(got + before + 7, number + digits, size + 1 - before - 7);
    assert_memory_equal(got, expected, size + 1);
    assert_string_equal(heard(SYSLOG), "");
    close(listeners[JOURNAL]);
}

/* What no datagram can carry comes as a sealed file. */
static void test_a_large_event_is_a_file(void **state)
{
    enum { LARGE = 4 << 20 };
    char *large = malloc(LARGE + 1);
    char *content = malloc(LARGE + 1000);
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    struct msghdr message = {.msg_control = &control, .msg_controllen = sizeof(control)};
    const struct log_field fields[] = {{"ICN_LINKS_CUT", large}};
    size_t used = 0;
    int fd;
    (void)state;

    memset(large, 'x', LARGE);
    large[LARGE] = '\0';
    listen_at(JOURNAL, "/run/systemd/journal/socket");
    log_open_verb("reset");
    log_event(EVENT_RESET, LOG_LEVEL_NOTICE, fields, 1, "all");
    assert_int_equal(recvmsg(listeners[JOURNAL], &message, MSG_CMSG_CLOEXEC), 0);
    assert_int_equal(control.header.cmsg_type, SCM_RIGHTS);
    memcpy(&fd, CMSG_DATA(&control.header), sizeof(fd));
    assert_int_equal(fcntl(fd, F_GET_SEALS), F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL);
    for (ssize_t got; (got = pread(fd, content + used, LARGE + 1000 - used, (off_t)used)) > 0; used += (size_t)got) {
    }
    assert_memory_equal(content, "MESSAGE=verb=reset all\n", 23);
    assert_true(used > LARGE);
    assert_memory_equal(content + used - LARGE - 1, large, LARGE);
    assert_int_equal(content[used - 1], '\n');
    close(fd);
    close(listeners[JOURNAL]);
    free(large);
    free(content);
}

/* Every event has an id of its own, of 128 bits. */
static void test_ids(void **state)
{
    (void)state;
    for (enum log_event event = 0; event < EVENT_COUNT; event++) {
        assert_int_equal(strspn(log_event_id(event), "0123456789abcdef"), 32);
        assert_int_equal(strlen(log_event_id(event)), 32);
        for (enum log_event other = 0; other < event; other++) {
            assert_string_not_equal(log_event_id(event), log_event_id(other));
        }
    }
}

static void test_simulated_host_has_its_own_log(void **state)
{
    char content[1000];
    char expected[300];
    (void)state;

    make_log_directory();
    log_open_hook("vm1", "release");
    log_message(LOG_LEVEL_NOTICE, "restored\t%d", 2);
    log_message(LOG_LEVEL_WARNING, "again");
    directory_read(directory, "var/log/icn-hook.log", content, sizeof(content));
    snprintf(expected, sizeof(expected),
             "icn-hook[%ld]: vm=vm1 op=release restored\\x092\nicn-hook[%ld]: vm=vm1 op=release again\n",
             (long)getpid(), (long)getpid());
    assert_string_equal(content, expected);
}

static void test_simulated_host_without_log_directory(void **state)
{
    char path[300];
    (void)state;

    log_open_hook("vm1", "release");
    log_message(LOG_LEVEL_NOTICE, "unheard");
    snprintf(path, sizeof(path), "%s/var", directory);
    assert_int_equal(access(path, F_OK), -1);
}

static void test_simulated_log_that_cannot_be_written(void **state)
{
    char link[300];
    (void)state;

    make_log_directory();
    snprintf(link, sizeof(link), "%s/var/log/icn-hook.log", directory);
    assert_int_equal(symlink("/dev/full", link), 0);
    log_open_hook("vm1", "release");
    log_message(LOG_LEVEL_NOTICE, "unheard");
    assert_syslog(LOG_NOTICE, "vm=vm1 op=release unheard");
}

/* A verb has one line, and with -v it is shown as well. */
static void say_as_a_verb(void)
{
    log_open_verbose();
    log_open_verb("apply");
    log_message(LOG_LEVEL_NOTICE, "red");
    exit(strstr(heard(SYSLOG), ": verb=apply red") ? 0 : 1);
}

static void test_verb(void **state)
{
    char output[200];
    (void)state;

    log_open_verb("apply");
    log_message(LOG_LEVEL_INFO, "looked at");
    assert_string_equal(heard(SYSLOG), "");
    log_message(LOG_LEVEL_ERROR, "no such card");
    assert_syslog(LOG_ERR, "verb=apply no such card");
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
        CASE(test_an_event_in_the_journal),
        CASE(test_a_large_event_is_a_file),
        CASE(test_ids),
        CASE(test_simulated_host_has_its_own_log),
        CASE(test_simulated_host_without_log_directory),
        CASE(test_simulated_log_that_cannot_be_written),
        CASE(test_verb),
        CASE(test_verbose),
    };
    return cmocka_run_group_tests_name("base/log", tests, NULL, NULL);
}
