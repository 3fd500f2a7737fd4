/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "simulated_host.h"

#include <endian.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { ROOT_SIZE = 256, RING = 8, RESOURCE_SIZE = 4 << 20, CONFIG_SIZE = 64 };

static char root[ROOT_SIZE];

static int remove_entry(const char *path, const struct stat *status, int kind, struct FTW *position)
{
    (void)status;
    (void)kind;
    (void)position;
    return remove(path);
}

static void remove_tree(const char *path)
{
    assert_int_equal(nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS), 0);
}

int simulated_host_start(void **state)
{
    const char *directory = getenv("TMPDIR");

    (void)state;
    snprintf(root, sizeof root, "%s/icn-hook-test.XXXXXX", directory != NULL ? directory : "/tmp");
    if (mkdtemp(root) == NULL || chmod(root, 0755) != 0) {
        return -1;
    }
    simulated_directory("/sys/bus/pci/devices");
    return setenv("ICN_SYSROOT", root, 1);
}

int simulated_host_stop(void **state)
{
    (void)state;
    remove_tree(root);
    return unsetenv("ICN_SYSROOT");
}

int simulated_host_clear(void **state)
{
    (void)state;
    remove_tree(root);
    assert_int_equal(mkdir(root, 0755), 0);
    simulated_directory("/sys/bus/pci/devices");
    return 0;
}

const char *simulated_path(const char *format, ...)
{
    static char ring[RING][PATH_MAX];
    static int next;
    char path[PATH_MAX - ROOT_SIZE];
    char *place = ring[next++ % RING];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(path, sizeof path, format, arguments);
    va_end(arguments);
    snprintf(place, PATH_MAX, "%s%s", root, path);
    return place;
}

static void make_directories(const char *path, const char *end)
{
    char part[PATH_MAX];

    for (const char *at = path + strlen(root) + 1; at < end; at++) {
        if (*at == '/') {
            snprintf(part, sizeof part, "%.*s", (int)(at - path), path);
            mkdir(part, 0755);
        }
    }
}

void simulated_directory(const char *path)
{
    const char *place = simulated_path("%s/", path);
    struct stat status;

    make_directories(place, place + strlen(place));
    assert_int_equal(stat(place, &status), 0);
}

void simulated_file(const char *path, const void *data, size_t length)
{
    const char *place = simulated_path("%s", path);
    int fd;

    make_directories(place, place + strlen(place));
    fd = open(place, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, length), length);
    close(fd);
}

void simulated_text(const char *path, const char *text)
{
    simulated_file(path, text, strlen(text));
}

void simulated_link(const char *path, const char *target)
{
    const char *place = simulated_path("%s", path);

    make_directories(place, place + strlen(place));
    assert_int_equal(symlink(target, place), 0);
}

void simulated_remove(const char *path)
{
    remove_tree(simulated_path("%s", path));
}

const char *simulated_read(const char *path)
{
    static char text[4096];
    int fd = open(simulated_path("%s", path), O_RDONLY | O_CLOEXEC);
    ssize_t length;

    assert_true(fd >= 0);
    length = read(fd, text, sizeof text - 1);
    close(fd);
    assert_true(length >= 0);
    text[length] = '\0';
    return text;
}

static void card_text(const char *bdf, const char *name, const char *text)
{
    char path[PATH_MAX];

    snprintf(path, sizeof path, "/sys/bus/pci/devices/%s/%s", bdf, name);
    simulated_text(path, text);
}

void simulated_config(const char *bdf, uint16_t vendor, uint16_t command)
{
    char path[PATH_MAX];
    unsigned char config[CONFIG_SIZE] = {0};

    config[0] = (unsigned char)vendor;
    config[1] = (unsigned char)(vendor >> 8);
    config[4] = (unsigned char)command;
    config[5] = (unsigned char)(command >> 8);
    snprintf(path, sizeof path, "/sys/bus/pci/devices/%s/config", bdf);
    simulated_file(path, config, sizeof config);
}

void simulated_card(const char *bdf)
{
    card_text(bdf, "vendor", "0x1ee0\n");
    card_text(bdf, "device", "0x6001\n");
    card_text(bdf, "class", "0x120000\n");
    card_text(bdf, "enable", "0\n");
    card_text(bdf, "numa_node", "-1\n");
    card_text(bdf, "irq", "0\n");
    card_text(bdf, "resource0", "");
    simulated_config(bdf, 0x1ee0, 0x0006);
    assert_int_equal(truncate(simulated_path("/sys/bus/pci/devices/%s/resource0", bdf), RESOURCE_SIZE), 0);
}

static int open_resource(const char *bdf)
{
    int fd = open(simulated_path("/sys/bus/pci/devices/%s/resource0", bdf), O_RDWR | O_CLOEXEC);

    assert_true(fd >= 0);
    return fd;
}

uint32_t simulated_register(const char *bdf, size_t offset)
{
    int fd = open_resource(bdf);
    uint32_t value = 0;

    assert_int_equal(pread(fd, &value, sizeof value, (off_t)offset), sizeof value);
    close(fd);
    return le32toh(value);
}

void simulated_set_register(const char *bdf, size_t offset, uint32_t value)
{
    int fd = open_resource(bdf);

    value = htole32(value);
    assert_int_equal(pwrite(fd, &value, sizeof value, (off_t)offset), sizeof value);
    close(fd);
}

unsigned long long real_process_start(pid_t pid)
{
    enum { STATE_FIELD = 3, START_FIELD = 22 };
    char path[64];
    char text[1024];
    snprintf(path, sizeof path, "/proc/%ld/stat", (long)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    ssize_t length = read(fd, text, sizeof text - 1);
    assert_true(length > 0);
    close(fd);
    text[length] = '\0';
    char *at = strrchr(text, ')'); /* of the name, which may hold anything */
    assert_non_null(at);
    for (int field = STATE_FIELD; field <= START_FIELD; field++) {
        at = strchr(at + 1, ' ');
        assert_non_null(at);
    }
    return strtoull(at + 1, NULL, 10);
}
