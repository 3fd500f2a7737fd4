/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/topology_file.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"

enum { FILE_LIMIT = 4 << 20, LINE_LIMIT = 128, NO_SECTION = -2, NO_ID = -1 };

/* Lines are remembered, so that a fault of the whole can name one. */
struct topology_reading {
    const char *name;
    struct error *err;
    int line;
    int ppu;                /* of the section being read, or NO_SECTION, NO_ID */
    int sections;           /* device lines so far */
    int section_line;       /* the present section's device line */
    char device[16];        /* and its number, as written */
    int ppu_lines[PPU_MAX]; /* 0 = id not seen */
    int link_lines[PPU_MAX][LINK_MAX];
    struct topology topology; /* while it is read, a neighbour without a section is there by its id */
};

static PRINTF_LIKE(3, 4) int refuse_topology(struct topology_reading *reading, int line, const char *format, ...)
{
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return error_set(reading->err, STATUS_INVALID, "%s:%d: %s", reading->name, line, text);
}

static const char *skip(const char *text, const char *characters)
{
    return text + strspn(text, characters);
}

/* True if TEXT starts with PREFIX; *rest is what follows it. */
static bool skip_prefix(const char *text, const char *prefix, const char **rest)
{
    size_t length = strlen(prefix);
    if (strncmp(text, prefix, length) != 0) {
        return false;
    }
    *rest = text + length;
    return true;
}

/* The decimal number at TEXT, whose digits end before *rest. */
static bool take_decimal(const char *text, unsigned int *number, const char **rest)
{
    char digits[16];
    size_t length = strspn(text, "0123456789");
    uint64_t value;
    if (length >= sizeof digits) {
        return false;
    }
    memcpy(digits, text, length);
    digits[length] = '\0';
    if (!text_parse_number(digits, INT32_MAX, &value)) {
        return false;
    }
    *number = (unsigned int)value;
    *rest = text + length;
    return true;
}

/* ==========device0========== */
static bool parse_section(const char *line, unsigned int *device)
{
    const char *rest;
    if (line[0] != '=' || !skip_prefix(skip(line, "="), "device", &rest) || !take_decimal(rest, device, &rest)) {
        return false;
    }
    return rest[0] == '=' && *skip(rest, "=") == '\0';
}

/* ppuid: 0 */
static bool parse_ppu(const char *line, unsigned int *ppu)
{
    const char *rest;
    return skip_prefix(line, "ppuid:", &rest) && take_decimal(skip(rest, " \t"), ppu, &rest) && *rest == '\0';
}

/* link[3]: nbrPpuid:2 */
static bool parse_link(const char *line, unsigned int *link, unsigned int *peer)
{
    const char *rest;
    return skip_prefix(line, "link[", &rest) && take_decimal(rest, link, &rest) && skip_prefix(rest, "]:", &rest) &&
           skip_prefix(skip(rest, " \t"), "nbrPpuid:", &rest) && take_decimal(skip(rest, " \t"), peer, &rest) &&
           *rest == '\0';
}

/* The section that ends here must have said its id. */
static int end_section(struct topology_reading *reading)
{
    if (reading->ppu == NO_ID) {
        return refuse_topology(reading, reading->section_line, "device%s has no \"ppuid:\" line", reading->device);
    }
    return 0;
}

static int take_section(struct topology_reading *reading, unsigned int device)
{
    if (end_section(reading) < 0) {
        return -1;
    }
    if (reading->sections == PPU_MAX) {
        return refuse_topology(reading, reading->line, "more than %d devices", PPU_MAX);
    }
    reading->sections++;
    reading->section_line = reading->line;
    reading->ppu = NO_ID;
    snprintf(reading->device, sizeof reading->device, "%u", device);
    return 0;
}

static int take_ppu(struct topology_reading *reading, unsigned int ppu)
{
    if (reading->ppu == NO_SECTION) {
        return refuse_topology(reading, reading->line, "a \"ppuid:\" line before the first device line");
    }
    if (reading->ppu != NO_ID) {
        return refuse_topology(reading, reading->line, "device%s has a second \"ppuid:\" line", reading->device);
    }
    if (ppu >= PPU_MAX) {
        return refuse_topology(reading, reading->line, "ppuid %u is above %d", ppu, PPU_MAX - 1);
    }
    if (reading->ppu_lines[ppu] != 0) {
        return refuse_topology(reading, reading->line, "ppuid %u is already used in line %d", ppu,
                               reading->ppu_lines[ppu]);
    }
    reading->ppu = (int)ppu;
    reading->ppu_lines[ppu] = reading->line;
    return 0;
}

static int take_link(struct topology_reading *reading, unsigned int link, unsigned int peer)
{
    if (reading->ppu < 0) {
        return refuse_topology(reading, reading->line, "a link before its device's \"ppuid:\" line");
    }
    if (link >= LINK_MAX) {
        return refuse_topology(reading, reading->line, "link index %u is above %d", link, LINK_MAX - 1);
    }
    if (reading->link_lines[reading->ppu][link] != 0) {
        return refuse_topology(reading, reading->line, "link[%u] of PPU %d is already in line %d", link, reading->ppu,
                               reading->link_lines[reading->ppu][link]);
    }
    reading->link_lines[reading->ppu][link] = reading->line;
    reading->topology.peer[reading->ppu][link] = peer < PPU_MAX ? (int16_t)peer : EXTERNAL_PEER;
    return 0;
}

/* The line as it is quoted: a no-break space looks like one of ours, so each byte above 0x7f is shown by its number. */
static const char *quote_line(const char *line, char text[4 * LINE_LIMIT + 1])
{
    size_t used = 0;
    for (; *line; line++) {
        unsigned char byte = (unsigned char)*line;
        used += (size_t)snprintf(text + used, 4 * LINE_LIMIT + 1 - used, byte > 0x7f ? "\\x%02x" : "%c", byte);
    }
    return text;
}

static int take_topology_line(struct topology_reading *reading, const char *line)
{
    char quoted[4 * LINE_LIMIT + 1] = "";
    unsigned int number;
    unsigned int peer;
    if (line[0] == '\0' || line[0] == '#') {
        return 0;
    }
    if (parse_section(line, &number)) {
        return take_section(reading, number);
    }
    if (parse_ppu(line, &number)) {
        return take_ppu(reading, number);
    }
    if (parse_link(line, &number, &peer)) {
        return take_link(reading, number, peer);
    }
    return refuse_topology(reading, reading->line,
                           "\"%s\" is none of \"==========deviceN==========\", \"ppuid: N\", \"link[N]: nbrPpuid:N\"",
                           quote_line(line, quoted));
}

/* One line without its end, trimmed and zero-terminated for take_topology_line(). */
static int read_topology_line(struct topology_reading *reading, const char *start, size_t length)
{
    char line[LINE_LIMIT + 1];
    if (length > 0 && start[length - 1] == '\r') {
        length--;
    }
    while (length > 0 && (start[length - 1] == ' ' || start[length - 1] == '\t')) {
        length--;
    }
    while (length > 0 && (*start == ' ' || *start == '\t')) {
        start++;
        length--;
    }
    if (memchr(start, '\0', length)) {
        return refuse_topology(reading, reading->line, "the line holds a NUL byte");
    }
    if (length > 0 && *start == '#') {
        return 0;
    }
    if (length > LINE_LIMIT) {
        return refuse_topology(reading, reading->line, "the line is longer than %d bytes", LINE_LIMIT);
    }
    memcpy(line, start, length);
    line[length] = '\0';
    return take_topology_line(reading, line);
}

static int count_links_between(const struct topology *topology, int ppu, int peer)
{
    int count = 0;
    for (int link = 0; link < LINK_MAX; link++) {
        count += topology->peer[ppu][link] == peer;
    }
    return count;
}

static int check_topology_links(struct topology_reading *reading)
{
    const struct topology *topology = &reading->topology;
    struct topology_fault fault = topology_validate(topology);
    int line = fault.ppu >= 0 && fault.link >= 0 ? reading->link_lines[fault.ppu][fault.link] : 0;
    switch (fault.kind) {
    case TOPOLOGY_FINE:
        return 0;
    case TOPOLOGY_EMPTY:
        return error_set(reading->err, STATUS_INVALID, "%s: there is no device in it", reading->name);
    case TOPOLOGY_NO_LINKS:
        return error_set(reading->err, STATUS_INVALID,
                         "%s: %d devices and no link: all links were cut or down when it was written; write it again "
                         "while they are up",
                         reading->name, topology->ppu_count);
    case TOPOLOGY_SELF_LINK:
        return refuse_topology(reading, line, "link[%d] of PPU %d leads back to PPU %d", fault.link, fault.ppu,
                               fault.peer);
    case TOPOLOGY_UNKNOWN_NEIGHBOUR: /* external by now */
    case TOPOLOGY_MISPAIRED:         /* the file does not tell pairs */
    case TOPOLOGY_ONE_SIDED:
        break;
    }
    return refuse_topology(reading, line, "links between PPU %d and PPU %d: PPU %d lists %d, but PPU %d lists %d",
                           fault.ppu, fault.peer, fault.ppu, count_links_between(topology, fault.ppu, fault.peer),
                           fault.peer, count_links_between(topology, fault.peer, fault.ppu));
}

int topology_file_parse(const char *text, size_t length, const char *name, struct topology *topology, struct error *err)
{
    CLEANUP_FREE struct topology_reading *reading = memory_alloc(1, sizeof *reading);
    const char *end = text + length;
    static const char byte_order_mark[] = {'\xef', '\xbb', '\xbf'};
    if (length >= sizeof byte_order_mark && memcmp(text, byte_order_mark, sizeof byte_order_mark) == 0) {
        text += sizeof byte_order_mark;
    }
    reading->name = name;
    reading->err = err;
    reading->ppu = NO_SECTION;
    topology_clear(&reading->topology, 0);
    while (text < end) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        const char *line_end = newline ? newline : end;
        reading->line++;
        if (read_topology_line(reading, text, (size_t)(line_end - text)) < 0) {
            return -1;
        }
        text = newline ? newline + 1 : end;
    }
    if (end_section(reading) < 0) {
        return -1;
    }
    for (int ppu = reading->sections; ppu < PPU_MAX; ppu++) {
        if (reading->ppu_lines[ppu] != 0) {
            return refuse_topology(reading, reading->ppu_lines[ppu], "ppuid %d: the ids of %d devices must be 0 to %d",
                                   ppu, reading->sections, reading->sections - 1);
        }
    }
    reading->topology.ppu_count = reading->sections;
    for (int ppu = 0; ppu < reading->sections; ppu++) {
        for (int link = 0; link < LINK_MAX; link++) {
            int16_t *peer = &reading->topology.peer[ppu][link];
            *peer = *peer >= reading->sections ? EXTERNAL_PEER : *peer;
        }
    }
    if (check_topology_links(reading) < 0) {
        return -1;
    }
    *topology = reading->topology;
    return 0;
}

int topology_file_load(const char *path, struct topology *topology, struct error *err)
{
    struct buffer content = {0};
    if (file_read(path, FILE_LIMIT, &content, NULL, err) < 0) {
        return -1;
    }
    int result = topology_file_parse(content.data, content.length, path, topology, err);
    buffer_free(&content);
    return result;
}
