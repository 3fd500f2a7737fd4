/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/wait.h"

#include <limits.h>
#include <poll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"

int wait_open_pidfd(pid_t pid)
{
    return (int)syscall(SYS_pidfd_open, pid, 0);
}

int wait_poll_timeout(int64_t deadline, int pidfd)
{
    int64_t left = deadline == NO_DEADLINE ? INT_MAX : deadline_left_ms(deadline);
    if (pidfd < 0 && left > WAIT_MOMENT_MS) {
        return WAIT_MOMENT_MS;
    }
    return left < INT_MAX ? (int)left : INT_MAX;
}

bool wait_has_ended(pid_t pid)
{
    siginfo_t facts = {.si_pid = 0};
    return waitid(P_PID, (id_t)pid, &facts, WEXITED | WNOHANG | WNOWAIT) == 0 && facts.si_pid == pid;
}

bool wait_for_end(pid_t pid, int64_t deadline)
{
    CLEANUP_FD int pidfd = wait_open_pidfd(pid);
    while (!wait_has_ended(pid)) {
        struct pollfd wanted = {.fd = pidfd, .events = POLLIN};
        if (deadline != NO_DEADLINE && deadline_left_ms(deadline) == 0) {
            return false;
        }
        poll(&wanted, 1, wait_poll_timeout(deadline, pidfd));
    }
    return true;
}
