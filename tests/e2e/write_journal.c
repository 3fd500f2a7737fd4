/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Preloaded into the programs by the end-to-end tests.  Whenever a mapping for writing of a
 * card's BAR ends, "BDF VALUE" of the link config register is added to the file
 * ICN_TEST_WRITES.  ICN_TEST_REGISTER is "/resource0:OFFSET".
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MAPPINGS = 16, PATH_SIZE = 4096 };

static struct {
    void *start;
    char path[PATH_SIZE];
} mappings[MAPPINGS];

static void remember(void *start, int fd)
{
    const char *resource = getenv("ICN_TEST_REGISTER");
    char link[32];
    char path[PATH_SIZE];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    size_t size = resource ? strcspn(resource, ":") : 0;
    if (size == 0 || length < (ssize_t)size || memcmp(path + length - size, resource, size) != 0) {
        return;
    }
    path[length] = '\0';
    for (int i = 0; i < MAPPINGS; i++) {
        if (!mappings[i].start) {
            mappings[i].start = start;
            memcpy(mappings[i].path, path, sizeof path);
            return;
        }
    }
    abort();
}

static void tell(const char *path)
{
    const char *resource = getenv("ICN_TEST_REGISTER");
    const char *journal = getenv("ICN_TEST_WRITES");
    char line[64];
    uint32_t value = 0;
    off_t offset = strtol(strchr(resource, ':') + 1, NULL, 10);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return;
    }
    ssize_t got = pread(fd, &value, sizeof value, offset);
    close(fd);
    /* .../BDF/resource0 */
    const char *end = strrchr(path, '/');
    const char *bdf = end;
    while (bdf > path && bdf[-1] != '/') {
        bdf--;
    }
    int length = snprintf(line, sizeof line, "%.*s %x\n", (int)(end - bdf), bdf, value);
    fd = open(journal, O_WRONLY | O_APPEND | O_CLOEXEC);
    if (fd >= 0 && got == sizeof value && write(fd, line, length) != length) {
        abort();
    }
    close(fd);
}

void *mmap(void *start, size_t length, int protection, int flags, int fd, off_t offset)
{
    void *mapped = (void *)syscall(SYS_mmap, start, length, protection, flags, fd, offset);
    if (mapped != MAP_FAILED && (protection & PROT_WRITE) && (flags & MAP_SHARED) && fd >= 0) {
        remember(mapped, fd);
    }
    return mapped;
}

void *mmap64(void *start, size_t length, int protection, int flags, int fd, off_t offset)
{
    return mmap(start, length, protection, flags, fd, offset);
}

int munmap(void *start, size_t length)
{
    for (int i = 0; i < MAPPINGS; i++) {
        if (start && mappings[i].start == start) {
            mappings[i].start = NULL;
            tell(mappings[i].path);
        }
    }
    return (int)syscall(SYS_munmap, start, length);
}
