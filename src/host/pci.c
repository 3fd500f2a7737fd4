/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation
 *
 * libpci decides what an lspci filter matches.  The ids are read here: libpci's
 * own reading takes any junk for a number, so that a PPU would silently be none,
 * ends the process (or jumps out of the call) when a function vanishes while it is
 * read, and opens twice as many files.  So is the serial number: to libpci a capability
 * that cannot be read is one that is not there.
 */
#include "host/pci.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pci/pci.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/paths.h"
#include "base/text.h"

enum { ATTRIBUTE_SIZE = 32, EXPRESSION_SIZE = 256 };

struct known_function {
    struct bdf bdf;
    bool present;
    bool matches;
    bool has_physical; /* the rest is known */
    bool is_virtual;   /* a virtual function of PHYSICAL */
    struct bdf physical;
};

struct pci {
    struct pci_filter filter;
    struct known_function *known; /* what was looked up, in no order */
    size_t known_count;
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
    if (pci) {
        free(pci->known);
        free(pci);
    }
}

/* ATTRIBUTE (with its slash) of the function NAME, which is at PATH below DIRECTORY. */
static int read_id(int directory, const char *path, const char *name, const char *attribute, uint64_t max, uint64_t *id,
                   struct error *err)
{
    char text[ATTRIBUTE_SIZE];
    CLEANUP_FREE char *file = text_join(path, attribute);
    CLEANUP_FREE char *shown = NULL;
    CLEANUP_FD int fd = openat(directory, file, O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    int number = errno;
    if (length < 0) {
        shown = paths_resolve(PATH_PCI_DEVICES "/%s%s", name, attribute);
        return error_set_errno(err, STATUS_HARDWARE, number, "cannot read %s", shown);
    }
    text[length] = '\0';
    text[strcspn(text, "\n")] = '\0';
    if (!text_parse_number(text, max, id)) {
        shown = paths_resolve(PATH_PCI_DEVICES "/%s%s", name, attribute);
        return error_set(err, STATUS_HARDWARE, "%s does not hold a number up to 0x%llx: \"%s\"", shown,
                         (unsigned long long)max, text);
    }
    return 0;
}

static int match_function(struct pci *pci, int directory, const char *path, const char *name, bool *matches,
                          struct error *err)
{
    struct pci_dev device = {.known_fields = PCI_FILL_IDENT | PCI_FILL_CLASS | PCI_FILL_CLASS_EXT};
    uint64_t device_id = 0;
    uint64_t vendor_id;
    uint64_t class = 0;
    if (read_id(directory, path, name, "/device", 0xffff, &device_id, err) < 0) {
        return -1;
    }
    /* A scan has thousands of functions for which this decides. */
    if (pci->filter.device >= 0 && (uint64_t)pci->filter.device != device_id) {
        *matches = false;
        return 0;
    }
    if (read_id(directory, path, name, "/vendor", 0xffff, &vendor_id, err) < 0) {
        return -1;
    }
    if ((pci->filter.device_class >= 0 || pci->filter.prog_if >= 0) &&
        read_id(directory, path, name, "/class", 0xffffff, &class, err) < 0) {
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

/* Whether the function at PATH below DIRECTORY is a virtual one, of *PHYSICAL. */
static bool read_physical(int directory, const char *path, struct bdf *physical)
{
    char target[PATH_MAX];
    CLEANUP_FREE char *link = text_join(path, "/physfn");
    ssize_t length = readlinkat(directory, link, target, sizeof target - 1);
    target[length > 0 ? length : 0] = '\0';
    const char *slash = strrchr(target, '/');
    return bdf_parse(slash ? slash + 1 : target, physical);
}

/* The function NAME, which is at PATH below DIRECTORY. */
static int look_up_at(struct pci *pci, int directory, const char *path, const char *name, struct known_function *known,
                      struct error *err)
{
    known->present = true;
    if (match_function(pci, directory, path, name, &known->matches, err) == 0) {
        return 0;
    }
    CLEANUP_FD int function = openat(directory, path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    int number = errno;
    if (function >= 0) {
        return error_wrap(err, "PCI function %s", name);
    }
    if (!means_missing(number)) {
        return error_set_errno(err, STATUS_HARDWARE, number, "cannot look at PCI function %s", name);
    }
    known->present = false; /* or it vanished while it was read */
    return 0;
}

static struct known_function *find_known(const struct pci *pci, struct bdf bdf)
{
    for (size_t i = 0; i < pci->known_count; i++) {
        if (bdf_compare(pci->known[i].bdf, bdf) == 0) {
            return &pci->known[i];
        }
    }
    return NULL;
}

int pci_look_up(struct pci *pci, struct bdf bdf, bool *present, bool *matches, struct error *err)
{
    const struct known_function *known = find_known(pci, bdf);
    if (!known) {
        char name[BDF_TEXT_SIZE];
        struct known_function found = {.bdf = bdf};
        CLEANUP_FREE char *path = paths_resolve(PATH_PCI_DEVICES "/%s", bdf_format(bdf, name));
        if (look_up_at(pci, AT_FDCWD, path, name, &found, err) < 0) {
            return -1;
        }
        pci->known = memory_grow(pci->known, pci->known_count + 1, sizeof *pci->known);
        pci->known[pci->known_count] = found;
        known = &pci->known[pci->known_count++];
    }
    *present = known->present;
    *matches = known->matches;
    return 0;
}

bool pci_physical_function(struct pci *pci, struct bdf bdf, struct bdf *physical)
{
    struct known_function *known = find_known(pci, bdf);
    if (!known || !known->present) {
        return false;
    }
    if (!known->has_physical) {
        char name[BDF_TEXT_SIZE];
        CLEANUP_FREE char *path = paths_resolve(PATH_PCI_DEVICES "/%s", bdf_format(bdf, name));
        known->is_virtual = read_physical(AT_FDCWD, path, &known->physical);
        known->has_physical = true;
    }
    if (known->is_virtual) {
        *physical = known->physical;
    }
    return known->is_virtual;
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
    struct known_function known = {.present = false};
    struct bdf bdf;
    struct bdf unused;
    if (name[0] == '.') {
        return 0;
    }
    if (!bdf_parse(name, &bdf)) {
        return error_set(err, STATUS_HARDWARE, "%s/%s is not the address of a PCI function", PATH_PCI_DEVICES, name);
    }
    if (look_up_at(pci, directory, name, name, &known, err) < 0) {
        return -1;
    }
    if (known.matches && !read_physical(directory, name, &unused)) {
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

enum { DEPTH_MAX = PCI_PATH_SIZE / 5 };

/* "pci0000:00", the name of a host bridge in /sys/devices. */
static bool is_host_bridge(const char *name)
{
    static const char digits[] = "0123456789abcdef";
    if (strncmp(name, "pci", 3) != 0) {
        return false;
    }
    size_t domain = strspn(name + 3, digits);
    return domain >= 4 && name[3 + domain] == ':' && strspn(name + 4 + domain, digits) == 2 && name[6 + domain] == '\0';
}

/* TARGET ends in ".../pci0000:00/0000:00:01.0/0000:08:00.0".  A host bridge may itself be behind a function (Intel
 * VMD): the one next to the card counts. */
static bool shorten_path(char *target, char path[PCI_PATH_SIZE])
{
    struct bdf steps[DEPTH_MAX];
    size_t count = 0;
    char *slash = strrchr(target, '/');
    while (slash && count < DEPTH_MAX && bdf_parse(slash + 1, &steps[count])) {
        count++;
        *slash = '\0';
        slash = strrchr(target, '/');
    }
    if (count == 0 || !slash || !is_host_bridge(slash + 1)) {
        return false;
    }
    size_t used = (size_t)snprintf(path, PCI_PATH_SIZE, "%s", slash + 1);
    for (size_t i = count; i > 0 && used < PCI_PATH_SIZE; i--) {
        used +=
            (size_t)snprintf(path + used, PCI_PATH_SIZE - used, "/%02x.%x", steps[i - 1].slot, steps[i - 1].function);
    }
    return used < PCI_PATH_SIZE;
}

int pci_card_path(struct bdf bdf, char path[PCI_PATH_SIZE])
{
    char name[BDF_TEXT_SIZE];
    char found[PCI_PATH_SIZE];
    char target[PATH_MAX];
    CLEANUP_FREE char *link = paths_resolve(PATH_PCI_DEVICES "/%s", bdf_format(bdf, name));
    /* Each hook asks for each card, and the link's own text has all of it. */
    ssize_t length = readlink(link, target, sizeof target - 1);
    int number = errno;
    if (length < 0) {
        return means_missing(number) || number == EINVAL ? 1 : -1;
    }
    target[length] = '\0';
    if (!shorten_path(target, found)) {
        return 1;
    }
    memcpy(path, found, sizeof found);
    return 0;
}

enum { CONFIG_SIZE = 4096, CONFIG_HEADER = 64, CONFIG_BASIC = 0x100, CAPABILITY_MIN = 8, CAPABILITY_SERIAL = 12 };

static uint32_t config_word(const unsigned char *config, size_t offset)
{
    uint32_t word;
    memcpy(&word, config + offset, sizeof word);
    return le32toh(word);
}

/* The offset of the capability in the extended configuration space, or 0.  Their list is bounded, for it may lead in
 * a circle. */
static size_t find_serial_capability(const unsigned char *config, size_t length)
{
    size_t offset = CONFIG_BASIC;
    for (int i = 0; i < (CONFIG_SIZE - CONFIG_BASIC) / CAPABILITY_MIN; i++) {
        if (offset < CONFIG_BASIC || offset + CAPABILITY_SERIAL > length) {
            return 0;
        }
        uint32_t header = config_word(config, offset);
        if (header == UINT32_MAX) {
            return 0;
        }
        if ((header & 0xffff) == PCI_EXT_CAP_ID_DSN) {
            return offset;
        }
        offset = header >> 20 & ~3u;
    }
    return 0;
}

int pci_card_serial(struct bdf bdf, char serial[PCI_SERIAL_SIZE])
{
    unsigned char config[CONFIG_SIZE];
    char name[BDF_TEXT_SIZE];
    struct stat facts;
    CLEANUP_FREE char *path = paths_resolve(PATH_PCI_DEVICES "/%s/config", bdf_format(bdf, name));
    CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
    int number = errno;
    if (fd < 0) {
        return means_missing(number) ? 1 : -1;
    }
    ssize_t length = pread(fd, config, sizeof config, 0);
    if (length < CONFIG_HEADER || config_word(config, 0) == UINT32_MAX) {
        return -1;
    }
    /* The kernel gives 64 bytes to others than root, and the size of all (pci_read_config, pci-sysfs.c). */
    if (length < CONFIG_SIZE && (fstat(fd, &facts) < 0 || length < facts.st_size)) {
        return -1;
    }
    size_t offset = find_serial_capability(config, (size_t)length);
    if (offset == 0) {
        return 1;
    }
    uint32_t low = config_word(config, offset + 4);
    uint32_t high = config_word(config, offset + 8);
    if (low == UINT32_MAX && high == UINT32_MAX) {
        return -1;
    }
    snprintf(serial, PCI_SERIAL_SIZE, "%02x-%02x-%02x-%02x-%02x-%02x-%02x-%02x", high >> 24, high >> 16 & 0xff,
             high >> 8 & 0xff, high & 0xff, low >> 24, low >> 16 & 0xff, low >> 8 & 0xff, low & 0xff);
    return 0;
}
