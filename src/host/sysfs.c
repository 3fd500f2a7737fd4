/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/sysfs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/paths.h"
#include "base/text.h"

static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* Where the link NAME in DIRECTORY points, as written: what it points to need not
 * exist, and only its last parts say anything. */
static bool read_link_at(int directory, const char *name, char target[PATH_MAX])
{
    ssize_t length = readlinkat(directory, name, target, PATH_MAX - 1);
    if (length <= 0) {
        return false;
    }
    target[length] = '\0';
    return true;
}

/* A number within [0, INT_MAX], or UNKNOWN_NUMBER ("-1" is sysfs's own). */
static int parse_known_number(const char *text)
{
    uint64_t value;
    return text_parse_number(text, INT_MAX, &value) ? (int)value : UNKNOWN_NUMBER;
}

static int read_number_at(int directory, const char *name)
{
    char text[32];
    return file_read_word_at(directory, name, text, sizeof text) ? parse_known_number(text) : UNKNOWN_NUMBER;
}

static int read_iommu_group_at(int directory, const char *name)
{
    char target[PATH_MAX];
    return read_link_at(directory, name, target) ? parse_known_number(last_part(target)) : UNKNOWN_NUMBER;
}

static bool ends_in(const char *text, const char *end)
{
    size_t length = strlen(text);
    return length >= strlen(end) && strcmp(text + length - strlen(end), end) == 0;
}

/* vfio-pci itself, or a variant driver.  A variant has by the name that the kernel's
 * own ones have (nvgrace_gpu_vfio_pci, mlx5_vfio_pci, …), or the vfio-dev directory of
 * its device says so (kernel 6.1 and later; libvirt looks there too). */
static bool is_vfio(int directory, const char *driver)
{
    struct stat facts;
    return strcmp(driver, "vfio-pci") == 0 || ends_in(driver, "-vfio-pci") || ends_in(driver, "_vfio_pci") ||
           (fstatat(directory, "vfio-dev", &facts, 0) == 0 && S_ISDIR(facts.st_mode));
}

/* The directory of a function, or -1 with errno. */
static int open_function(struct bdf bdf, int flags)
{
    char text[BDF_TEXT_SIZE];
    CLEANUP_FREE char *path = paths_resolve(PATH_PCI_DEVICES "/%s", bdf_format(bdf, text));
    return open(path, flags | O_DIRECTORY | O_CLOEXEC);
}

/* DIRECTORY is what open_function gave, and NUMBER errno then. */
static void read_state_at(int directory, int number, struct bdf bdf, struct pci_state *state)
{
    char target[PATH_MAX];
    *state = (struct pci_state){
        .enable = UNKNOWN_NUMBER,
        .iommu_group = UNKNOWN_NUMBER,
        .numa_node = UNKNOWN_NUMBER,
        .held_group = UNKNOWN_NUMBER,
    };
    /* Only what is known to be missing is absent: a card that cannot be looked at this
     * once still has a register to restore. */
    state->present = directory >= 0 || (number != ENOENT && number != ENOTDIR);
    if (directory < 0) {
        return;
    }
    state->enable = read_number_at(directory, "enable");
    if (read_link_at(directory, "driver", target)) {
        text_escape(state->driver, sizeof state->driver, last_part(target));
        state->on_vfio = is_vfio(directory, last_part(target));
    }
    if (state->on_vfio) {
        state->iommu_group = read_iommu_group_at(directory, "iommu_group");
    }
    if (state->on_vfio && state->enable > 0) {
        state->held = true;
        state->held_function = bdf;
        state->held_group = state->iommu_group;
    }
}

void sysfs_read_state(struct bdf bdf, struct pci_state *state)
{
    CLEANUP_FD int directory = open_function(bdf, O_PATH);
    int number = errno;
    read_state_at(directory, number, bdf, state);
}

void sysfs_read_place(struct bdf bdf, struct pci_state *state)
{
    char text[BDF_TEXT_SIZE];
    CLEANUP_FREE char *node = paths_resolve(PATH_PCI_DEVICES "/%s/numa_node", bdf_format(bdf, text));
    CLEANUP_FREE char *group = paths_resolve(PATH_PCI_DEVICES "/%s/iommu_group", text);
    state->numa_node = read_number_at(AT_FDCWD, node);
    if (!state->on_vfio) {
        state->iommu_group = read_iommu_group_at(AT_FDCWD, group);
    }
}

bool sysfs_is_virtual_function(struct bdf bdf)
{
    char text[BDF_TEXT_SIZE];
    char target[PATH_MAX];
    struct bdf physical;
    CLEANUP_FREE char *link = paths_resolve(PATH_PCI_DEVICES "/%s/physfn", bdf_format(bdf, text));
    return read_link_at(AT_FDCWD, link, target) && bdf_parse(last_part(target), &physical);
}

int64_t sysfs_vfio_since(const struct pci_state *state)
{
    CLEANUP_FREE char *path = paths_resolve("/dev/vfio/%d", state->iommu_group);
    struct stat facts;
    return state->on_vfio && stat(path, &facts) == 0 ? facts.st_mtime : 0;
}

/* What list_virtual_functions looks for, and finds. */
struct function_search {
    int directory; /* of the card */
    struct bdf *functions;
    size_t count;
};

static void consider_name(void *context, const char *name)
{
    struct function_search *search = context;
    char target[PATH_MAX];
    struct bdf function;
    if (strncmp(name, "virtfn", strlen("virtfn")) == 0 && read_link_at(search->directory, name, target) &&
        bdf_parse(last_part(target), &function)) {
        search->functions = memory_grow(search->functions, search->count + 1, sizeof *search->functions);
        search->functions[search->count++] = function;
    }
}

/* DIRECTORY was opened for reading. */
static void list_virtual_functions(int directory, struct bdf **functions, size_t *count)
{
    struct function_search search = {.directory = directory};
    (void)!file_visit_names(directory, consider_name, &search);
    if (search.count > 1) {
        qsort(search.functions, search.count, sizeof *search.functions, bdf_order);
    }
    *functions = search.functions;
    *count = search.count;
}

void sysfs_virtual_functions(struct bdf bdf, struct bdf **functions, size_t *count)
{
    CLEANUP_FD int directory = open_function(bdf, O_RDONLY);
    *functions = NULL;
    *count = 0;
    if (directory >= 0) {
        list_virtual_functions(directory, functions, count);
    }
}

void sysfs_read_card(struct bdf bdf, struct pci_state *state)
{
    CLEANUP_FD int directory = open_function(bdf, O_RDONLY);
    int number = errno;
    CLEANUP_FREE struct bdf *functions = NULL;
    size_t count = 0;
    read_state_at(directory, number, bdf, state);
    if (directory < 0) {
        return;
    }
    list_virtual_functions(directory, &functions, &count);
    for (size_t i = 0; i < count && !state->held; i++) {
        struct pci_state function;
        sysfs_read_state(functions[i], &function);
        if (function.held) {
            state->held = true;
            state->held_function = functions[i];
            state->held_group = function.iommu_group;
        }
    }
}

/* The kernel makes a mediated device a child of the function that carries it:
 * /sys/bus/mdev/devices/UUID -> ../../../devices/pci0000:00/0000:08:00.0/UUID */
bool sysfs_mdev_parent(const char *uuid, struct bdf *parent)
{
    char canonical[UUID_SIZE];
    char target[PATH_MAX];
    if (!text_parse_uuid(uuid, canonical)) {
        return false;
    }
    CLEANUP_FREE char *link = paths_resolve(PATH_MDEV_DEVICES "/%s", canonical);
    char *slash = read_link_at(AT_FDCWD, link, target) ? strrchr(target, '/') : NULL;
    if (!slash) {
        return false;
    }
    *slash = '\0';
    return bdf_parse(last_part(target), parent);
}

bool sysfs_resolve_path(const char *path, struct bdf *bdf, char mdev_uuid[])
{
    /* QEMU runs in "/", so a path that is not absolute starts there. */
    CLEANUP_FREE char *rooted = paths_resolve(path[0] == '/' ? "%s" : "/%s", path);
    CLEANUP_FREE char *resolved = realpath(rooted, NULL);
    char uuid[UUID_SIZE];

    if (!resolved) {
        return false;
    }
    if (bdf_parse(last_part(resolved), bdf)) {
        mdev_uuid[0] = '\0';
        return true;
    }
    if (!text_parse_uuid(last_part(resolved), uuid)) {
        return false;
    }
    memcpy(mdev_uuid, uuid, sizeof uuid);
    return true;
}
