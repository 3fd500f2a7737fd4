/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation: a hook reads the status files of all VMs of the host, while
 * it holds the lock, and nearly all of them have no host device.  libxml2 needs 0.3 ms
 * for such a file, so they are recognised without it.
 *
 * Whatever gives a VM a host PCI device has one of four words in the file:
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

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

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

bool status_file_scan(const char *text, size_t length, struct domain *domain)
{
    static const char domain_start[] = "<domain ";
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
    scan.at = memmem(scan.at, (size_t)(scan.end - scan.at), domain_start, sizeof domain_start - 1);
    if (!scan.at || !scan_ends(scan) || may_have_host_device(scan) || has_character_reference(scan)) {
        return false;
    }
    scan.at += sizeof domain_start - 2; /* the attributes begin with the blank */
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
