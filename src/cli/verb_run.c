/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation.  The group is bound to the command's process, which is there before the cards are
 * isolated: it is forked first, and waits at a pipe for the text of ICN_CARDS.  So nothing is lost
 * wherever icn-hook is killed: a process that still waits reads the pipe's end and ends itself; one that runs
 * keeps its group.  The end is what the next hook would do: the process is gone and nobody holds a card, so the
 * claim is void (groups_catch_up).
 *
 * Signals are blocked from the fork on, and taken one by one.  The command is in our process group: what the
 * kernel sends for a key of the terminal it has got itself, and what a process sent to us goes on to it.  SIGALRM ends
 * the wait for the lock, so that one is blocked only while the command runs.
 */
#include "cli/verbs.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "engine/groups.h"

enum { CARDS_LIMIT = 1 << 20, NOT_EXECUTABLE = 126, NOT_FOUND = 127, OF_SIGNAL = 128 };
enum { LOOK_AGAIN_MS = 200 };

struct runner {
    const struct options *options;
    pid_t pid;        /* the command's */
    int cards;        /* the end of a pipe that takes ICN_CARDS, closed with '\n' when they are isolated */
    int failure;      /* the end of a pipe that gives errno if the command cannot be executed */
    sigset_t before;  /* blocked when we were called */
    sigset_t taken;   /* what we take */
    char *name;       /* owned; the group's, once it is isolated */
    char *uuid;       /* likewise */
    struct bdf *bdfs; /* owned */
    size_t count;
};

/* All but what stops us as the terminal wants it, and what is our own fault. */
static void choose_signals(sigset_t *signals)
{
    static const int left[] = {SIGALRM, SIGTSTP, SIGTTIN, SIGTTOU, SIGSEGV, SIGBUS,
                               SIGFPE,  SIGILL,  SIGTRAP, SIGSYS,  SIGABRT};
    sigfillset(signals);
    for (size_t i = 0; i < sizeof left / sizeof left[0]; i++) {
        sigdelset(signals, left[i]);
    }
}

/* Never returns. */
static void wait_and_execute(char *const command[], int cards, int failure, const sigset_t *before)
{
    struct buffer text = {0};
    struct error unused;
    if (file_read_fd(cards, "the cards", CARDS_LIMIT, NO_DEADLINE, &text, &unused) < 0 || text.length == 0 ||
        text.data[text.length - 1] != '\n') {
        _exit(STATUS_HARDWARE); /* nothing is isolated, or nobody is there any more */
    }
    text.data[text.length - 1] = '\0';
    setenv("ICN_CARDS", text.data, 1);
    signal(SIGPIPE, SIG_DFL);
    sigprocmask(SIG_SETMASK, before, NULL);
    execvp(command[0], command);
    int number = errno;
    (void)!file_write_all(failure, &number, sizeof number);
    _exit(number == ENOENT ? NOT_FOUND : NOT_EXECUTABLE);
}

static int run_start(struct runner *runner, struct error *err)
{
    int cards[2];
    int failure[2];
    if (pipe2(cards, O_CLOEXEC) < 0) {
        return error_set_errno(err, STATUS_HARDWARE, errno, "cannot make a pipe for the command");
    }
    if (pipe2(failure, O_CLOEXEC) < 0) {
        int number = errno;
        close(cards[0]);
        close(cards[1]);
        return error_set_errno(err, STATUS_HARDWARE, number, "cannot make a pipe for the command");
    }
    signal(SIGCHLD, SIG_DFL); /* ignored, it would take away the exit status */
    choose_signals(&runner->taken);
    sigprocmask(SIG_BLOCK, &runner->taken, &runner->before);
    runner->pid = fork();
    int number = errno;
    if (runner->pid == 0) {
        close(cards[1]);
        close(failure[0]);
        wait_and_execute(runner->options->command, cards[0], failure[1], &runner->before);
    }
    close(cards[0]);
    close(failure[1]);
    runner->cards = cards[1];
    runner->failure = failure[0];
    return runner->pid < 0 ? error_set_errno(err, STATUS_HARDWARE, number, "cannot start a process for the command")
                           : 0;
}

static void keep_group(struct runner *runner, const struct session *session, const struct party *group)
{
    runner->name = memory_copy_text(group->name);
    runner->uuid = memory_copy_text(group->uuid);
    runner->count = group->ppu_count;
    runner->bdfs = memory_alloc(runner->count, sizeof *runner->bdfs);
    for (size_t i = 0; i < runner->count; i++) {
        runner->bdfs[i] = session->machine->card[group->ppus[i]];
    }
}

static void run_log(const struct runner *runner, struct session *session, enum log_event event, const struct error *err,
                    const char *what)
{
    verb_log_session(
        "run", session,
        (struct trail){
            .event = event, .uuid = runner->uuid, .name = runner->name, .is_group = true, .err = err, .what = what});
}

static int run_isolate(struct runner *runner, struct error *err)
{
    struct session session = {.state = STATE_CLOSED};
    struct group_report report = {0};
    struct process_identity command;
    int result = process_identify(runner->pid, &command)
                     ? groups_isolate(&session, runner->options, command, &report, err)
                     : error_set(err, STATUS_HARDWARE, "the start of process %ld cannot be read; is /proc mounted?",
                                 (long)runner->pid);
    if (result == 0 && report.groups.count > 0) {
        keep_group(runner, &session, &report.groups.items[0]);
    }
    run_log(runner, &session, EVENT_CARDS_GIVEN, result < 0 ? err : NULL, runner->name);
    session_unlock(&session);
    for (size_t i = 0; result == 0 && i < session.notes.count; i++) {
        fprintf(stderr, "icn-hook: warning: %s\n", session.notes.items[i].text);
    }
    group_report_free(&report);
    session_close(&session);
    return result;
}

/* The command may have been killed while it waited: it has no reader then, and waitpid tells. */
static void let_go_on(struct runner *runner)
{
    CLEANUP_FREE char *text = memory_alloc(runner->count + 1, BDF_TEXT_SIZE + 1);
    size_t used = 0;
    for (size_t i = 0; i < runner->count; i++) {
        bdf_format(runner->bdfs[i], text + used);
        used += strlen(text + used);
        text[used++] = i + 1 < runner->count ? ',' : '\n';
    }
    if (file_write_all(runner->cards, text, used) < 0 && errno != EPIPE) {
        fprintf(stderr, "icn-hook: the command is not run, because it cannot be told its cards: %s\n", strerror(errno));
    }
    file_close_fd(&runner->cards);
}

/* Passes signals on until the command has ended, and returns the exit status. */
static int follow(const struct runner *runner)
{
    sigset_t taken = runner->taken;
    int wait_status = 0;
    pid_t ended;
    sigaddset(&taken, SIGALRM);
    sigprocmask(SIG_BLOCK, &taken, NULL);
    while ((ended = waitpid(runner->pid, &wait_status, WNOHANG)) == 0 || (ended < 0 && errno == EINTR)) {
        siginfo_t facts;
        int number = ended == 0 ? sigwaitinfo(&taken, &facts) : -1;
        /* si_code: above 0, the kernel sent it (sigaction(2)) */
        if (number > 0 && number != SIGCHLD && facts.si_code <= 0) {
            kill(runner->pid, number);
        }
    }
    sigprocmask(SIG_SETMASK, &runner->taken, NULL);
    if (ended < 0) {
        return STATUS_HARDWARE;
    }
    return WIFSIGNALED(wait_status) ? OF_SIGNAL + WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
}

/* The first card that a process holds open, or NULL. */
static const struct bdf *find_held(const struct runner *runner, struct pci_state *state)
{
    for (size_t i = 0; i < runner->count; i++) {
        sysfs_read_card(runner->bdfs[i], state);
        if (state->held) {
            return &runner->bdfs[i];
        }
    }
    return NULL;
}

/* What the command left behind may hold cards.  False: a signal came first. */
static bool wait_for_holders(const struct runner *runner)
{
    struct pci_state state;
    const struct bdf *held;
    bool is_said = false;
    while ((held = find_held(runner, &state))) {
        const struct timespec moment = {.tv_nsec = LOOK_AGAIN_MS * 1000000L};
        char card[BDF_TEXT_SIZE];
        char command[PROCESS_COMMAND_SIZE] = "unknown command";
        pid_t pid = 0;
        bdf_format(*held, card);
        if (!is_said) {
            is_said = true;
            if (process_holder_of(state.held_group, state.held_function, &pid, command)) {
                fprintf(stderr, "icn-hook: the command has ended, but %s is held open by process %ld (%s): waiting\n",
                        card, (long)pid, command);
            } else {
                fprintf(stderr, "icn-hook: the command has ended, but %s is held open by a process: waiting\n", card);
            }
        }
        int number = sigtimedwait(&runner->taken, NULL, &moment);
        if (number == SIGINT || number == SIGTERM || number == SIGHUP || number == SIGQUIT) {
            fprintf(stderr,
                    "icn-hook: %s is still held open; the group '%s' stays isolated until it is not, and the next hook "
                    "or `icn-hook repair` gives its cards back\n",
                    card, runner->name);
            return false;
        }
    }
    return true;
}

static void run_give_back(const struct runner *runner)
{
    struct session session;
    struct group_report report = {0};
    struct error err;
    int result = session_start(&session, runner->options->config, SESSION_CHANGE, &err);
    if (result == 0) {
        result = groups_catch_up(&session, &report, &err);
    }
    run_log(runner, &session, EVENT_ENDED, result < 0 ? &err : NULL, "the command has ended");
    session_unlock(&session);
    if (result < 0) {
        fprintf(stderr, "icn-hook: the cards of the group '%s' are not all given back: %s\n", runner->name, err.text);
    }
    group_report_free(&report);
    session_close(&session);
}

/* After the fork: to the end of the command and of its group. */
static int run_command(struct runner *runner, struct error *err)
{
    int number = 0;
    if (run_isolate(runner, err) < 0) {
        file_close_fd(&runner->cards);
        (void)follow(runner);
        return -1;
    }
    let_go_on(runner);
    bool failed = read(runner->failure, &number, sizeof number) == (ssize_t)sizeof number;
    int status = follow(runner);
    if (failed) {
        fprintf(stderr, "icn-hook: cannot execute '%s': %s\n", runner->options->command[0], strerror(number));
    }
    if (wait_for_holders(runner)) {
        run_give_back(runner);
    }
    return status;
}

int verb_run(const struct options *options, struct error *err)
{
    struct runner runner = {.options = options, .pid = -1, .cards = -1, .failure = -1};
    if (groups_check_options(options, err) < 0) {
        return -1;
    }
    if (options->argument && strchr(options->argument, '|')) {
        return command_usage_error(err, "run makes one group, not several: '%s'", options->argument);
    }
    int status = run_start(&runner, err);
    if (status == 0) {
        status = run_command(&runner, err);
    }
    file_close_fd(&runner.cards);
    file_close_fd(&runner.failure);
    free(runner.name);
    free(runner.uuid);
    free(runner.bdfs);
    sigprocmask(SIG_SETMASK, &runner.before, NULL);
    return status;
}
