/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The text: one line each for
 *
 *   icn-hook/identity/1 BOOT_ID
 *   ppus COUNT
 *   pin ID BDF [path=PATH] [serial=SERIAL]     ids ascending
 *   link ID.LINK END                           ascending; END is the PPU at the other end, with .LINK where the
 *                                              link there is known, or "external"
 *
 * It is read leniently and then written again: only what comes out as the very same text is taken.
 */
#include "host/boot_identity.h"

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/text.h"

#define SCHEMA "icn-hook/identity/1"
#define EXTERNAL "external"

enum { LINE_SIZE = 512 };

_Static_assert((int)LINE_SIZE > (int)PIN_PATH_SIZE + (int)PIN_SERIAL_SIZE + 64, "a line holds a pin");

static const char blanks[] = " ";

/* A text that grows. */
struct writer {
    char *text;
    size_t length;
    size_t room;
};

static PRINTF_LIKE(2, 3) void put_line(struct writer *writer, const char *format, ...)
{
    va_list arguments;
    if (writer->room - writer->length < LINE_SIZE) {
        writer->room = 2 * (writer->room + LINE_SIZE);
        writer->text = memory_grow(writer->text, writer->room, 1);
    }
    va_start(arguments, format);
    writer->length +=
        (size_t)vsnprintf(writer->text + writer->length, writer->room - writer->length, format, arguments);
    va_end(arguments);
    writer->text[writer->length++] = '\n';
    writer->text[writer->length] = '\0';
}

/* " path=PATH serial=SERIAL", as far as they are given. */
static const char *pin_attributes(const struct settings_pin *pin, char text[LINE_SIZE])
{
    snprintf(text, LINE_SIZE, "%s%s%s%s", pin->path[0] ? " path=" : "", pin->path, pin->serial[0] ? " serial=" : "",
             pin->serial);
    return text;
}

/* What a link leads to. */
static const char *describe_end(const struct topology *topology, int ppu, int link, char text[LINE_SIZE])
{
    int peer = topology->peer[ppu][link];
    if (peer == EXTERNAL_PEER) {
        snprintf(text, LINE_SIZE, EXTERNAL);
    } else if (topology->peer_link[ppu][link] == NO_PEER_LINK) {
        snprintf(text, LINE_SIZE, "%d", peer);
    } else {
        snprintf(text, LINE_SIZE, "%d.%d", peer, topology->peer_link[ppu][link]);
    }
    return text;
}

char *boot_identity_format(const struct boot_identity *identity, const char *boot_id)
{
    struct writer writer = {0};
    put_line(&writer, SCHEMA " %s", boot_id);
    put_line(&writer, "ppus %d", identity->topology.ppu_count);
    for (int i = 0; i < identity->pin_count; i++) {
        const struct settings_pin *pin = &identity->pins[i];
        char bdf[BDF_TEXT_SIZE];
        char attributes[LINE_SIZE];
        put_line(&writer, "pin %d %s%.*s", pin->ppu, bdf_format(pin->bdf, bdf), LINE_SIZE / 2,
                 pin_attributes(pin, attributes));
    }
    for (int ppu = 0; ppu < identity->topology.ppu_count; ppu++) {
        for (int link = 0; link < LINK_MAX; link++) {
            char end[LINE_SIZE];
            if (identity->topology.peer[ppu][link] != NO_PEER) {
                put_line(&writer, "link %d.%d %.32s", ppu, link, describe_end(&identity->topology, ppu, link, end));
            }
        }
    }
    return writer.text;
}

/* A number of at most LIMIT - 1, of digits only. */
static bool parse_identity_number(const char *text, int limit, int *number)
{
    uint64_t value;
    if (!text || text[strspn(text, "0123456789")] != '\0' || !text_parse_number(text, (uint64_t)limit - 1, &value)) {
        return false;
    }
    *number = (int)value;
    return true;
}

static bool parse_pin_line(char **rest, struct boot_identity *identity)
{
    struct settings_pin pin = {0};
    const char *bdf;
    const char *word;
    if (!parse_identity_number(strtok_r(NULL, blanks, rest), identity->topology.ppu_count, &pin.ppu) ||
        !(bdf = strtok_r(NULL, blanks, rest)) || !bdf_parse(bdf, &pin.bdf) ||
        identity->pin_count == identity->topology.ppu_count ||
        (identity->pin_count > 0 && identity->pins[identity->pin_count - 1].ppu >= pin.ppu)) {
        return false;
    }
    while ((word = strtok_r(NULL, blanks, rest))) {
        if (strncmp(word, "path=", strlen("path=")) == 0) {
            snprintf(pin.path, sizeof pin.path, "%s", word + strlen("path="));
        } else if (strncmp(word, "serial=", strlen("serial=")) == 0) {
            snprintf(pin.serial, sizeof pin.serial, "%s", word + strlen("serial="));
        }
    }
    identity->pins[identity->pin_count++] = pin;
    return true;
}

/* ID.LINK, which is cut in two, or with LINK unknown ID alone. */
static bool parse_link_end(char *text, int ppu_count, int *ppu, int *link)
{
    char *link_text = text ? strchr(text, '.') : NULL;
    if (link_text) {
        *link_text++ = '\0';
    }
    *link = NO_PEER_LINK;
    return parse_identity_number(text, ppu_count, ppu) &&
           (!link_text || parse_identity_number(link_text, LINK_MAX, link));
}

static bool parse_link_line(char **rest, struct boot_identity *identity)
{
    struct topology *topology = &identity->topology;
    int ppu;
    int link;
    int peer = EXTERNAL_PEER;
    int peer_link = NO_PEER_LINK;
    if (!parse_link_end(strtok_r(NULL, blanks, rest), topology->ppu_count, &ppu, &link) || link == NO_PEER_LINK) {
        return false;
    }
    char *far = strtok_r(NULL, blanks, rest);
    if (!far || (strcmp(far, EXTERNAL) != 0 && !parse_link_end(far, topology->ppu_count, &peer, &peer_link))) {
        return false;
    }
    topology->peer[ppu][link] = (int16_t)peer;
    topology->peer_link[ppu][link] = (int16_t)peer_link;
    return true;
}

/* One line after the two first. */
static bool parse_identity_line(char *line, struct boot_identity *identity)
{
    char *rest;
    const char *word = strtok_r(line, blanks, &rest);
    if (word && strcmp(word, "pin") == 0) {
        return parse_pin_line(&rest, identity);
    }
    return word && strcmp(word, "link") == 0 && parse_link_line(&rest, identity);
}

static int refuse_identity(const char *name, int line, struct error *err)
{
    return error_set(err, STATUS_INVALID, "%s:%d: it is not what icn-hook writes", name, line);
}

/* COPY is cut into lines. */
static int parse_lines(char *copy, const char *name, struct boot_identity *identity, struct error *err)
{
    char *rest;
    int number = 1;
    int count = 0;
    strtok_r(copy, "\n", &rest); /* the header */
    for (char *line = strtok_r(NULL, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        number++;
        bool is_fine = number == 2 ? strncmp(line, "ppus ", strlen("ppus ")) == 0 &&
                                         parse_identity_number(line + strlen("ppus "), PPU_MAX + 1, &count) && count > 0
                                   : parse_identity_line(line, identity);
        if (!is_fine) {
            return refuse_identity(name, number, err);
        }
        if (number == 2) {
            topology_clear(&identity->topology, count);
            identity->pins = memory_alloc((size_t)count, sizeof *identity->pins);
        }
    }
    if (count == 0 || topology_validate(&identity->topology).kind != TOPOLOGY_FINE) {
        return refuse_identity(name, number, err);
    }
    return 0;
}

int boot_identity_parse(const char *text, size_t length, const char *name, const char *boot_id,
                        struct boot_identity **identity, struct error *err)
{
    char boot[UUID_SIZE] = "";
    char canonical[UUID_SIZE];
    size_t header = strlen(SCHEMA " ");
    if (length < header + UUID_SIZE || memchr(text, '\0', length) || memcmp(text, SCHEMA " ", header) != 0 ||
        text[header + UUID_SIZE - 1] != '\n') {
        return refuse_identity(name, 1, err);
    }
    memcpy(boot, text + header, UUID_SIZE - 1);
    if (!text_parse_uuid(boot, canonical) || strcmp(boot, canonical) != 0) {
        return refuse_identity(name, 1, err);
    }
    if (strcmp(boot, boot_id) != 0) {
        *identity = NULL;
        return 0;
    }
    struct boot_identity *parsed = memory_alloc(1, sizeof *parsed);
    CLEANUP_FREE char *copy = memory_alloc(length + 1, 1);
    memcpy(copy, text, length);
    if (parse_lines(copy, name, parsed, err) < 0) {
        boot_identity_free(parsed);
        return -1;
    }
    CLEANUP_FREE char *again = boot_identity_format(parsed, boot_id);
    if (strlen(again) != length || memcmp(again, text, length) != 0) {
        boot_identity_free(parsed);
        return error_set(err, STATUS_INVALID, "%s: it is not what icn-hook writes", name);
    }
    *identity = parsed;
    return 0;
}

/* One side of a difference in TEXT. */
static void describe_pin(const struct settings_pin *pin, char text[LINE_SIZE])
{
    char bdf[BDF_TEXT_SIZE];
    char attributes[LINE_SIZE];
    if (pin) {
        snprintf(text, LINE_SIZE, "%s%.*s", bdf_format(pin->bdf, bdf), LINE_SIZE / 2, pin_attributes(pin, attributes));
    } else {
        snprintf(text, LINE_SIZE, "not in [map]");
    }
}

static bool pins_differ(const struct boot_identity *old, const struct boot_identity *new,
                        char text[IDENTITY_DIFFERENCE_SIZE])
{
    int o = 0;
    int n = 0;
    while (o < old->pin_count || n < new->pin_count) {
        const struct settings_pin *was = o < old->pin_count ? &old->pins[o] : NULL;
        const struct settings_pin *is = n < new->pin_count ? &new->pins[n] : NULL;
        char before[LINE_SIZE];
        char after[LINE_SIZE];
        int ppu = was ? was->ppu : PPU_MAX;
        if (is && is->ppu < ppu) {
            ppu = is->ppu;
        }
        was = was && was->ppu == ppu ? was : NULL;
        is = is && is->ppu == ppu ? is : NULL;
        describe_pin(was, before);
        describe_pin(is, after);
        if (strcmp(before, after) != 0) {
            snprintf(text, IDENTITY_DIFFERENCE_SIZE, "PPU %d was %.230s and is %.230s now", ppu, before, after);
            return true;
        }
        o += was ? 1 : 0;
        n += is ? 1 : 0;
    }
    return false;
}

/* For people. */
static void describe_way(const struct topology *topology, int ppu, int link, char text[LINE_SIZE])
{
    int peer = topology->peer[ppu][link];
    int peer_link = topology->peer_link[ppu][link];
    if (peer == NO_PEER) {
        snprintf(text, LINE_SIZE, "nowhere");
    } else if (peer == EXTERNAL_PEER) {
        snprintf(text, LINE_SIZE, "to another host or a switch");
    } else if (peer_link == NO_PEER_LINK) {
        snprintf(text, LINE_SIZE, "to PPU %d", peer);
    } else {
        snprintf(text, LINE_SIZE, "to link %d of PPU %d", peer_link, peer);
    }
}

bool boot_identity_differs(const struct boot_identity *old, const struct boot_identity *new,
                           char text[IDENTITY_DIFFERENCE_SIZE])
{
    if (pins_differ(old, new, text)) {
        return true;
    }
    if (old->topology.ppu_count != new->topology.ppu_count) {
        snprintf(text, IDENTITY_DIFFERENCE_SIZE, "the topology had %d PPUs and has %d now", old->topology.ppu_count,
                 new->topology.ppu_count);
        return true;
    }
    for (int ppu = 0; ppu < old->topology.ppu_count; ppu++) {
        for (int link = 0; link < LINK_MAX; link++) {
            char before[LINE_SIZE];
            char after[LINE_SIZE];
            if (old->topology.peer[ppu][link] != new->topology.peer[ppu][link] ||
                old->topology.peer_link[ppu][link] != new->topology.peer_link[ppu][link]) {
                describe_way(&old->topology, ppu, link, before);
                describe_way(&new->topology, ppu, link, after);
                snprintf(text, IDENTITY_DIFFERENCE_SIZE, "link %d of PPU %d led %.64s and leads %.64s now", link, ppu,
                         before, after);
                return true;
            }
        }
    }
    return false;
}

void boot_identity_free(struct boot_identity *identity)
{
    if (identity) {
        free(identity->pins);
        free(identity);
    }
}
