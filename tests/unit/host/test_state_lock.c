/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "child.h"
#include "host/state.h"
#include "state_fixture.h"
#include "simulated_host.h"

#define BUSY "another icn-hook holds %s and did not end in time; try again, or find it with lslocks"

/* Never before the deadline, and soon after it, if the machine lets us run. */
static void test_lock_has_a_deadline(void **unused)
{
    enum { WAIT_MS = 150, LATE_MS = 100, TRIES = 10 };
    struct state other;
    struct error err;
    int64_t late = INT64_MAX;

    (void)unused;
    struct state state = open_state(STATE_CHANGE);
    assert_refused(STATUS_BUSY, BUSY, LOCK);
    for (int i = 0; late > LATE_MS && i < TRIES; i++) {
        int64_t begin = deadline_after_ms(0);
        enum state_access access = i % 2 == 0 ? STATE_CHANGE : STATE_LOOK;
        assert_int_equal(state_open(&other, access, deadline_after_ms(WAIT_MS), &err), -1);
        late = deadline_after_ms(0) - begin - WAIT_MS;
        assert_text(&err, STATUS_BUSY, BUSY, LOCK);
        assert_in_range(late, 0, 2000);
    }
    assert_in_range(late, 0, LATE_MS);
    state_close(&state);
}

static volatile sig_atomic_t alarms;

static void count_alarm(int number)
{
    (void)number;
    alarms++;
}

/* Fails to open within MILLISECONDS. */
static void wait_in_vain(int64_t milliseconds)
{
    struct state other;
    struct error err;
    assert_int_equal(state_open(&other, STATE_CHANGE, deadline_after_ms(milliseconds), &err), -1);
    assert_int_equal(err.status, STATUS_BUSY);
}

static void test_the_wait_gives_back_what_it_takes(void **unused)
{
    const struct sigaction mine = {.sa_handler = count_alarm};
    struct sigaction now;
    struct sigaction before;
    struct itimerval timer = {.it_value = {.tv_sec = 100}, .it_interval = {.tv_sec = 7}};
    const struct itimerval off = {0};
    sigset_t only;
    sigset_t mask;

    (void)unused;
    struct state state = open_state(STATE_CHANGE);
    alarms = 0;
    sigemptyset(&only);
    sigaddset(&only, SIGALRM);
    assert_int_equal(sigaction(SIGALRM, &mine, &before), 0);
    assert_int_equal(sigprocmask(SIG_BLOCK, &only, NULL), 0);
    assert_int_equal(setitimer(ITIMER_REAL, &timer, NULL), 0);
    wait_in_vain(50); /* although it was blocked */
    assert_int_equal(sigaction(SIGALRM, NULL, &now), 0);
    assert_ptr_equal(now.sa_handler, count_alarm);
    assert_int_equal(sigprocmask(SIG_UNBLOCK, &only, &mask), 0);
    assert_true(sigismember(&mask, SIGALRM));
    assert_int_equal(getitimer(ITIMER_REAL, &timer), 0);
    assert_in_range(timer.it_value.tv_sec, 60, 99);
    assert_int_equal(timer.it_interval.tv_sec, 7);
    assert_int_equal(alarms, 0);

    /* One that would have gone off meanwhile does so now. */
    timer = (struct itimerval){.it_value = {.tv_usec = 10000}};
    assert_int_equal(setitimer(ITIMER_REAL, &timer, NULL), 0);
    wait_in_vain(50);
    for (int i = 0; alarms == 0 && i < 1000; i++) {
        usleep(1000);
    }
    assert_int_equal(alarms, 1);
    assert_int_equal(setitimer(ITIMER_REAL, &off, NULL), 0);
    assert_int_equal(sigaction(SIGALRM, &before, NULL), 0);
    state_close(&state);
}

/* What was read stays, and the lock is free although a child has the open file too. */
static void test_unlock(void **unused)
{
    (void)unused;
    struct state state = open_state(STATE_CHANGE);
    write_claim(&state, VM_A, "a");
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        sleep(60);
        child_exit(0);
    }
    state_unlock(&state);
    assert_int_equal(state.lockfd, -1);
    struct state other = open_state(STATE_CHANGE);
    state_close(&other);
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_string_equal(state_claim(&state, VM_A)->name, "a");
    state_unlock(&state);
    state_close(&state);
}

static void test_lookers_share(void **unused)
{
    (void)unused;
    struct state state = open_state(STATE_CHANGE);
    state_close(&state);
    struct state first = open_state(STATE_LOOK);
    struct state second = open_state(STATE_LOOK);
    assert_refused_as(STATE_CHANGE, STATUS_BUSY, BUSY, LOCK);
    state_close(&first);
    assert_refused_as(STATE_CHANGE, STATUS_BUSY, BUSY, LOCK);
    state_close(&second);
    state = open_state(STATE_CHANGE);
    state_close(&state);
}

/* A child that holds the lock until it is killed. */
static pid_t start_holder(void)
{
    int ready[2];
    char byte;
    assert_int_equal(pipe(ready), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct state state = open_state(STATE_CHANGE);
        if (write(ready[1], "", 1) == 1) {
            sleep(60);
        }
        state_close(&state);
        child_exit(1);
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    close(ready[1]);
    return pid;
}

static void test_a_killed_holder_holds_no_more(void **unused)
{
    (void)unused;
    pid_t holder = start_holder();
    assert_refused(STATUS_BUSY, BUSY, LOCK);
    kill(holder, SIGKILL);
    struct state state = open_state(STATE_CHANGE);
    state_close(&state);
    assert_int_equal(waitpid(holder, NULL, 0), holder);
}

/* Waits for the lock in a child, which tells the inode that it locked.  The
 * child must not keep HELD open, or it would wait for itself. */
static pid_t start_waiter(enum state_access access, struct state *held, int *answer)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct state state;
        struct error err;
        struct stat facts;
        state_close(held);
        if (state_open(&state, access, deadline_after_ms(10000), &err) == 0 &&
            fstat(state.lockfd == -1 ? state.dirfd : state.lockfd, &facts) == 0 &&
            write(ends[1], &facts.st_ino, sizeof facts.st_ino) == sizeof facts.st_ino) {
            state_close(&state);
            child_exit(0);
        }
        child_exit(1);
    }
    close(ends[1]);
    *answer = ends[0];
    return pid;
}

static ino_t end_waiter(pid_t pid, int answer)
{
    ino_t inode;
    assert_int_equal(read(answer, &inode, sizeof inode), sizeof inode);
    close(answer);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    return inode;
}

static ino_t inode_of(const char *path)
{
    struct stat facts;
    assert_int_equal(lstat(simulated_path("%s", path), &facts), 0);
    return facts.st_ino;
}

/* Who waited for a lock file that is not there any more locks the present one. */
static void test_lock_or_directory_replaced_meanwhile(void **unused)
{
    int answer;

    (void)unused;
    struct state state = open_state(STATE_CHANGE);
    pid_t waiter = start_waiter(STATE_CHANGE, &state, &answer);
    usleep(50000);
    assert_int_equal(rename(simulated_path(RUN), simulated_path("/run/moved")), 0);
    state_close(&state);
    ino_t inode = end_waiter(waiter, answer);
    assert_int_equal(inode, inode_of(LOCK));
    assert_int_not_equal(inode, inode_of("/run/moved/lock"));

    state = open_state(STATE_CHANGE);
    waiter = start_waiter(STATE_CHANGE, &state, &answer);
    usleep(50000);
    assert_int_equal(rename(simulated_path(LOCK), simulated_path("/moved")), 0);
    state_close(&state);
    inode = end_waiter(waiter, answer);
    assert_int_equal(inode, inode_of(LOCK));
    assert_int_not_equal(inode, inode_of("/moved"));

    state = open_state(STATE_CHANGE);
    waiter = start_waiter(STATE_LOOK, &state, &answer);
    usleep(50000);
    assert_int_equal(rename(simulated_path(RUN), simulated_path("/run/moved2")), 0);
    assert_int_equal(mkdir(simulated_path(RUN), 0700), 0);
    state_close(&state);
    assert_int_equal(end_waiter(waiter, answer), inode_of(RUN));
}

enum { QUEUE = 64, HOLD_US = 2000 };

/* How many wait for the lock, as far as the kernel shows it. */
static int count_waiting(ino_t inode)
{
    char line[256];
    char ending[32];
    int count = 0;
    FILE *locks = fopen("/proc/locks", "re");
    snprintf(ending, sizeof ending, ":%lu 0 EOF\n", (unsigned long)inode);
    while (locks && fgets(line, sizeof line, locks)) {
        count += strstr(line, "-> FLOCK") && strstr(line, ending);
    }
    if (locks) {
        fclose(locks);
    }
    return count;
}

/* Until COUNT wait, or for as long as that should take. */
static void await_waiting(ino_t inode, int count)
{
    for (int i = 0; count_waiting(inode) < count && i < 50; i++) {
        usleep(2000);
    }
}

struct turn {
    int number;
    int64_t at; /* monotonic ms */
};

static void on_signal(int number)
{
    (void)number;
}

/* Waits for its turn, holds the lock and reports. */
static _Noreturn void take_turn(int number, struct state *held, int answer)
{
    const struct sigaction action = {.sa_handler = on_signal};
    struct state state;
    struct error err;
    struct turn turn = {.number = number};
    state_close(held);
    sigaction(SIGUSR1, &action, NULL);
    if (state_open(&state, STATE_CHANGE, deadline_after_ms(60000), &err) < 0) {
        child_exit(1);
    }
    turn.at = deadline_after_ms(0);
    usleep(HOLD_US);
    ssize_t written = write(answer, &turn, sizeof turn);
    state_close(&state);
    child_exit(written == sizeof turn ? 0 : 1);
}

/* Many wait and are served in the order in which they came, so none waits much longer than
 * the others.  Alarms do not take them out of the queue. */
static void test_waiters_are_served_in_order(void **unused)
{
    pid_t waiters[QUEUE];
    int answer[2];
    int64_t sum = 0;
    int64_t longest = 0;
    int overtaken = 0;

    (void)unused;
    struct state state = open_state(STATE_CHANGE);
    ino_t inode = inode_of(LOCK);
    assert_int_equal(pipe(answer), 0);
    for (int i = 0; i < QUEUE; i++) {
        waiters[i] = fork();
        assert_true(waiters[i] >= 0);
        if (waiters[i] == 0) {
            take_turn(i, &state, answer[1]);
        }
        await_waiting(inode, i + 1);
    }
    int64_t begin = deadline_after_ms(0);
    state_close(&state);
    for (int i = 0; i < QUEUE; i++) {
        struct turn turn;
        assert_int_equal(read(answer[0], &turn, sizeof turn), sizeof turn);
        overtaken += turn.number != i;
        sum += turn.at - begin;
        longest = turn.at - begin > longest ? turn.at - begin : longest;
    }
    for (int i = 0; i < QUEUE; i++) {
        int status = -1;
        assert_int_equal(waitpid(waiters[i], &status, 0), waiters[i]);
        assert_int_equal(status, 0);
    }
    close(answer[0]);
    close(answer[1]);
    assert_int_equal(overtaken, 0);
    assert_true(longest * QUEUE <= 3 * sum);
}

/* Any other signal ends neither the wait nor the program. */
static void test_a_signal_does_not_end_the_wait(void **unused)
{
    int answer[2];
    struct turn turn;
    int status = -1;

    (void)unused;
    struct state state = open_state(STATE_CHANGE);
    assert_int_equal(pipe(answer), 0);
    pid_t waiter = fork();
    assert_true(waiter >= 0);
    if (waiter == 0) {
        take_turn(7, &state, answer[1]);
    }
    await_waiting(inode_of(LOCK), 1);
    for (int i = 0; i < 5; i++) {
        kill(waiter, SIGUSR1);
        usleep(2000);
    }
    state_close(&state);
    assert_int_equal(read(answer[0], &turn, sizeof turn), sizeof turn);
    assert_int_equal(turn.number, 7);
    assert_int_equal(waitpid(waiter, &status, 0), waiter);
    assert_int_equal(status, 0);
    close(answer[0]);
    close(answer[1]);
}

enum { WRITERS = 4, ROUNDS = 40 };

/* Reads a number from the state and writes it back one higher. */
static int count_up(void)
{
    struct error err;
    for (int round = 0; round < ROUNDS; round++) {
        struct state state;
        if (state_open(&state, STATE_CHANGE, deadline_after_ms(20000), &err) < 0 || state.claim_count != 1 ||
            state.fault_count != 0) {
            return 1;
        }
        state.claims[0].since++;
        if (state_write_claim(&state, &state.claims[0], &err) < 0) {
            return 1;
        }
        state_close(&state);
    }
    return 0;
}

static void test_no_update_is_lost(void **unused)
{
    pid_t writers[WRITERS];

    (void)unused;
    make_claim(VM_A, "a");
    for (int i = 0; i < WRITERS; i++) {
        writers[i] = fork();
        assert_true(writers[i] >= 0);
        if (writers[i] == 0) {
            child_exit(count_up());
        }
    }
    for (int i = 0; i < WRITERS; i++) {
        int status;
        assert_int_equal(waitpid(writers[i], &status, 0), writers[i]);
        assert_int_equal(status, 0);
    }
    struct state state = open_state(STATE_LOOK);
    assert_int_equal(state.claims[0].since, WRITERS * ROUNDS);
    state_close(&state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_lock_has_a_deadline, start_host),
        cmocka_unit_test_setup(test_the_wait_gives_back_what_it_takes, start_host),
        cmocka_unit_test_setup(test_unlock, start_host),
        cmocka_unit_test_setup(test_lookers_share, start_host),
        cmocka_unit_test_setup(test_a_killed_holder_holds_no_more, start_host),
        cmocka_unit_test_setup(test_lock_or_directory_replaced_meanwhile, start_host),
        cmocka_unit_test_setup(test_waiters_are_served_in_order, start_host),
        cmocka_unit_test_setup(test_a_signal_does_not_end_the_wait, start_host),
        cmocka_unit_test_setup(test_no_update_is_lost, start_host),
    };
    return cmocka_run_group_tests(tests, simulated_host_start, simulated_host_stop);
}
