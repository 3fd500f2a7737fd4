/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation
 *
 * libpci decides what an lspci filter matches.  The ids are read here: libpci's
 * own reading takes any junk for a number, so that a PPU would silently be none,
 * ends the process (or jumps out of the call) when a function vanishes while it is
 * read, and opens twice as many files.
 */
#include "host/pci.h"

#include <errno.h>
#include <fcntl.h>
#include <pci/pci.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/paths.h"
#include "base/text.h"

enum { ATTRIBUTE_SIZE = 32, EXPRESSION_SIZE = 256 };

struct pci {
    struct pci_filter filter;
};

/* Fills FILTER; NULL or what is wrong (static text).  libpci's parser takes a
 * writable string. */
static const char *parse_match(const char *match, struct pci_filter *filter)
{
    char expression[EXPRESSION_SIZE];
    if (strlen(match) >= sizeof expression) {
        return "Expression too long";
    }
    memcpy(expression, match, strlen(match) + 1);
    pci_filter_init(NULL, filter);
    return pci_filter_parse_id(filter, expression);
}

bool pci_match_is_valid(const char *match, const char **reason)
{
    struct pci_filter filter;
    const char *fault = parse_match(match, &filter);
    if (fault) {
        *reason = fault;
        return false;
    }
    return true;
}

int pci_open(const char *match, struct pci **pci, struct error *err)
{
    struct pci_filter filter;
    const char *fault = parse_match(match, &filter);
    if (fault) {
        return error_set(err, STATUS_INVALID, "\"%s\" is not a PCI filter ([vendor]:[device][:class[:prog-if]]): %s",
                         match, fault);
    }
    *pci = memory_alloc(1, sizeof **pci);
    (*pci)->filter = filter;
    return 0;
}

void pci_close(struct pci *pci)
{
    free(pci);
}

/* ATTRIBUTE of the function NAME, whose directory FUNCTION is. */
static int read_id(int function, const char *name, const char *attribute, uint64_t max, uint64_t *id, struct error *err)
{
    char text[ATTRIBUTE_SIZE];
    CLEANUP_FREE char *path = NULL;
    CLEANUP_FD int fd = openat(function, attribute, O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    int number = errno;
    if (length < 0) {
        path = paths_resolve(PATH_PCI_DEVICES "/%s/%s", name, attribute);
        return error_set_errno(err, STATUS_HARDWARE, number, "cannot read %s", path);
    }
    text[length] = '\0';
    text[strcspn(text, "\n")] = '\0';
    if (!text_parse_number(text, max, id)) {
        path = paths_resolve(PATH_PCI_DEVICES "/%s/%s", name, attribute);
        return error_set(err, STATUS_HARDWARE, "%s does not hold a number up to 0x%llx: \"%s\"", path,
                         (unsigned long long)max, text);
    }
    return 0;
}

static int match_function(struct pci *pci, int function, const char *name, bool *matches, struct error *err)
{
    struct pci_dev device = {.known_fields = PCI_FILL_IDENT | PCI_FILL_CLASS | PCI_FILL_CLASS_EXT};
    uint64_t device_id;
    uint64_t vendor_id;
    uint64_t class = 0;
    if (read_id(function, name, "vendor", 0xffff, &vendor_id, err) < 0 ||
        read_id(function, name, "device", 0xffff, &device_id, err) < 0) {
        return -1;
    }
    if ((pci->filter.device_class >= 0 || pci->filter.prog_if >= 0) &&
        read_id(function, name, "class", 0xffffff, &class, err) < 0) {
        return -1;
    }
    device.vendor_id = (u16)vendor_id;
    device.device_id = (u16)device_id;
    device.device_class = (u16)(class >> 8);
    device.prog_if = (u8) class;
    *matches = pci_filter_match(&pci->filter, &device) != 0;
    return 0;
}

/* What cannot be looked at for another reason may well be there. */
static bool means_missing(int number)
{
    return number == ENOENT || number == ENOTDIR;
}

/* The function NAME, which is at PATH below DIRECTORY. */
static int look_up_at(struct pci *pci, int directory, const char *path, const char *name, bool *present, bool *matches,
                      struct error *err)
{
    struct stat unused;
    bool fits;
    int function = openat(directory, path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    int number = errno;
    if (function < 0 && !means_missing(number)) {
        return error_set_errno(err, STATUS_HARDWARE, number, "cannot look at PCI function %s", name);
    }
    bool exists = function >= 0;
    if (exists) {
        int result = match_function(pci, function, name, &fits, err);
        close(function);
        if (result < 0) {
            if (fstatat(directory, path, &unused, 0) == 0 || !means_missing(errno)) {
                return error_wrap(err, "PCI function %s", name);
            }
            exists = false; /* it vanished while it was read */
        }
    }
    *present = exists;
    *matches = exists && fits;
    return 0;
}

int pci_look_up(struct pci *pci, struct bdf bdf, bool *present, bool *matches, struct error *err)
{
    char name[BDF_TEXT_SIZE];
    CLEANUP_FREE char *path = paths_resolve(PATH_PCI_DEVICES "/%s", bdf_format(bdf, name));
    return look_up_at(pci, AT_FDCWD, path, name, present, matches, err);
}

struct function_list {
    struct bdf *items;
    size_t count;
    size_t room;
};

/* One directory entry: adds it to LIST if it matches. */
static int consider_entry(struct pci *pci, int directory, const char *name, struct function_list *list,
                          struct error *err)
{
    bool present;
    bool matches;
    struct bdf bdf;
    if (name[0] == '.') {
        return 0;
    }
    if (!bdf_parse(name, &bdf)) {
        return error_set(err, STATUS_HARDWARE, "%s/%s is not the address of a PCI function", PATH_PCI_DEVICES, name);
    }
    if (look_up_at(pci, directory, name, name, &present, &matches, err) < 0) {
        return -1;
    }
    if (matches) {
        if (list->count == list->room) {
            list->room = list->room == 0 ? 16 : 2 * list->room;
            list->items = memory_grow(list->items, list->room, sizeof *list->items);
        }
        list->items[list->count++] = bdf;
    }
    return 0;
}

int pci_list_matching(struct pci *pci, struct bdf **functions, size_t *count, struct error *err)
{
    CLEANUP_FREE char *path = paths_resolve(PATH_PCI_DEVICES);
    CLEANUP_FD int directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int number = errno;
    struct function_list list = {0};
    struct text_list names = {0};
    if (directory < 0) {
        return error_set_errno(err, STATUS_HARDWARE, number, "cannot list the PCI functions: %s", path);
    }
    if (file_list_at(directory, path, &names, err) < 0) {
        return -1;
    }
    int result = 0;
    for (size_t i = 0; i < names.count && result == 0; i++) {
        result = consider_entry(pci, directory, names.items[i], &list, err);
    }
    text_list_free(&names);
    if (result < 0) {
        free(list.items);
        return -1;
    }
    if (list.count > 1) {
        qsort(list.items, list.count, sizeof *list.items, bdf_order);
    }
    *functions = list.items;
    *count = list.count;
    return 0;
}
