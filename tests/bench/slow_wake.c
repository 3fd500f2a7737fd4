/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Preloaded by tests/bench/run into the hook and the engine: a card of the simulated host
 * wakes as slowly as a real one.  Writing "on" to power/control returns after 10 ms (PCI
 * Express, 5.9: from D3hot), when the card is awake, and after "auto" it sleeps.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { WAKE_NS = 10000000, PATH_SIZE = 4096 };

static void set_state(const char *card, const char *name, const char *value)
{
    char path[PATH_SIZE + 32];
    snprintf(path, sizeof path, "%s%s", card, name);
    int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
    if (fd >= 0) {
        syscall(SYS_write, fd, value, strlen(value));
        close(fd);
    }
}

/* The directory of the card whose power/control FD is. */
static int find_card(int fd, char card[PATH_SIZE])
{
    static const char control[] = "/power/control";
    char link[32];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, card, PATH_SIZE - 1);
    size_t of_control = sizeof control - 1;
    if (length < (ssize_t)of_control || memcmp(card + length - of_control, control, of_control) != 0) {
        return 0;
    }
    card[(size_t)length - of_control] = '\0';
    return 1;
}

ssize_t write(int fd, const void *data, size_t length)
{
    char card[PATH_SIZE];
    int wakes = length >= 2 && memcmp(data, "on", 2) == 0;
    int sleeps = length >= 4 && memcmp(data, "auto", 4) == 0;
    if ((wakes || sleeps) && find_card(fd, card)) {
        if (wakes) {
            nanosleep(&(struct timespec){.tv_nsec = WAKE_NS}, NULL);
        }
        set_state(card, "/power_state", wakes ? "D0\n" : "D3hot\n");
        set_state(card, "/power/runtime_status", wakes ? "active\n" : "suspended\n");
    }
    return syscall(SYS_write, fd, data, length);
}
