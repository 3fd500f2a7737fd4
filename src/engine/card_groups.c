/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/card_groups.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "host/sysfs.h"

static const char separators[] = ",|";
static const char blanks[] = " \t";

/* One card of LIST, without the blanks around it. */
struct member {
    const char *start;
    size_t length;
    int column;
};

enum { MEMBER_SIZE = 64 };

/* The first byte behind MEMBER_SIZE that does not tear a character apart. */
static int shown_length(const struct member *member)
{
    size_t length = member->length < MEMBER_SIZE ? member->length : MEMBER_SIZE;
    while (length < member->length && ((unsigned char)member->start[length] & 0xc0) == 0x80) {
        length++;
    }
    return (int)length;
}

static int refuse(const struct member *member, enum status status, const char *what, struct error *err)
{
    return error_set(err, status, "LIST, column %d: '%.*s' %s", member->column, shown_length(member), member->start,
                     what);
}

static struct member find_member(const char *list, const char *at)
{
    const char *start = at + strspn(at, blanks);
    size_t length = strcspn(at, separators) - (size_t)(start - at);
    while (length > 0 && strchr(blanks, start[length - 1])) {
        length--;
    }
    return (struct member){.start = start, .length = length, .column = (int)(start - list) + 1};
}

static int find_by_id(const struct machine *machine, const struct member *member, const char *text, int *ppu,
                      struct error *err)
{
    uint64_t number;
    char what[128];
    if (!text_parse_number(text, (uint64_t)machine->topology.ppu_count - 1, &number)) {
        snprintf(what, sizeof what, "is no card of this host: its ids are 0 to %d", machine->topology.ppu_count - 1);
        return refuse(member, STATUS_INVALID, what, err);
    }
    if (!machine->mapped[number]) {
        return refuse(member, STATUS_INVALID, "has no card: no line of [map] names it", err);
    }
    *ppu = (int)number;
    return 0;
}

static int find_by_address(const struct machine *machine, const struct member *member, const char *text, int *ppu,
                           struct error *err)
{
    struct bdf bdf;
    struct pci_state state;
    if (!bdf_parse(text, &bdf)) {
        return refuse(member, STATUS_USAGE, "is no PCI address; write it as 0000:08:00.0 or 08:00.0", err);
    }
    int found = machine_ppu_at(machine, bdf);
    if (found < 0) {
        sysfs_read_state(bdf, &state);
        return refuse(member, STATUS_INVALID, state.present ? "is no PPU" : "is not on this host", err);
    }
    *ppu = found;
    return 0;
}

static int find_card(const struct machine *machine, const struct member *member, int *ppu, struct error *err)
{
    char text[MEMBER_SIZE];
    if (member->length == 0) {
        return error_set(err, STATUS_USAGE, "LIST, column %d: a card is missing", member->column);
    }
    snprintf(text, sizeof text, "%.*s", (int)member->length, member->start);
    if (strspn(member->start, "0123456789") >= member->length) {
        return find_by_id(machine, member, text, ppu, err);
    }
    if (strspn(member->start, "0123456789abcdefABCDEF:.") >= member->length && strchr(text, ':')) {
        return find_by_address(machine, member, text, ppu, err);
    }
    return refuse(member, STATUS_USAGE, "is neither an id nor a PCI address; write LIST as \"0,1|2,3\"", err);
}

static int add_card(const struct machine *machine, const struct member *member, struct card_groups *groups,
                    struct error *err)
{
    int ppu = -1;
    char what[128];
    if (find_card(machine, member, &ppu, err) < 0) {
        return -1;
    }
    if (groups->of[ppu] != IN_NO_GROUP) {
        snprintf(what, sizeof what, "names PPU %d again, which is in %s group already", ppu,
                 groups->of[ppu] == groups->count ? "this" : "another");
        return refuse(member, STATUS_INVALID, what, err);
    }
    groups->of[ppu] = groups->count;
    return 0;
}

int card_groups_parse(const struct machine *machine, const char *list, struct card_groups *groups, struct error *err)
{
    struct card_groups parsed = {.count = 0};
    const char *at = list;
    memset(parsed.of, 0xff, sizeof parsed.of);
    for (;;) {
        struct member member = find_member(list, at);
        if (add_card(machine, &member, &parsed, err) < 0) {
            return -1;
        }
        at += strcspn(at, separators);
        parsed.count += *at != ',';
        if (*at++ == '\0') {
            break;
        }
    }
    *groups = parsed;
    return 0;
}

int card_groups_next(const struct card_groups *groups, int group, int ppu)
{
    do {
        ppu++;
    } while (ppu < PPU_MAX && groups->of[ppu] != group);
    return ppu < PPU_MAX ? ppu : -1;
}
