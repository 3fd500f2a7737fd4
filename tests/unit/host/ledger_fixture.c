/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "ledger_fixture.h"

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

int start_host(void **state)
{
    simulated_host_clear(state);
    simulated_directory("/run");
    simulated_text(BOOT_ID, BOOT "\n");
    return 0;
}

struct ledger open_ledger(enum ledger_access access)
{
    struct ledger ledger;
    struct error err = {0};
    if (ledger_open(&ledger, access, deadline_after_ms(1000), &err) < 0) {
        fail_msg("%s", err.text);
    }
    return ledger;
}

void write_entry(const struct ledger *ledger, const char *uuid, const char *name)
{
    struct ledger_card card = {.bdf = {.bus = 0x08}, .ppu = 2, .owned = true};
    struct ledger_entry entry = {.name = strdup(name), .cards = &card, .card_count = 1};
    struct error err = {0};
    snprintf(entry.uuid, sizeof entry.uuid, "%s", uuid);
    if (ledger_write(ledger, &entry, &err) < 0) {
        fail_msg("%s", err.text);
    }
    free(entry.name);
}

struct ledger_content read_ledger(const struct ledger *ledger)
{
    struct ledger_content content;
    struct error err = {0};
    memset(&content, 0xaa, sizeof content);
    assert_int_equal(ledger_read(ledger, &content, &err), 0);
    return content;
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

void assert_refused_as(enum ledger_access access, enum status status, const char *format, const char *path)
{
    struct ledger ledger = {.dirfd = 77, .lockfd = 78};
    struct error err = {0};
    assert_int_equal(ledger_open(&ledger, access, deadline_after_ms(0), &err), -1);
    assert_text(&err, status, format, path);
    assert_int_equal(ledger.dirfd, 77);
    assert_int_equal(ledger.lockfd, 78);
}

void assert_refused(enum status status, const char *format, const char *path)
{
    assert_refused_as(LEDGER_LOOK, status, format, path);
    assert_refused_as(LEDGER_CHANGE, status, format, path);
}

int look(struct error *err)
{
    struct ledger ledger;
    return ledger_open(&ledger, LEDGER_LOOK, deadline_after_ms(0), err);
}

int change(struct error *err)
{
    struct ledger ledger;
    return ledger_open(&ledger, LEDGER_CHANGE, deadline_after_ms(0), err);
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

void assert_fault(const char *name, const char *uuid, enum status status, const char *format)
{
    char path[512];
    struct ledger ledger = open_ledger(LEDGER_CHANGE);
    write_entry(&ledger, VM_B, "b");
    struct ledger_content content = read_ledger(&ledger);
    assert_int_equal(content.entry_count, 1);
    assert_string_equal(content.entries[0].uuid, VM_B);
    assert_int_equal(content.fault_count, 1);
    assert_string_equal(content.faults[0].uuid, uuid);
    snprintf(path, sizeof path, RUN "/%s", name);
    assert_text(&content.faults[0].error, status, format, path);
    ledger_content_free(&content);
    ledger_close(&ledger);
    simulated_remove(path);
}
