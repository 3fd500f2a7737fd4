/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "hook/scan.h"

#include <string.h>

#include "hook/plain.h"

/*
 * Theory of operation: a walk over the tags, not a parser.  It knows where a
 * tag begins and ends, which keeps text, comments, CDATA and the foreign XML
 * in <metadata> from being taken for devices, and checks only as much of
 * well-formedness as it needs to trust that.
 *
 * Every function returns true for "nothing found, go on".  False ends the walk
 * and counts as a host device, be it one or a doubt.
 */

struct name {
    const char *start;
    size_t length;
};

enum { DEPTH_MAX = 512 };

struct scanner {
    const char *at;
    const char *end;
    int depth;         /* elements open now */
    int skipped_depth; /* depth of <metadata> and the like while inside; 0 = outside */
    bool root_seen;
    struct name open[DEPTH_MAX]; /* their names */
};

/* What the attributes of the element being read have told. */
struct element {
    struct name name;
    struct name local; /* name without prefix */
    bool judged;       /* false inside of what is skipped */
    bool other_bus;    /* type= says usb, scsi or scsi_host */
};

static bool name_is(struct name name, const char *text)
{
    return name.length == strlen(text) && memcmp(name.start, text, name.length) == 0;
}

static bool name_has(struct name name, const char *text)
{
    return memmem(name.start, name.length, text, strlen(text));
}

static bool is_name_byte(char byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9') ||
           byte == '-' || byte == '_' || byte == '.' || byte == ':' || (unsigned char)byte >= 0x80;
}

static bool scan_sees(const struct scanner *scanner, const char *text)
{
    size_t length = strlen(text);
    return (size_t)(scanner->end - scanner->at) >= length && memcmp(scanner->at, text, length) == 0;
}

static bool skip_past(struct scanner *scanner, const char *text)
{
    const char *found = memmem(scanner->at, (size_t)(scanner->end - scanner->at), text, strlen(text));
    if (!found) {
        return false;
    }
    scanner->at = found + strlen(text);
    return true;
}

static bool scan_name(struct scanner *scanner, struct name *name)
{
    const char *start = scanner->at;
    while (scanner->at < scanner->end && is_name_byte(*scanner->at)) {
        scanner->at++;
    }
    *name = (struct name){start, (size_t)(scanner->at - start)};
    return name->length > 0;
}

static struct name without_prefix(struct name name)
{
    const char *colon = memrchr(name.start, ':', name.length);
    if (colon) {
        name.length -= (size_t)(colon + 1 - name.start);
        name.start = colon + 1;
    }
    return name;
}

/* <hostdev> is judged when its tag ends: without a type it counts, too. */
static bool judge_type(struct element *element, struct name value)
{
    if (name_has(value, "&") || name_is(value, "nvme")) {
        return false;
    }
    if (name_is(element->local, "hostdev")) {
        element->other_bus = name_is(value, "usb") || name_is(value, "scsi") || name_is(value, "scsi_host");
        return element->other_bus;
    }
    if (name_is(element->local, "interface") || name_is(element->local, "actual")) {
        return !name_is(value, "hostdev");
    }
    return true;
}

static bool judge_attribute(struct element *element, struct name name, struct name value)
{
    if (!element->judged) {
        return true;
    }
    if (name_is(name, "type") && !judge_type(element, value)) {
        return false;
    }
    /* <qemu:arg> and <qemu:property>: text for QEMU's command line, where letters can be
     * hidden in XML's way or in JSON's. */
    if (name_is(element->local, "arg") || name_is(element->local, "property")) {
        return !name_has(value, "vfio") && !name_has(value, "&#") && !name_has(value, "\\u");
    }
    return true;
}

static bool scan_attribute(struct scanner *scanner, struct element *element)
{
    struct name name;
    if (!scan_name(scanner, &name)) {
        return false;
    }
    scanner->at = plain_skip_blanks(scanner->at, scanner->end);
    if (!scan_sees(scanner, "=")) {
        return false;
    }
    scanner->at++;
    scanner->at = plain_skip_blanks(scanner->at, scanner->end);
    if (!scan_sees(scanner, "'") && !scan_sees(scanner, "\"")) {
        return false;
    }
    const char *start = scanner->at + 1;
    const char *quote = memchr(start, *scanner->at, (size_t)(scanner->end - start));
    if (!quote || memchr(start, '<', (size_t)(quote - start))) {
        return false;
    }
    scanner->at = quote + 1;
    return judge_attribute(element, name, (struct name){start, (size_t)(quote - start)});
}

static bool scan_start_tag(struct scanner *scanner)
{
    struct element element = {.judged = scanner->skipped_depth == 0};
    scanner->at++;
    if (!scan_name(scanner, &element.name)) {
        return false;
    }
    element.local = without_prefix(element.name);
    if (scanner->depth == 0 && (scanner->root_seen || !name_is(element.name, "domain"))) {
        return false;
    }
    scanner->root_seen = true;

    for (;;) {
        const char *before = scanner->at;
        scanner->at = plain_skip_blanks(scanner->at, scanner->end);
        if (scan_sees(scanner, ">") || scan_sees(scanner, "/>")) {
            break;
        }
        if (scanner->at == before || !scan_attribute(scanner, &element)) {
            return false;
        }
    }
    if (element.judged && name_is(element.local, "hostdev") && !element.other_bus) {
        return false;
    }
    if (*scanner->at == '/') {
        scanner->at += 2;
        return true;
    }
    scanner->at++;
    if (scanner->depth == DEPTH_MAX) {
        return false;
    }
    scanner->open[scanner->depth++] = element.name;
    if (scanner->depth == 2 &&
        (name_is(element.name, "metadata") || name_is(element.name, "title") || name_is(element.name, "description"))) {
        scanner->skipped_depth = scanner->depth;
    }
    return true;
}

static bool scan_end_tag(struct scanner *scanner)
{
    struct name name;
    scanner->at += 2;
    if (!scan_name(scanner, &name)) {
        return false;
    }
    scanner->at = plain_skip_blanks(scanner->at, scanner->end);
    if (!scan_sees(scanner, ">") || scanner->depth == 0) {
        return false;
    }
    scanner->at++;
    if (scanner->skipped_depth == scanner->depth) {
        scanner->skipped_depth = 0;
    }
    struct name opened = scanner->open[--scanner->depth];
    return opened.length == name.length && memcmp(opened.start, name.start, name.length) == 0;
}

static bool scan_piece(struct scanner *scanner)
{
    if (!scan_sees(scanner, "<")) {
        const char *start = scanner->at;
        while (scanner->at < scanner->end && *scanner->at != '<') {
            scanner->at++;
        }
        return scanner->depth > 0 || plain_skip_blanks(start, scanner->at) == scanner->at;
    }
    if (scan_sees(scanner, "</")) {
        return scan_end_tag(scanner);
    }
    if (scan_sees(scanner, "<?")) {
        return skip_past(scanner, "?>");
    }
    if (scan_sees(scanner, "<!--")) {
        scanner->at += 4;
        return skip_past(scanner, "-->");
    }
    if (scan_sees(scanner, "<![CDATA[")) {
        return scanner->depth > 0 && skip_past(scanner, "]]>");
    }
    return scan_start_tag(scanner);
}

bool scan_holds_host_device(const char *text, size_t length)
{
    struct scanner scanner = {.at = text, .end = text + length};
    if (!plain_is_bytewise(text, length)) {
        return true;
    }
    if (scan_sees(&scanner, "\xef\xbb\xbf")) {
        scanner.at += 3;
    }
    while (scanner.at < scanner.end) {
        if (!scan_piece(&scanner)) {
            return true;
        }
    }
    return !scanner.root_seen || scanner.depth > 0;
}
