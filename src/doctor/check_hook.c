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
#include "base/text.h"
#include "doctor/checks.h"
#include "doctor/facts.h"

#define HOOKS "/etc/libvirt/hooks"
#define MAIN_HOOK HOOKS "/qemu"
#define MORE_HOOKS HOOKS "/qemu.d"

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
    if (stat(resolved, &facts) < 0 || access(resolved, R_OK) < 0) {
        hook->is_hidden |= errno == EACCES || errno == EPERM;
        return;
    }
    /* libvirt runs regular files only: what a dispatcher keeps in directories is its own. */
    if (!S_ISREG(facts.st_mode) || file_read(resolved, PROGRAM_LIMIT, &program, NULL, &unused) < 0) {
        hook->other_main |= strcmp(path, MAIN_HOOK) == 0;
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
    const char *confining = security_confining_daemon(hook->engine);
    if (access(engine, X_OK) < 0) {
        report_add(report, CHECK_HOOK_ENGINE, RESULT_FAIL, "reinstall icn-hook; until then VMs with cards cannot start",
                   "%s, which it starts, cannot be executed", is_named ? named : hook->engine);
    } else if (confining) {
        char remedy[2 * HOOK_PATH_SIZE];
        snprintf(remedy, sizeof remedy,
                 "add the line `%s PUx,` to /etc/apparmor.d/local/usr.sbin.%s, and reload the profile", hook->engine,
                 confining);
        report_add(report, CHECK_HOOK_ENGINE, RESULT_FAIL, remedy, "%s's AppArmor profile does not let it start %s",
                   confining, hook->engine);
    } else {
        report_pass(report, CHECK_HOOK_ENGINE, "the program that it starts can be executed");
    }
}

enum knowledge {
    KNOWN_BY_CALL,
    KNOWN_BY_AGE,
    KNOWN_UNTIL_CHANGED,
    KNOWN_NO_TIME,
    KNOWN_NOT_THERE,   /* it lives in a container, or in another root, without this hook or its engine */
    KNOWN_OTHER_BUILD, /* it is not a distribution's, and may have hooks below another sysconfdir */
    KNOWN_HIDDEN,      /* only root can see where it lives */
};

enum sight { SIGHT_SAME, SIGHT_OTHER, SIGHT_HIDDEN };

/* Whether the daemon finds our file at PATH.  It may have a mount namespace of its own, as any service with a sandbox,
 * and see it all the same. */
static enum sight daemon_sees(const struct daemon *daemon, const char *path)
{
    CLEANUP_FREE char *root = paths_resolve(PATH_PROC "/%ld/root", (long)daemon->pid);
    CLEANUP_FREE char *there = text_join(root, path);
    CLEANUP_FREE char *here = paths_resolve("%s", path);
    struct stat theirs;
    struct stat ours;
    if (stat(root, &theirs) < 0) {
        return errno == EACCES || errno == EPERM ? SIGHT_HIDDEN : SIGHT_SAME;
    }
    if (stat(here, &ours) < 0) {
        return SIGHT_SAME;
    }
    bool is_same = stat(there, &theirs) == 0 && theirs.st_dev == ours.st_dev && theirs.st_ino == ours.st_ino;
    return is_same ? SIGHT_SAME : SIGHT_OTHER;
}

/* Distributions have the daemon below /usr and its configuration in /etc; a build of one's own has both below its
 * prefix. */
static bool daemon_is_of_distribution(const struct daemon *daemon, char exe[HOOK_PATH_SIZE])
{
    CLEANUP_FREE char *path = paths_resolve(PATH_PROC "/%ld/exe", (long)daemon->pid);
    ssize_t length = readlink(path, exe, HOOK_PATH_SIZE - 1);
    exe[length > 0 ? length : 0] = '\0';
    bool is_local = strncmp(exe, "/usr/local/", strlen("/usr/local/")) == 0;
    return length <= 0 || (strncmp(exe, "/usr/", strlen("/usr/")) == 0 && !is_local) ||
           strncmp(exe, "/sbin/", strlen("/sbin/")) == 0 || strncmp(exe, "/bin/", strlen("/bin/")) == 0;
}

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
    char exe[HOOK_PATH_SIZE];
    enum sight sight = daemon_sees(daemon, hook->path);
    if (sight == SIGHT_SAME && hook->engine[0]) {
        sight = daemon_sees(daemon, hook->engine);
    }
    if (sight != SIGHT_SAME) {
        return sight == SIGHT_HIDDEN ? KNOWN_HIDDEN : KNOWN_NOT_THERE;
    }
    if (!daemon_is_of_distribution(daemon, exe)) {
        return KNOWN_OTHER_BUILD;
    }
    if (daemon->started < 0) {
        return KNOWN_NO_TIME;
    }
    return hook->facts.st_ctim.tv_sec > daemon->started ? KNOWN_UNTIL_CHANGED : KNOWN_BY_AGE;
}

static bool daemon_has_own_mounts(const struct daemon *daemon)
{
    char theirs[64];
    char ours[64];
    CLEANUP_FREE char *there = paths_resolve(PATH_PROC "/%ld/ns/mnt", (long)daemon->pid);
    CLEANUP_FREE char *here = paths_resolve(PATH_PROC "/self/ns/mnt");
    ssize_t length = readlink(there, theirs, sizeof theirs);
    return length > 0 && readlink(here, ours, sizeof ours) == length && memcmp(theirs, ours, (size_t)length) != 0;
}

static void check_known(struct examination *examination, const struct hook_file *hook, const struct daemon *daemon)
{
    struct report *report = &examination->report;
    char remedy[128];
    char exe[HOOK_PATH_SIZE];
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
    case KNOWN_NOT_THERE:
        report_add(report, CHECK_HOOK_KNOWN, RESULT_FAIL,
                   "install icn-hook where that daemon lives; until then its VMs start with all links open",
                   "%s (pid %ld) lives in %s, where %s or the program that it starts is not this host's", daemon->name,
                   (long)daemon->pid, daemon_has_own_mounts(daemon) ? "a container" : "another root", hook->path);
        break;
    case KNOWN_OTHER_BUILD:
        daemon_is_of_distribution(daemon, exe);
        report_add(report, CHECK_HOOK_KNOWN, RESULT_WARN,
                   "put the hook below its sysconfdir, unless that is /etc; once it was called, this line says so",
                   "%s (pid %ld) is %s, which may look for hooks elsewhere", daemon->name, (long)daemon->pid, exe);
        break;
    case KNOWN_HIDDEN:
        report_add(report, CHECK_HOOK_KNOWN, RESULT_WARN, NEEDS_ROOT, "whether %s (pid %ld) finds it", daemon->name,
                   (long)daemon->pid);
        break;
    }
}

/* proc(5): "36 35 98:0 /root /mount/point rw,noatime … - ext4 /dev/sda rw".  What was mounted last covers what was
 * there.  True: PATH cannot be written to by whom these mounts are. */
static bool is_read_only(const char *mounts, const char *path)
{
    bool found = false;
    size_t longest = 0;
    for (const char *line = mounts; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
        char point[HOOK_PATH_SIZE];
        char options[HOOK_PATH_SIZE];
        if (sscanf(line, "%*s %*s %*s %*s %511s %511s", point, options) != 2) {
            continue;
        }
        size_t length = strcmp(point, "/") == 0 ? 0 : strlen(point);
        bool covers = strncmp(path, point, length) == 0 && (path[length] == '/' || path[length] == '\0');
        if (covers && length >= longest) {
            longest = length;
            found = strcmp(options, "ro") == 0 || strncmp(options, "ro,", strlen("ro,")) == 0;
        }
    }
    return found;
}

/* A unit's sandbox is its hooks' too. */
static void check_writes(struct report *report, const struct daemon *daemon)
{
    static const struct {
        const char *path;
        const char *what;
        const char *setting;
    } needs[] = {
        {"/sys/devices", "no register can be written", "ProtectKernelTunables=no"},
        {PATH_STATE, "no claim can be written", "ReadWritePaths=" PATH_STATE},
    };
    CLEANUP_FREE char *mounts = fact_text(PATH_PROC "/%ld/mountinfo", (long)daemon->pid);
    bool is_fine = mounts;
    if (!mounts && fact_exists(PATH_PROC "/%ld/mountinfo", (long)daemon->pid)) {
        report_add(report, CHECK_HOOK_WRITES, RESULT_WARN, NEEDS_ROOT, "what %s (pid %ld) may write to", daemon->name,
                   (long)daemon->pid);
    }
    for (size_t i = 0; mounts && i < sizeof needs / sizeof needs[0]; i++) {
        if (is_read_only(mounts, needs[i].path)) {
            char remedy[256];
            snprintf(remedy, sizeof remedy, "systemctl edit %s: [Service] %s; then restart it", daemon->name,
                     needs[i].setting);
            report_add(report, CHECK_HOOK_WRITES, RESULT_FAIL, remedy,
                       "for %s (pid %ld) and its hooks %s is read-only: %s", daemon->name, (long)daemon->pid,
                       needs[i].path, needs[i].what);
            is_fine = false;
        }
    }
    if (is_fine) {
        report_pass(report, CHECK_HOOK_WRITES, "%s (pid %ld) lets it write to /sys and " PATH_STATE, daemon->name,
                    (long)daemon->pid);
    }
}

static void find_hook(struct hook_file *hook)
{
    CLEANUP_FREE char *more = paths_resolve(MORE_HOOKS);
    struct dirent **names = NULL;
    look_at(hook, MAIN_HOOK);
    int entries = scandir(more, &names, NULL, alphasort);
    hook->is_hidden |= entries < 0 && (errno == EACCES || errno == EPERM);
    for (int i = 0; i < entries; i++) {
        CLEANUP_FREE char *path = NULL;
        if (names[i]->d_name[0] != '.' && asprintf(&path, "%s/%s", MORE_HOOKS, names[i]->d_name) > 0) {
            look_at(hook, path);
        }
        free(names[i]);
    }
    free(names);
}

char *hook_place(void)
{
    struct hook_file hook = {0};
    find_hook(&hook);
    return hook.path[0] ? memory_copy_text(hook.path) : NULL;
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
        is_newer |= knowledge == KNOWN_UNTIL_CHANGED || knowledge == KNOWN_NOT_THERE;
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
            report_add(report, CHECK_HOOK_INSTALLED, RESULT_WARN, NEEDS_ROOT, "installed in " HOOKS " or not");
        } else if (hook.other_main) {
            report_add(report, CHECK_HOOK_INSTALLED, RESULT_FAIL,
                       "put icn-hook's hook program into " MORE_HOOKS ", or call it from there",
                       MAIN_HOOK " is another program, and ours is not in qemu.d");
        } else {
            report_add(report, CHECK_HOOK_INSTALLED, RESULT_FAIL,
                       "install icn-hook; until then VMs start with all links open", "not installed in " HOOKS);
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
        check_writes(report, &daemons[i]);
    }
    if (count == 0) {
        report_add(report, CHECK_HOOK_KNOWN, RESULT_WARN, "start libvirt",
                   "neither libvirtd nor virtqemud is running; they will find it when they start");
    }
}
