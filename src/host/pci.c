/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation
 *
 * libpci reads the functions' ids from sysfs and decides what an lspci filter
 * matches.  Two of its habits shape this file:
 *
 * - Its error callback must not return and its default one ends the process;
 *   it is reached by any function that vanishes while it is read.  So every
 *   call that can reach it runs inside guarded(), and the callback jumps back
 *   there.  Nothing that lives across the jump is a local variable of a
 *   function that the jump leaves: the device being read hangs on struct pci.
 * - Its scan leaks an open directory when it jumps out, and gives up at the
 *   first function that vanishes.  So the directory is listed here, and both
 *   questions (list, look up) read one function at a time: a look-up touches
 *   only the function it asks for, whatever the size of the host.
 *
 * libpci parses the ids with strtol and no check: junk would become id 0 and a
 * PPU would silently be none.  Their text is checked here once more.
 */
#include "host/pci.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pci/pci.h>
#include <setjmp.h>
#include <stdarg.h>
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

struct pci {
    struct pci_access *access;
    struct pci_filter filter;
    char *sysfs_path;       /* owned */
    struct bdf bdf;         /* the function being read */
    struct pci_dev *device; /* libpci's view of it, or NULL */
    bool fits;              /* it matches the filter */
    jmp_buf jump;
    char complaint[512]; /* libpci's, valid after the jump */
};

/* libpci gives its callbacks no argument: whose call is under way. */
static struct pci *guarded_pci;

static void on_error(char *message, ...) __attribute__((noreturn, format(printf, 1, 2)));
static void on_error(char *message, ...)
{
    va_list arguments;
    va_start(arguments, message);
    vsnprintf(guarded_pci->complaint, sizeof guarded_pci->complaint, message, arguments);
    va_end(arguments);
    longjmp(guarded_pci->jump, 1);
}

static void on_remark(char *message, ...) __attribute__((format(printf, 1, 2)));
static void on_remark(char *message, ...)
{
    (void)message;
}

/* Runs STEP with libpci's errors caught: false, and pci->complaint says why. */
static bool guarded(struct pci *pci, void (*step)(struct pci *pci))
{
    guarded_pci = pci;
    if (setjmp(pci->jump) != 0) {
        return false;
    }
    step(pci);
    return true;
}

static void step_init(struct pci *pci)
{
    pci_set_param(pci->access, "sysfs.path", pci->sysfs_path);
    pci_init(pci->access);
}

static void step_read_function(struct pci *pci)
{
    int fields = PCI_FILL_IDENT;
    if (pci->filter.device_class >= 0) {
        fields |= PCI_FILL_CLASS;
    }
    if (pci->filter.prog_if >= 0) {
        fields |= PCI_FILL_CLASS_EXT;
    }
    pci->device = pci_get_dev(pci->access, (int)pci->bdf.domain, pci->bdf.bus, pci->bdf.slot, pci->bdf.function);
    pci_fill_info(pci->device, fields);
    pci->fits = pci_filter_match(&pci->filter, pci->device) != 0;
}

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
    struct pci *opened = memory_alloc(1, sizeof *opened);
    const char *fault = parse_match(match, &opened->filter);
    if (fault) {
        free(opened);
        return error_set(err, STATUS_INVALID, "\"%s\" is not a PCI filter ([vendor]:[device][:class[:prog-if]]): %s",
                         match, fault);
    }
    opened->access = pci_alloc();
    opened->access->method = PCI_ACCESS_SYS_BUS_PCI;
    opened->access->error = on_error;
    opened->access->warning = on_remark;
    opened->access->debug = on_remark;
    opened->sysfs_path = paths_resolve("%s", PATH_SYSFS_PCI);
    if (!guarded(opened, step_init)) {
        error_set(err, STATUS_HARDWARE, "libpci cannot be used: %s", opened->complaint);
        pci_close(opened);
        return -1;
    }
    *pci = opened;
    return 0;
}

void pci_close(struct pci *pci)
{
    if (!pci) {
        return;
    }
    /* pci_cleanup uses the method's table, which pci_init sets last. */
    pci_cleanup(pci->access);
    free(pci->sysfs_path);
    free(pci);
}

/* What libpci took as a number is one, within its field.  Three system calls, as
 * a host may have thousands of functions. */
static int check_number(const char *function, const char *attribute, uint64_t max, struct error *err)
{
    char text[ATTRIBUTE_SIZE];
    CLEANUP_FREE char *path = paths_resolve("%s/%s/%s", PATH_PCI_DEVICES, function, attribute);
    CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    uint64_t value;
    if (length < 0) {
        return error_set_errno(err, STATUS_HARDWARE, errno, "cannot read %s", path);
    }
    text[length] = '\0';
    text[strcspn(text, "\n")] = '\0';
    if (!text_parse_number(text, max, &value)) {
        return error_set(err, STATUS_HARDWARE, "%s does not hold a number up to 0x%llx: \"%s\"", path,
                         (unsigned long long)max, text);
    }
    return 0;
}

static int read_function(struct pci *pci, const char *function, struct error *err)
{
    bool fine = guarded(pci, step_read_function);
    if (pci->device) {
        pci_free_dev(pci->device);
        pci->device = NULL;
    }
    if (!fine) {
        return error_set(err, STATUS_HARDWARE, "%s", pci->complaint);
    }
    if (check_number(function, "vendor", 0xffff, err) != 0 || check_number(function, "device", 0xffff, err) != 0) {
        return -1;
    }
    if (pci->filter.device_class < 0 && pci->filter.prog_if < 0) {
        return 0;
    }
    return check_number(function, "class", 0xffffff, err);
}

static bool function_exists(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0;
}

int pci_look_up(struct pci *pci, struct bdf bdf, bool *present, bool *matches, struct error *err)
{
    char function[BDF_TEXT_SIZE];
    CLEANUP_FREE char *path = paths_resolve("%s/%s", PATH_PCI_DEVICES, bdf_format(bdf, function));
    bool exists = function_exists(path);
    pci->bdf = bdf;
    pci->fits = false;
    if (exists && read_function(pci, function, err) != 0) {
        if (function_exists(path)) {
            return error_wrap(err, "PCI function %s", function);
        }
        exists = false; /* it vanished while it was read */
    }
    *present = exists;
    *matches = exists && pci->fits;
    return 0;
}

struct function_list {
    struct bdf *items;
    size_t count;
    size_t room;
};

static void add_function(struct function_list *list, struct bdf bdf)
{
    if (list->count == list->room) {
        list->room = list->room == 0 ? 16 : 2 * list->room;
        list->items = memory_grow(list->items, list->room, sizeof *list->items);
    }
    list->items[list->count++] = bdf;
}

static int compare_functions(const void *a, const void *b)
{
    return bdf_compare(*(const struct bdf *)a, *(const struct bdf *)b);
}

/* One directory entry: adds it to LIST if it matches. */
static int consider(struct pci *pci, const char *name, struct function_list *list, struct error *err)
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
    if (pci_look_up(pci, bdf, &present, &matches, err) != 0) {
        return -1;
    }
    if (matches) {
        add_function(list, bdf);
    }
    return 0;
}

static int consider_all(struct pci *pci, DIR *directory, struct function_list *list, struct error *err)
{
    const struct dirent *entry;
    for (;;) {
        errno = 0;
        entry = readdir(directory);
        if (!entry) {
            int number = errno;
            return number == 0 ? 0 : error_set_errno(err, STATUS_HARDWARE, number, "cannot list the PCI functions");
        }
        if (consider(pci, entry->d_name, list, err) != 0) {
            return -1;
        }
    }
}

int pci_list_matching(struct pci *pci, struct bdf **functions, size_t *count, struct error *err)
{
    CLEANUP_FREE char *path = paths_resolve("%s", PATH_PCI_DEVICES);
    struct function_list list = {0};
    DIR *directory = opendir(path);
    int result;
    if (!directory) {
        return error_set_errno(err, STATUS_HARDWARE, errno, "cannot list the PCI functions: %s", path);
    }
    result = consider_all(pci, directory, &list, err);
    closedir(directory);
    if (result != 0) {
        free(list.items);
        return -1;
    }
    if (list.count > 1) {
        qsort(list.items, list.count, sizeof *list.items, compare_functions);
    }
    *functions = list.items;
    *count = list.count;
    return 0;
}
