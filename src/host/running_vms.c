/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation: libvirt writes a status file to NAME.xml.new and renames
 * it, and removes it when its domain is gone, so a file that is there is whole,
 * and one that was listed may have vanished.  A name that begins with a dot is
 * a domain's as any other.  The directory also holds pid files, sockets and
 * directories (autostart, dump, channel, …), none of which ends in ".xml".
 *
 * A hook does this for every VM of the host, and has the lock meanwhile: one open, one
 * read, and no parser for a VM without host device.  libxml2 needs 0.3 ms for such a
 * file.
 *
 * An element that gives a VM a host PCI device has one of four words in the file:
 *     hostdev   <hostdev>, <interface type='hostdev'>, <actual type='hostdev'>
 *     nvme      <disk type='nvme'>, and what nests in it
 *     vfio      <qemu:arg value='vfio-pci,…'/>
 *     the name of QEMU's namespace, without which there is no <qemu:commandline>
 *               and no <qemu:override>, however their values are written
 * The words count from <domain on: <qemuCaps> before it names vfio in every file.
 *
 * libvirt (virDomainObjFormat, virXMLSaveFile) writes a comment, <domstatus> with the
 * pid, a lot, and last <domain>, which begins with <name> and <uuid>.  A file that
 * differs from that, as a cut one does, is left to the parser, and so is one with a
 * character reference after <domain, which could spell a word.
 */
#include "host/running_vms.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/paths.h"

/* What is left of the text. */
struct scan {
    const char *at;
    const char *end;
};

static void scan_blanks(struct scan *scan)
{
    while (scan->at < scan->end && (*scan->at == ' ' || *scan->at == '\n' || *scan->at == '\t')) {
        scan->at++;
    }
}

static bool scan_word(struct scan *scan, const char *word)
{
    size_t length = strlen(word);
    if ((size_t)(scan->end - scan->at) < length || memcmp(scan->at, word, length) != 0) {
        return false;
    }
    scan->at += length;
    return true;
}

/* Goes to the next BYTE and returns how many bytes are before it. */
static bool scan_to(struct scan *scan, char byte, size_t *length)
{
    const char *found = memchr(scan->at, byte, (size_t)(scan->end - scan->at));
    if (!found) {
        return false;
    }
    *length = (size_t)(found - scan->at);
    scan->at = found;
    return true;
}

static bool scan_comment(struct scan *scan)
{
    scan_blanks(scan);
    if (!scan_word(scan, "<!--")) {
        return true;
    }
    const char *end = memmem(scan->at, (size_t)(scan->end - scan->at), "-->", 3);
    if (!end) {
        return false;
    }
    scan->at = end + 3;
    scan_blanks(scan);
    return true;
}

/* The rest of a start tag.  The value of the attribute pid goes to PID, if that is not
 * NULL; it is 0 if there is none. */
static bool scan_attributes(struct scan *scan, uint64_t *pid)
{
    for (;;) {
        const char *name = scan->at;
        size_t name_length;
        size_t length;
        char digits[16] = "";
        scan_blanks(scan);
        if (scan_word(scan, ">")) {
            return true;
        }
        if (scan->at == name || (name = scan->at, !scan_to(scan, '=', &name_length))) {
            return false;
        }
        scan->at++;
        char quote = scan->at < scan->end ? *scan->at : '\0';
        const char *value = ++scan->at;
        if ((quote != '\'' && quote != '"') || value > scan->end || !scan_to(scan, quote, &length) ||
            memchr(value, '<', length) || memchr(value, '&', length)) {
            return false;
        }
        scan->at++;
        if (pid && name_length == 3 && memcmp(name, "pid", 3) == 0) {
            if (*pid != 0 || length >= sizeof digits) {
                return false;
            }
            memcpy(digits, value, length);
            if (!text_parse_number(digits, INT_MAX, pid)) {
                return false;
            }
        }
    }
}

/* <NAME>text</NAME>, without anything that XML would have to decode. */
static bool scan_element(struct scan *scan, const char *open, const char *close, const char **text, size_t *length)
{
    scan_blanks(scan);
    if (!scan_word(scan, open)) {
        return false;
    }
    *text = scan->at;
    return scan_to(scan, '<', length) && !memchr(*text, '&', *length) && scan_word(scan, close);
}

/* Characters that XML allows and that need no second thought. */
static bool is_plain_text(const char *text)
{
    while (*text != '\0') {
        size_t length = text_utf8_length(text);
        if (length == 0 || (unsigned char)*text < 0x20 || *text == 0x7f) {
            return false;
        }
        text += length;
    }
    return true;
}

static bool scan_ends(struct scan scan)
{
    static const char *const tails[] = {"</domstatus>", "</domain>"};
    for (size_t i = 0; i < sizeof tails / sizeof tails[0]; i++) {
        size_t length = strlen(tails[i]);
        while (scan.end > scan.at && (scan.end[-1] == '\n' || scan.end[-1] == ' ')) {
            scan.end--;
        }
        if ((size_t)(scan.end - scan.at) < length || memcmp(scan.end - length, tails[i], length) != 0) {
            return false;
        }
        scan.end -= length;
    }
    return true;
}

static bool is_at(const struct scan *scan, ptrdiff_t offset, const char *word)
{
    const char *start = scan->at + offset;
    size_t length = strlen(word);
    return (size_t)(scan->end - start) >= length && memcmp(start, word, length) == 0;
}

/* Each of the words has a 'v', which is rare, and memchr is many times faster than
 * memmem.  What is before <domain keeps the offsets within the text. */
static bool may_have_host_device(struct scan scan)
{
    size_t skipped;
    for (; scan_to(&scan, 'v', &skipped); scan.at++) {
        if (is_at(&scan, 0, "vfio") || is_at(&scan, -1, "nvme") || is_at(&scan, -6, "hostdev") ||
            is_at(&scan, 0, "virt.org/schemas/domain/qemu")) {
            return true;
        }
    }
    return false;
}

static bool has_character_reference(struct scan scan)
{
    size_t skipped;
    for (; scan_to(&scan, '&', &skipped); scan.at++) {
        if (is_at(&scan, 0, "&#")) {
            return true;
        }
    }
    return false;
}

/* Goes to <domain.  A 'd' is rarer in <qemuCaps> than a '<'. */
static bool scan_to_domain(struct scan *scan)
{
    size_t skipped;
    for (; scan_to(scan, 'd', &skipped); scan->at++) {
        if (is_at(scan, 0, "domain ") && scan->at[-1] == '<') {
            scan->at--;
            return true;
        }
    }
    return false;
}

bool status_file_scan(const char *text, size_t length, struct domain *domain)
{
    struct scan scan = {text, text + length};
    const char *name;
    const char *uuid;
    size_t name_length;
    size_t uuid_length;
    uint64_t pid = 0;
    char uuid_text[64] = "";
    struct domain found = {0};
    if (memchr(text, '\0', length) || !scan_comment(&scan) || !scan_word(&scan, "<domstatus") ||
        !scan_attributes(&scan, &pid) || pid == 0) {
        return false;
    }
    if (!scan_to_domain(&scan) || !scan_ends(scan) || may_have_host_device(scan) || has_character_reference(scan)) {
        return false;
    }
    scan.at += strlen("<domain"); /* the attributes begin with the blank */
    if (!scan_attributes(&scan, NULL) || !scan_element(&scan, "<name>", "</name>", &name, &name_length) ||
        !scan_element(&scan, "<uuid>", "</uuid>", &uuid, &uuid_length) || uuid_length >= sizeof uuid_text) {
        return false;
    }
    memcpy(uuid_text, uuid, uuid_length);
    if (!text_parse_uuid(uuid_text, found.uuid)) {
        return false;
    }
    found.pid = (pid_t)pid;
    found.name = memory_alloc(name_length + 1, 1);
    memcpy(found.name, name, name_length);
    if (!is_plain_text(found.name)) {
        free(found.name);
        return false;
    }
    *domain = found;
    return true;
}

/* What is used again for each file. */
struct status_reading {
    int directory;
    const char *path; /* of the directory */
    const struct text_list *wanted;
    char *text;      /* owned */
    size_t capacity; /* bytes at TEXT */
    size_t length;
};

static bool is_status_name(const char *name)
{
    static const char suffix[] = ".xml";
    size_t length = strlen(name);
    return length >= sizeof suffix && strcmp(name + length - (sizeof suffix - 1), suffix) == 0;
}

/* libvirt never changes a file in place, so one read gives all of it. */
static int read_whole(struct status_reading *reading, int fd, const char *name, struct error *err)
{
    struct stat facts;
    if (fstat(fd, &facts) < 0 || !S_ISREG(facts.st_mode)) {
        return error_set(err, STATUS_INVALID, "%s/%s is not a regular file", reading->path, name);
    }
    if (facts.st_size > DOMAIN_XML_LIMIT) {
        return error_set(err, STATUS_INVALID, "%s/%s is larger than %d bytes", reading->path, name, DOMAIN_XML_LIMIT);
    }
    size_t size = (size_t)facts.st_size;
    if (reading->capacity < size + 1) {
        reading->capacity = 2 * (size + 1);
        reading->text = memory_grow(reading->text, reading->capacity, 1);
    }
    ssize_t got = read(fd, reading->text, size + 1);
    if (got < 0) {
        int number = errno;
        return error_set_errno(err, STATUS_HARDWARE, number, "cannot read %s/%s", reading->path, name);
    }
    if ((size_t)got != size) {
        return error_set(err, STATUS_HARDWARE, "%s/%s changed while it was read", reading->path, name);
    }
    reading->length = size;
    return 0;
}

/* 1: the text is read; 0: the file is gone; -1: it cannot be used. */
static int read_status_file(struct status_reading *reading, const char *name, struct error *err)
{
    CLEANUP_FD int fd = openat(reading->directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) {
        int number = errno;
        return number == ENOENT
                   ? 0
                   : error_set_errno(err, STATUS_HARDWARE, number, "cannot open %s/%s", reading->path, name);
    }
    return read_whole(reading, fd, name, err) < 0 ? -1 : 1;
}

/* 1: VM is filled; 0: the file is gone; -1: it cannot be used. */
static int load_vm(struct status_reading *reading, const char *name, struct running_vm *vm, struct error *err)
{
    int result = read_status_file(reading, name, err);
    if (result <= 0) {
        return result;
    }
    bool is_parsed = !status_file_scan(reading->text, reading->length, &vm->domain) ||
                     (reading->wanted && text_list_has(reading->wanted, vm->domain.uuid));
    if (is_parsed) {
        domain_free(&vm->domain);
        CLEANUP_FREE char *path = paths_resolve("%s/%s", reading->path, name);
        if (domain_parse(reading->text, reading->length, path, &vm->domain, err) < 0) {
            return -1;
        }
    }
    if (vm->domain.pid == 0) {
        domain_free(&vm->domain);
        return error_set(err, STATUS_INVALID, "%s/%s: it names no process (<domstatus pid=…>)", reading->path, name);
    }
    vm->process.pid = vm->domain.pid;
    vm->lives = is_parsed ? process_find(vm->domain.pid, &vm->process) : process_pid_exists(vm->domain.pid);
    return 1;
}

static void add_vm(struct running_vms *running, struct status_reading *reading, const char *name)
{
    struct running_vm vm = {0};
    struct error err;
    int result = load_vm(reading, name, &vm, &err);
    if (result < 0) {
        text_list_add(&running->warnings, "%s; its VM, and the cards that it has, are not known", err.text);
    }
    if (result <= 0) {
        return;
    }
    running->vms = memory_grow(running->vms, running->count + 1, sizeof *running->vms);
    running->vms[running->count++] = vm;
}

int running_vms_load(struct running_vms *running, const struct text_list *wanted, struct error *err)
{
    CLEANUP_FREE char *path = paths_resolve("%s", PATH_LIBVIRT_STATUS);
    CLEANUP_FD int directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct running_vms result = {0};
    struct text_list names = {0};
    if (directory < 0) {
        int number = errno;
        if (number != ENOENT) {
            return error_set_errno(err, STATUS_HARDWARE, number, "cannot open libvirt's directory %s", path);
        }
        *running = result;
        return 0;
    }
    if (file_list_at(directory, path, &names, err) < 0) {
        return -1;
    }
    struct status_reading reading = {
        .directory = directory, .path = path, .wanted = wanted, .text = memory_alloc(1, 1), .capacity = 1};
    for (size_t i = 0; i < names.count; i++) {
        if (is_status_name(names.items[i])) {
            add_vm(&result, &reading, names.items[i]);
        }
    }
    text_list_free(&names);
    free(reading.text);
    *running = result;
    return 0;
}

const struct running_vm *running_vms_find(const struct running_vms *running, const char *uuid)
{
    const struct running_vm *found = NULL;
    for (size_t i = 0; i < running->count; i++) {
        const struct running_vm *vm = &running->vms[i];
        if (strcmp(vm->domain.uuid, uuid) == 0 && (!found || (vm->lives && !found->lives))) {
            found = vm;
        }
    }
    return found;
}

void running_vms_free(struct running_vms *running)
{
    for (size_t i = 0; i < running->count; i++) {
        domain_free(&running->vms[i].domain);
    }
    free(running->vms);
    text_list_free(&running->warnings);
    *running = (struct running_vms){0};
}
