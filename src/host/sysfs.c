/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/sysfs.h"

#include <dirent.h>
#include <errno.h>
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

enum { ATTRIBUTE_LIMIT = 4096 };

static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');
    return !slash ? path : slash + 1;
}

/* Where the link DIRECTORY/NAME points, as written: what it points to need not
 * exist, and only its last parts say anything. */
static bool read_link(const char *directory, const char *name, char target[PATH_MAX])
{
    CLEANUP_FREE char *path = paths_resolve("%s/%s", directory, name);
    ssize_t length = readlink(path, target, PATH_MAX - 1);
    if (length <= 0) {
        return false;
    }
    target[length] = '\0';
    return true;
}

/* A number within [0, INT_MAX], or UNKNOWN_NUMBER ("-1" is sysfs's own). */
static int parse_number(const char *text)
{
    uint64_t value;
    return text_parse_number(text, INT_MAX, &value) ? (int)value : UNKNOWN_NUMBER;
}

static int read_number(const char *directory, const char *name)
{
    CLEANUP_FREE char *path = paths_resolve("%s/%s", directory, name);
    struct buffer text = {0};
    struct error unused;
    int number;
    if (file_read(path, ATTRIBUTE_LIMIT, &text, NULL, &unused) != 0) {
        return UNKNOWN_NUMBER;
    }
    text.data[strcspn(text.data, "\n")] = '\0';
    number = parse_number(text.data);
    buffer_free(&text);
    return number;
}

static bool is_directory(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

static bool ends_in(const char *text, const char *end)
{
    size_t length = strlen(text);
    return length >= strlen(end) && strcmp(text + length - strlen(end), end) == 0;
}

/* vfio-pci itself, or a variant driver.  A variant is told by the vfio-dev
 * directory of its device (kernel 6.1 and later; libvirt asks the same), on
 * older kernels by its name: nvgrace_gpu_vfio_pci, mlx5_vfio_pci, … */
static bool is_vfio(const char *directory, const char *driver)
{
    CLEANUP_FREE char *vfio_dev = paths_resolve("%s/vfio-dev", directory);
    return strcmp(driver, "vfio-pci") == 0 || ends_in(driver, "-vfio-pci") || ends_in(driver, "_vfio_pci") ||
           is_directory(vfio_dev);
}

static bool read_physical_function(const char *directory, struct bdf *physical)
{
    char target[PATH_MAX];
    return read_link(directory, "physfn", target) && bdf_parse(last_part(target), physical);
}

bool sysfs_physical_function(struct bdf function, struct bdf *physical)
{
    char text[BDF_TEXT_SIZE];
    CLEANUP_FREE char *directory = paths_resolve("%s/%s", PATH_PCI_DEVICES, bdf_format(function, text));
    return read_physical_function(directory, physical);
}

/* Only what is known to be missing is absent: a card that cannot be looked at this
 * once still has a register to restore. */
static bool is_absent(const char *path)
{
    struct stat status;
    return stat(path, &status) != 0 ? errno == ENOENT || errno == ENOTDIR : !S_ISDIR(status.st_mode);
}

void sysfs_read_state(struct bdf bdf, struct pci_state *state)
{
    char text[BDF_TEXT_SIZE];
    char target[PATH_MAX];
    CLEANUP_FREE char *directory = paths_resolve("%s/%s", PATH_PCI_DEVICES, bdf_format(bdf, text));
    *state = (struct pci_state){.enable = UNKNOWN_NUMBER, .iommu_group = UNKNOWN_NUMBER, .numa_node = UNKNOWN_NUMBER};
    if (is_absent(directory)) {
        return;
    }
    state->present = true;
    state->enable = read_number(directory, "enable");
    state->numa_node = read_number(directory, "numa_node");
    if (read_link(directory, "driver", target)) {
        text_escape(state->driver, sizeof state->driver, last_part(target));
        state->on_vfio = is_vfio(directory, last_part(target));
    }
    if (read_link(directory, "iommu_group", target)) {
        state->iommu_group = parse_number(last_part(target));
    }
    state->is_virtual_function = read_physical_function(directory, &state->physical_function);
}

bool pci_state_held(const struct pci_state *state)
{
    return state->on_vfio && state->enable > 0;
}

static int compare_functions(const void *a, const void *b)
{
    return bdf_compare(*(const struct bdf *)a, *(const struct bdf *)b);
}

void sysfs_virtual_functions(struct bdf bdf, struct bdf **functions, size_t *count)
{
    char text[BDF_TEXT_SIZE];
    char target[PATH_MAX];
    CLEANUP_FREE char *path = paths_resolve("%s/%s", PATH_PCI_DEVICES, bdf_format(bdf, text));
    const struct dirent *entry;
    struct bdf function;
    DIR *directory = opendir(path);
    *functions = NULL;
    *count = 0;
    if (!directory) {
        return;
    }
    while ((entry = readdir(directory)) != NULL) {
        if (strncmp(entry->d_name, "virtfn", strlen("virtfn")) != 0 || !read_link(path, entry->d_name, target) ||
            !bdf_parse(last_part(target), &function)) {
            continue;
        }
        *functions = memory_grow(*functions, *count + 1, sizeof **functions);
        (*functions)[(*count)++] = function;
    }
    closedir(directory);
    if (*count > 1) {
        qsort(*functions, *count, sizeof **functions, compare_functions);
    }
}

/* The function whose directory holds PATH's last part.  Cuts PATH. */
static bool parse_parent(char *path, struct bdf *parent)
{
    char *slash = strrchr(path, '/');
    if (!slash) {
        return false;
    }
    *slash = '\0';
    return bdf_parse(last_part(path), parent);
}

/* The kernel makes a mediated device a child of the function that carries it:
 * /sys/bus/mdev/devices/UUID -> ../../../devices/pci0000:00/0000:08:00.0/UUID */
bool sysfs_mdev_parent(const char *uuid, struct bdf *parent)
{
    char canonical[UUID_SIZE];
    char target[PATH_MAX];
    return text_parse_uuid(uuid, canonical) && read_link(PATH_MDEV_DEVICES, canonical, target) &&
           parse_parent(target, parent);
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
