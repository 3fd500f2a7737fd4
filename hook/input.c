/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "hook/input.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { FIRST_SIZE = 64 << 10 };

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Until stdin has something to read, its end or an error.  False: too late. */
static bool wait_for_input(int64_t deadline)
{
    struct pollfd stdin_poll = {.fd = STDIN_FILENO, .events = POLLIN};
    for (;;) {
        int64_t left = deadline - now_ms();
        if (left <= 0) {
            return false;
        }
        int ready = poll(&stdin_poll, 1, (int)left);
        if (ready > 0 || (ready < 0 && errno != EINTR)) {
            return true;
        }
    }
}

/* Room for at least one more byte than the limit, so that too much is seen. */
static bool grow(char **buffer, size_t *size)
{
    size_t larger = *size ? *size * 2 : FIRST_SIZE;
    if (larger > (size_t)INPUT_LIMIT + 1) {
        larger = (size_t)INPUT_LIMIT + 1;
    }
    char *grown = realloc(*buffer, larger);
    if (!grown) {
        return false;
    }
    *buffer = grown;
    *size = larger;
    return true;
}

enum status input_read(struct input *input, int *number)
{
    int64_t deadline = now_ms() + INT64_C(1000) * INPUT_DEADLINE_S;
    char *buffer = NULL;
    size_t size = 0;
    size_t used = 0;
    enum status status = STATUS_HARDWARE;
    for (;;) {
        if (used == size && !grow(&buffer, &size)) {
            *number = ENOMEM;
            break;
        }
        if (!wait_for_input(deadline)) {
            status = STATUS_BUSY;
            break;
        }
        ssize_t count = read(STDIN_FILENO, buffer + used, size - used);
        if (count == 0 || (count < 0 && errno == EBADF)) {
            *input = (struct input){buffer, used};
            return STATUS_OK;
        }
        if (count < 0 && errno != EINTR && errno != EAGAIN) {
            *number = errno;
            break;
        }
        used += count > 0 ? (size_t)count : 0;
        if (used > INPUT_LIMIT) {
            status = STATUS_INVALID;
            break;
        }
    }
    free(buffer);
    return status;
}
