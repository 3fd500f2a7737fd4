/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Does libvirt call us?  Facts (src/util/virhook.c of libvirt 9 to 11): a daemon
 * looks for hook files when it starts and when it is reloaded, and remembers only
 * that there is one.  At each call the files are looked at again: one that is not
 * executable by then is skipped without a word, and the VM starts.  The main hook
 * is hooks/qemu, after it every executable file of hooks/qemu.d.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/paths.h"
#include "doctor/checks.h"
#include "doctor/facts.h"

#define MAIN_HOOK "/etc/libvirt/hooks/qemu"
#define MORE_HOOKS "/etc/libvirt/hooks/qemu.d"
#define LOCAL_PROFILE "/etc/apparmor.d/local/usr.sbin.libvirtd"

enum { PROGRAM_LIMIT = 64 << 20, HOOK_PATH_SIZE = 512 };

static const char our_name[] = "icn-hook";

struct hook_file {
    char path[HOOK_PATH_SIZE]; /* on the host; "" = there is none of ours */
    struct stat facts;
    char engine[HOOK_PATH_SIZE]; /* which program it starts; "" = not known */
    int count;                   /* how many there are of ours */
    bool other_main;             /* hooks/qemu is another program */
    bool is_hidden;              /* only root can look */
};

/* The hook program holds the engine's path as a whole text. */
static void find_engine(const struct buffer *program, char engine[HOOK_PATH_SIZE])
{
    const char *from = program->data;
    const char *end = program->data + program->length;
    const char *found;
    while ((found = memmem(from, (size_t)(end - from), "/icn-hook", strlen("/icn-hook") + 1))) {
        const char *start = found;
        while (start > program->data && start[-1] > ' ' && start[-1] < 0x7f) {
            start--;
        }
        if (start[0] == '/' && strcmp(start, PATH_STATE) != 0 && strlen(start) < HOOK_PATH_SIZE) {
            snprintf(engine, HOOK_PATH_SIZE, "%s", start);
            return;
        }
        from = found + 1;
    }
}

/* Ours, or a script that calls us: it names us. */
static void look_at(struct hook_file *hook, const char *path)
{
    CLEANUP_FREE char *resolved = paths_resolve("%s", path);
    struct buffer program = {0};
    struct error unused;
    struct stat facts;
    if (stat(resolved, &facts) < 0) {
        hook->is_hidden |= errno == EACCES;
        return;
    }
    if (file_read(resolved, PROGRAM_LIMIT, &program, NULL, &unused) < 0) {
        hook->is_hidden = true;
        return;
    }
    if (!memmem(program.data, program.length, our_name, strlen(our_name))) {
        hook->other_main |= strcmp(path, MAIN_HOOK) == 0;
    } else if (hook->count++ == 0) {
        snprintf(hook->path, sizeof hook->path, "%s", path);
        hook->facts = facts;
        find_engine(&program, hook->engine);
    }
    buffer_free(&program);
}

static bool is_executable(const struct hook_file *hook)
{
    return S_ISREG(hook->facts.st_mode) && (hook->facts.st_mode & 0111) != 0;
}

static void check_mode(struct report *report, const struct hook_file *hook)
{
    enum { EVERYBODY = 0555 };
    char remedy[2 * HOOK_PATH_SIZE + 64];
    snprintf(remedy, sizeof remedy, "chmod 0755 %s", hook->path);
    if (!is_executable(hook)) {
        report_add(report, CHECK_HOOK_EXECUTABLE, RESULT_FAIL, remedy,
                   "not executable: libvirt skips it and starts VMs with all links open");
    } else if ((hook->facts.st_mode & EVERYBODY) != EVERYBODY) {
        report_add(report, CHECK_HOOK_EXECUTABLE, RESULT_WARN, remedy,
                   "not executable by everybody: no VM of qemu:///session can start");
    } else {
        report_pass(report, CHECK_HOOK_EXECUTABLE, "executable");
    }
    if (fact_is_safe(hook->path)) {
        report_pass(report, CHECK_HOOK_PROTECTED, "only root can change it");
    } else {
        snprintf(remedy, sizeof remedy, "chown root: %s; chmod 0755 %s", hook->path, hook->path);
        report_add(report, CHECK_HOOK_PROTECTED, RESULT_FAIL, remedy, "users other than root can change it");
    }
}

static void check_engine(struct report *report, const struct hook_file *hook)
{
    const char *named = getenv("ICN_ENGINE");
    bool is_named = paths_simulated() && named && named[0];
    CLEANUP_FREE char *engine = is_named ? memory_copy_text(named) : paths_resolve("%s", hook->engine);
    if (hook->engine[0] == '\0') {
        return;
    }
    if (access(engine, X_OK) < 0) {
        report_add(report, CHECK_HOOK_ENGINE, RESULT_FAIL, "reinstall icn-hook; until then VMs with cards cannot start",
                   "%s, which it starts, cannot be executed", is_named ? named : hook->engine);
    } else if (!security_lets_hook_run(hook->engine)) {
        char remedy[2 * HOOK_PATH_SIZE];
        snprintf(remedy, sizeof remedy, "add the line `%s PUx,` to " LOCAL_PROFILE ", and reload the profile",
                 hook->engine);
        report_add(report, CHECK_HOOK_ENGINE, RESULT_FAIL, remedy,
                   "libvirtd's AppArmor profile does not let it start %s", hook->engine);
    } else {
        report_pass(report, CHECK_HOOK_ENGINE, "the program that it starts can be executed");
    }
}

enum knowledge { KNOWN_BY_CALL, KNOWN_BY_AGE, KNOWN_UNTIL_CHANGED, KNOWN_NO_TIME };

/* Whether a daemon was reloaded nobody tells afterwards; so of a hook that is newer than its daemon nothing is
 * known.  SESSION is NULL if the state could not be looked at. */
static enum knowledge judge_known(const struct session *session, const struct hook_file *hook,
                                  const struct daemon *daemon)
{
    /* A claim names the daemon whose hook made it. */
    for (size_t i = 0; session && i < session->state.claim_count; i++) {
        const struct claim *claim = &session->state.claims[i];
        if (claim->has_daemon && claim->daemon.pid == daemon->pid && claim->daemon.start == daemon->ticks) {
            return KNOWN_BY_CALL;
        }
    }
    if (daemon->started < 0) {
        return KNOWN_NO_TIME;
    }
    return hook->facts.st_ctim.tv_sec > daemon->started ? KNOWN_UNTIL_CHANGED : KNOWN_BY_AGE;
}

static void check_known(struct examination *examination, const struct hook_file *hook, const struct daemon *daemon)
{
    struct report *report = &examination->report;
    char remedy[128];
    snprintf(remedy, sizeof remedy, "systemctl reload %s, unless that was done since", daemon->name);
    switch (judge_known(examination->is_looked_at ? &examination->session : NULL, hook, daemon)) {
    case KNOWN_BY_CALL:
        report_pass(report, CHECK_HOOK_KNOWN, "%s (pid %ld) has called it", daemon->name, (long)daemon->pid);
        break;
    case KNOWN_NO_TIME:
        report_add(report, CHECK_HOOK_KNOWN, RESULT_WARN, remedy, "when %s (pid %ld) looked for hooks is not known",
                   daemon->name, (long)daemon->pid);
        break;
    case KNOWN_UNTIL_CHANGED:
        report_add(report, CHECK_HOOK_KNOWN, RESULT_WARN, remedy,
                   "changed after %s (pid %ld) started, which may not know of it", daemon->name, (long)daemon->pid);
        break;
    case KNOWN_BY_AGE:
        report_pass(report, CHECK_HOOK_KNOWN, "older than %s (pid %ld), which knows of it", daemon->name,
                    (long)daemon->pid);
        break;
    }
}

static void find_hook(struct hook_file *hook)
{
    CLEANUP_FREE char *more = paths_resolve(MORE_HOOKS);
    struct dirent **names = NULL;
    look_at(hook, MAIN_HOOK);
    int entries = scandir(more, &names, NULL, alphasort);
    for (int i = 0; i < entries; i++) {
        CLEANUP_FREE char *path = NULL;
        if (names[i]->d_name[0] != '.' && asprintf(&path, "%s/%s", MORE_HOOKS, names[i]->d_name) > 0) {
            look_at(hook, path);
        }
        free(names[i]);
    }
    free(names);
}

bool doctor_finds_hook(void)
{
    struct hook_file hook = {0};
    find_hook(&hook);
    return hook.path[0] != '\0' || hook.is_hidden;
}

struct hook_answers doctor_ask_about_hook(const struct session *session)
{
    struct hook_answers answers = {.is_installed = ANSWER_NO, .is_known = ANSWER_NOT_TOLD};
    struct hook_file hook = {0};
    struct daemon daemons[DAEMON_MAX];
    find_hook(&hook);
    if (hook.path[0] == '\0') {
        answers.is_installed = hook.is_hidden ? ANSWER_NOT_TOLD : ANSWER_NO;
        return answers;
    }
    answers.is_installed = is_executable(&hook) ? ANSWER_YES : ANSWER_NO;
    int count = daemon_find(daemons);
    int known = 0;
    bool is_newer = false;
    for (int i = 0; i < count; i++) {
        enum knowledge knowledge = judge_known(session, &hook, &daemons[i]);
        known += knowledge == KNOWN_BY_CALL || knowledge == KNOWN_BY_AGE;
        is_newer |= knowledge == KNOWN_UNTIL_CHANGED;
    }
    if (is_newer) {
        answers.is_known = ANSWER_NO;
    } else if (count > 0 && known == count) {
        answers.is_known = ANSWER_YES;
    }
    return answers;
}

void check_hook(struct examination *examination)
{
    struct report *report = &examination->report;
    struct hook_file hook = {0};
    find_hook(&hook);
    if (hook.path[0] == '\0') {
        if (hook.is_hidden) {
            report_add(report, CHECK_HOOK_INSTALLED, RESULT_WARN, NEEDS_ROOT, "installed at " MAIN_HOOK " or not");
        } else if (hook.other_main) {
            report_add(report, CHECK_HOOK_INSTALLED, RESULT_FAIL,
                       "put icn-hook's hook program into " MORE_HOOKS ", or call it from there",
                       MAIN_HOOK " is another program, and ours is not in qemu.d");
        } else {
            report_add(report, CHECK_HOOK_INSTALLED, RESULT_FAIL,
                       "install icn-hook; until then VMs start with all links open", "not installed at " MAIN_HOOK);
        }
        return;
    }
    report_pass(report, CHECK_HOOK_INSTALLED, "installed at %s", hook.path);
    if (hook.count > 1) {
        report_add(report, CHECK_HOOK_ONCE, RESULT_WARN, "remove all but one",
                   "%d hooks in " MAIN_HOOK "* call icn-hook", hook.count);
    }
    check_mode(report, &hook);
    check_engine(report, &hook);
    struct daemon daemons[DAEMON_MAX];
    int count = daemon_find(daemons);
    for (int i = 0; i < count; i++) {
        check_known(examination, &hook, &daemons[i]);
    }
    if (count == 0) {
        report_add(report, CHECK_HOOK_KNOWN, RESULT_WARN, "start libvirt",
                   "neither libvirtd nor virtqemud is running; they will find it when they start");
    }
}
