/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "state_fixture.h"

#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "child.h"
#include "simulated_host.h"

int start_host(void **unused)
{
    simulated_host_clear(unused);
    simulated_directory("/run");
    simulated_text(BOOT_ID, BOOT "\n");
    return 0;
}

struct state open_state(enum state_access access)
{
    struct state state;
    struct error err = {0};
    memset(&state, 0xaa, sizeof state);
    if (state_open(&state, access, deadline_after_ms(1000), &err) < 0) {
        fail_msg("%s", err.text);
    }
    return state;
}

void write_claim(struct state *state, const char *uuid, const char *name)
{
    struct error err = {0};
    struct claim *claim = state_claim_add(state, uuid, name);
    claim_add_card(claim, (struct bdf){.bus = 8}, true);
    if (state_write_claim(state, claim, &err) < 0) {
        fail_msg("%s", err.text);
    }
}

void make_claim(const char *uuid, const char *name)
{
    struct state state = open_state(STATE_CHANGE);
    write_claim(&state, uuid, name);
    state_close(&state);
}

bool exists(const char *path)
{
    struct stat facts;
    return lstat(simulated_path("%s", path), &facts) == 0;
}

unsigned int mode_of(const char *path)
{
    struct stat facts;
    assert_int_equal(lstat(simulated_path("%s", path), &facts), 0);
    return facts.st_mode & 07777;
}

void assert_text(const struct error *err, enum status status, const char *format, const char *path)
{
    char expected[2048];
    const char *hole = strstr(format, "%s");
    snprintf(expected, sizeof expected, "%.*s%s%s", (int)(hole - format), format, simulated_path("%s", path), hole + 2);
    assert_string_equal(err->text, expected);
    assert_int_equal(err->status, status);
}

void assert_refused_as(enum state_access access, enum status status, const char *format, const char *path)
{
    struct state state = {.dirfd = 77, .lockfd = 78};
    struct error err = {0};
    assert_int_equal(state_open(&state, access, deadline_after_ms(0), &err), -1);
    assert_text(&err, status, format, path);
    assert_int_equal(state.dirfd, 77);
    assert_int_equal(state.lockfd, 78);
}

void assert_refused(enum status status, const char *format, const char *path)
{
    assert_refused_as(STATE_LOOK, status, format, path);
    assert_refused_as(STATE_CHANGE, status, format, path);
}

static int open_and_close(enum state_access access, struct error *err)
{
    struct state state;
    if (state_open(&state, access, deadline_after_ms(0), err) < 0) {
        return -1;
    }
    state_close(&state);
    return 0;
}

int look(struct error *err)
{
    return open_and_close(STATE_LOOK, err);
}

int change(struct error *err)
{
    return open_and_close(STATE_CHANGE, err);
}

struct error error_in_child(int (*prepare)(void), int (*attempt)(struct error *err))
{
    int answer[2];
    struct error err = {.text = "the child said nothing"};

    assert_int_equal(pipe(answer), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        if (prepare() != 0) {
            error_set(&err, STATUS_USAGE, "the test could not prepare its child");
        } else if (attempt(&err) == 0) {
            error_set(&err, STATUS_OK, "it succeeded");
        }
        child_exit(write(answer[1], &err, sizeof err) == sizeof err ? 0 : 1);
    }
    close(answer[1]);
    assert_int_equal(read(answer[0], &err, sizeof err), sizeof err);
    close(answer[0]);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    return err;
}

int leave_mounts(void)
{
    return unshare(CLONE_NEWNS) == 0 && mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) == 0 ? 0 : -1;
}

bool can_leave_mounts(void)
{
    int status = -1;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        child_exit(leave_mounts() == 0 ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status == 0;
}

void assert_fault(const char *name, enum state_fault_kind kind, const char *uuid, enum status status,
                  const char *format)
{
    char path[512];
    make_claim(VM_B, "b");
    struct state state = open_state(STATE_LOOK);
    assert_int_equal(state.claim_count, 1);
    assert_string_equal(state.claims[0].uuid, VM_B);
    assert_int_equal(state.fault_count, 1);
    assert_int_equal(state.faults[0].kind, kind);
    assert_string_equal(state.faults[0].uuid, uuid);
    assert_int_equal(state.faults[0].is_damaged, status == STATUS_INVALID);
    assert_in_range(state.faults[0].age_ms, 0, 60000);
    snprintf(path, sizeof path, RUN "/%s", name);
    assert_text(&state.faults[0].error, status, format, path);
    state_close(&state);
    simulated_remove(path);
}
