/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/memory.h"

enum { FIRST_CAPACITY = 4096, STREAM_CAPACITY = 64 << 10, WORD_LIMIT = 4096, LISTING_SIZE = 32 << 10 };

/* CLOCK_MONOTONIC exists on every Linux, so clock_gettime cannot fail here. */
static int64_t monotonic_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t deadline_after_ms(int64_t milliseconds)
{
    return monotonic_ms() + milliseconds;
}

int64_t deadline_left_ms(int64_t deadline)
{
    int64_t left = deadline - monotonic_ms();
    return left > 0 ? left : 0;
}

void buffer_free(struct buffer *buffer)
{
    free(buffer->data);
    buffer->data = NULL;
    buffer->length = 0;
}

void buffer_last_line(const struct buffer *buffer, char *line, size_t size)
{
    size_t end = buffer->length;
    while (end > 0 && strchr(" \t\r\n", buffer->data[end - 1])) {
        end--;
    }
    size_t begin = end;
    while (begin > 0 && buffer->data[begin - 1] != '\n') {
        begin--;
    }
    size_t length = end - begin;
    CLEANUP_FREE char *raw = memory_alloc(length + 1, 1);
    if (length > 0) {
        memcpy(raw, buffer->data + begin, length);
    }
    text_copy_line(line, size, raw);
}

void file_close_fd(int *fd)
{
    if (*fd != -1) {
        close(*fd);
        *fd = -1;
    }
}

/* Room for the whole file and one byte more, so that a regular file is read by
 * one call, which shows that it is no larger than it said.  /proc says 0 and sysfs
 * 4096 for every file: their end shows in a second one.  A stream may have as much ready as a pipe
 * holds. */
static size_t first_capacity(bool regular, off_t size, size_t limit)
{
    if (!regular) {
        return STREAM_CAPACITY;
    }
    if (size < FIRST_CAPACITY) {
        return FIRST_CAPACITY;
    }
    return (uint64_t)size < limit ? (size_t)size + 1 : limit + 1;
}

/* Waits until FD has something to say.  A signal ends the wait early; the
 * caller's loop comes back. */
static int wait_readable(int fd, const char *name, int64_t deadline, struct error *err)
{
    struct pollfd wanted = {.fd = fd, .events = POLLIN};
    int timeout = -1;
    if (deadline != NO_DEADLINE) {
        int64_t left = deadline_left_ms(deadline);
        if (left == 0) {
            return error_set(err, STATUS_BUSY, "%s did not end in time", name);
        }
        timeout = left < INT_MAX ? (int)left : INT_MAX;
    }
    if (poll(&wanted, 1, timeout) < 0 && errno != EINTR) {
        int number = errno;
        return error_set_errno(err, STATUS_HARDWARE, number, "cannot wait for %s", name);
    }
    return wanted.revents != 0;
}

/* 1: BUFFER has grown, or a signal or an empty non-blocking stream wants
 * another round; 0: the end. */
static int read_more(int fd, const char *name, size_t capacity, struct buffer *buffer, struct error *err)
{
    ssize_t got = read(fd, buffer->data + buffer->length, capacity - buffer->length);
    if (got < 0) {
        int number = errno;
        if (number == EINTR || number == EAGAIN) {
            return 1;
        }
        return error_set_errno(err, STATUS_HARDWARE, number, "cannot read %s", name);
    }
    buffer->length += (size_t)got;
    return got > 0;
}

/* FACTS are FD's. */
static int read_to_end(int fd, const struct stat *facts, const char *name, size_t limit, int64_t deadline,
                       struct buffer *buffer, struct error *err)
{
    bool regular = S_ISREG(facts->st_mode); /* always readable */
    size_t capacity = first_capacity(regular, facts->st_size, limit);
    int more = 1;
    buffer->data = memory_grow(NULL, capacity + 1, 1);
    while (more > 0) {
        int ready = regular ? 1 : wait_readable(fd, name, deadline, err);
        if (ready < 0) {
            return -1;
        }
        if (ready == 0) {
            continue;
        }
        if (buffer->length == capacity) {
            capacity = capacity < limit / 2 ? capacity * 2 : limit + 1;
            buffer->data = memory_grow(buffer->data, capacity + 1, 1);
        }
        more = read_more(fd, name, capacity, buffer, err);
        if (buffer->length > limit) {
            return error_set(err, STATUS_INVALID, "%s is larger than %zu bytes", name, limit);
        }
        if (more > 0 && regular && buffer->length == (size_t)facts->st_size) {
            more = 0;
        }
    }
    buffer->data[buffer->length] = '\0';
    return more;
}

static int read_file_to_end(int fd, const struct stat *facts, const char *name, size_t limit, int64_t deadline,
                            struct buffer *buffer, struct error *err)
{
    struct buffer content = {0};
    if (read_to_end(fd, facts, name, limit, deadline, &content, err) < 0) {
        buffer_free(&content);
        return -1;
    }
    *buffer = content;
    return 0;
}

int file_read_fd(int fd, const char *name, size_t limit, int64_t deadline, struct buffer *buffer, struct error *err)
{
    struct stat facts = {0};
    if (fstat(fd, &facts) < 0) {
        facts.st_mode = 0; /* it is read as a stream */
    }
    return read_file_to_end(fd, &facts, name, limit, deadline, buffer, err);
}

/* O_NONBLOCK: a FIFO planted in place of a file must not hang the open. */
int file_read(const char *path, size_t limit, struct buffer *buffer, bool *missing, struct error *err)
{
    CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    int number = errno;
    struct stat facts;
    if (missing) {
        *missing = fd < 0 && number == ENOENT;
    }
    if (fd < 0) {
        enum status status = number == ENOENT ? STATUS_INVALID : STATUS_HARDWARE;
        return error_set_errno(err, status, number, "cannot open %s", path);
    }
    if (fstat(fd, &facts) < 0) {
        number = errno;
        return error_set_errno(err, STATUS_HARDWARE, number, "cannot examine %s", path);
    }
    if (!S_ISREG(facts.st_mode)) {
        return error_set(err, STATUS_INVALID, "%s is not a regular file", path);
    }
    return read_file_to_end(fd, &facts, path, limit, NO_DEADLINE, buffer, err);
}

static int order_of_names(const void *left, const void *right)
{
    return strcmp(*(char *const *)left, *(char *const *)right);
}

/* getdents64 itself: readdir wants a descriptor of its own and looks at it first, and every hook does this for every
 * card. */
int file_visit_names(int dirfd, void (*visit)(void *context, const char *name), void *context)
{
    _Alignas(struct dirent64) char entries[LISTING_SIZE];
    ssize_t length;
    while ((length = getdents64(dirfd, entries, sizeof entries)) > 0) {
        for (ssize_t offset = 0; offset < length;) {
            const struct dirent64 *entry = (const void *)(entries + offset);
            if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
                visit(context, entry->d_name);
            }
            offset += entry->d_reclen;
        }
    }
    return length < 0 && errno != ENOENT ? -errno : 0; /* ENOENT: the directory was removed, so this is its end */
}

static void add_name(void *context, const char *name)
{
    text_list_add_copy(context, name);
}

int file_list_at(int dirfd, const char *name_in_messages, struct text_list *names, struct error *err)
{
    struct text_list found = {0};
    int number = lseek(dirfd, 0, SEEK_SET) < 0 ? -errno : file_visit_names(dirfd, add_name, &found);
    if (number < 0) {
        text_list_free(&found);
        return error_set_errno(err, STATUS_HARDWARE, -number, "cannot list %s", name_in_messages);
    }
    if (found.count > 1) {
        qsort(found.items, found.count, sizeof found.items[0], order_of_names);
    }
    *names = found;
    return 0;
}

int file_list(const char *path, struct text_list *names, bool *missing, struct error *err)
{
    CLEANUP_FD int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int number = errno;
    if (missing) {
        *missing = fd < 0 && number == ENOENT;
    }
    if (fd < 0) {
        enum status status = number == ENOENT ? STATUS_INVALID : STATUS_HARDWARE;
        return error_set_errno(err, status, number, "cannot list %s", path);
    }
    return file_list_at(fd, path, names, err);
}

/* The kernel gives such a text whole at the first read. */
bool file_read_word_at(int dirfd, const char *path, char *word, size_t size)
{
    char text[WORD_LIMIT];
    CLEANUP_FD int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    ssize_t got = -1;
    if (fd >= 0) {
        do {
            got = read(fd, text, sizeof text);
        } while (got < 0 && errno == EINTR);
    }
    size_t length = got > 0 ? (size_t)got : 0;
    if (length > 0 && text[length - 1] == '\n') {
        length--;
    }
    if (length == 0 || length >= size || got == (ssize_t)sizeof text) {
        return false;
    }
    memcpy(word, text, length);
    word[length] = '\0';
    return true;
}

/* O_TRUNC means nothing to sysfs; on a simulated host it takes the old word away. */
int file_write_word_at(int dirfd, const char *path, const char *word)
{
    size_t length = strlen(word);
    CLEANUP_FD int fd = openat(dirfd, path, O_WRONLY | O_TRUNC | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    ssize_t written;
    if (fd < 0) {
        return -errno;
    }
    do {
        written = write(fd, word, length);
    } while (written < 0 && errno == EINTR);
    if (written < 0) {
        return -errno;
    }
    return (size_t)written == length ? 0 : -EIO;
}

int file_write_all(int fd, const void *data, size_t length)
{
    const char *rest = data;
    while (length > 0) {
        ssize_t written = write(fd, rest, length);
        if (written < 0) {
            if (errno == EINTR) {
                continue;
            }
            return -1;
        }
        rest += written;
        length -= (size_t)written;
    }
    return 0;
}

void file_occupy_standard_descriptors(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) < 0) {
            return;
        }
    }
}

/* Creates TEMPORARY with the content.  errno tells why on -1. */
static int create_at(int dirfd, const char *temporary, const void *data, size_t length, mode_t mode)
{
    CLEANUP_FD int fd = openat(dirfd, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
    if (fd < 0) {
        return -1;
    }
    /* The umask must not take away what the caller asks for. */
    if (fchmod(fd, mode) < 0) {
        return -1;
    }
    return file_write_all(fd, data, length);
}

/*
 * The temporary's name carries the pid, so that two writers never share one; a
 * leftover of a killed process that had the same pid is removed.  There
 * is no fsync: what has to survive a crash of the host does not live in /run,
 * and a boot id disowns the rest.
 */
int file_replace_at(int dirfd, const char *name, const void *data, size_t length, mode_t mode, struct error *err)
{
    char temporary[NAME_MAX + 1];
    int number;
    int size = snprintf(temporary, sizeof temporary, ".%s.%ld.tmp", name, (long)getpid());
    if (size < 0 || (size_t)size >= sizeof temporary) {
        return error_set(err, STATUS_INVALID, "cannot write %s: the name is too long", name);
    }
    if (create_at(dirfd, temporary, data, length, mode) < 0 &&
        (errno != EEXIST || unlinkat(dirfd, temporary, 0) < 0 || create_at(dirfd, temporary, data, length, mode) < 0)) {
        number = errno;
        goto fail;
    }
    if (renameat(dirfd, temporary, dirfd, name) < 0) {
        number = errno;
        goto fail;
    }
    return 0;

fail:
    unlinkat(dirfd, temporary, 0);
    return error_set_errno(err, STATUS_HARDWARE, number, "cannot write %s", name);
}
