/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/groups.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/text.h"
#include "engine/groups_private.h"
#include "engine/links.h"
#include "engine/suggest.h"
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

/* Where the member can be cut off without tearing a character apart. */
static int member_shown_length(const struct member *member)
{
    size_t length = member->length < MEMBER_SIZE ? member->length : MEMBER_SIZE;
    while (length < member->length && ((unsigned char)member->start[length] & 0xc0) == 0x80) {
        length++;
    }
    return (int)length;
}

static int refuse_member(const struct member *member, enum status status, const char *what, struct error *err)
{
    return error_set(err, status, "LIST, column %d: '%.*s' %s", member->column, member_shown_length(member),
                     member->start, what);
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

static int find_member_by_id(const struct machine *machine, const struct member *member, const char *text, int *ppu,
                             struct error *err)
{
    uint64_t number;
    char what[128];
    if (!text_parse_number(text, (uint64_t)machine->topology.ppu_count - 1, &number)) {
        snprintf(what, sizeof what, "is not a card of this host: its ids are 0 to %d", machine->topology.ppu_count - 1);
        return refuse_member(member, STATUS_INVALID, what, err);
    }
    if (!machine->mapped[number]) {
        return refuse_member(member, STATUS_INVALID, "has no card: no line of [map] names it", err);
    }
    *ppu = (int)number;
    return 0;
}

static int find_member_by_address(const struct machine *machine, const struct member *member, const char *text,
                                  int *ppu, struct error *err)
{
    struct bdf bdf;
    struct pci_state state;
    if (!bdf_parse(text, &bdf)) {
        return refuse_member(member, STATUS_USAGE, "is not a PCI address; write it as 0000:08:00.0 or 08:00.0", err);
    }
    int found = machine_ppu_at(machine, bdf);
    if (found < 0) {
        sysfs_read_state(bdf, &state);
        return refuse_member(member, STATUS_INVALID, state.present ? "is not a PPU" : "is not on this host", err);
    }
    *ppu = found;
    return 0;
}

static int find_member_card(const struct machine *machine, const struct member *member, int *ppu, struct error *err)
{
    char text[MEMBER_SIZE];
    if (member->length == 0) {
        return error_set(err, STATUS_USAGE, "LIST, column %d: a card is missing", member->column);
    }
    snprintf(text, sizeof text, "%.*s", (int)member->length, member->start);
    if (strspn(member->start, "0123456789") >= member->length) {
        return find_member_by_id(machine, member, text, ppu, err);
    }
    if (strspn(member->start, "0123456789abcdefABCDEF:.") >= member->length && strchr(text, ':')) {
        return find_member_by_address(machine, member, text, ppu, err);
    }
    return refuse_member(member, STATUS_USAGE,
                         "is neither an id, nor a range of ids, nor a PCI address; write LIST as \"0,1|4-7\"", err);
}

/* The member is "2-5": its ids.  Others, FIRST and LAST untouched: false. */
static bool is_range(const struct member *member, uint64_t *first, uint64_t *last)
{
    char text[MEMBER_SIZE];
    snprintf(text, sizeof text, "%.*s", (int)member->length, member->start);
    char *dash = strchr(text, '-');
    bool has_ids = dash && strspn(member->start, "0123456789-") >= member->length && strlen(text) == member->length;
    if (has_ids) {
        *dash = '\0';
    }
    return has_ids && text_parse_number(text, INT_MAX, first) && text_parse_number(dash + 1, INT_MAX, last);
}

static int add_member_card(const struct member *member, int ppu, struct card_groups *groups, struct error *err)
{
    char what[128];
    if (groups->of[ppu] != IN_NO_GROUP) {
        snprintf(what, sizeof what, "names PPU %d again, which is in %s group already", ppu,
                 groups->of[ppu] == groups->count ? "this" : "another");
        return refuse_member(member, STATUS_INVALID, what, err);
    }
    groups->of[ppu] = groups->count;
    return 0;
}

static int add_member(const struct machine *machine, const struct member *member, struct card_groups *groups,
                      struct error *err)
{
    uint64_t first;
    uint64_t last;
    int ppu;
    char what[128];
    if (!is_range(member, &first, &last)) {
        return find_member_card(machine, member, &ppu, err) < 0 ? -1 : add_member_card(member, ppu, groups, err);
    }
    if (first > last) {
        return refuse_member(member, STATUS_USAGE, "runs backwards; write the lower id first", err);
    }
    if (last >= (uint64_t)machine->topology.ppu_count) {
        snprintf(what, sizeof what, "names cards that this host does not have: its ids are 0 to %d",
                 machine->topology.ppu_count - 1);
        return refuse_member(member, STATUS_INVALID, what, err);
    }
    for (ppu = (int)first; ppu <= (int)last; ppu++) {
        if (!machine->mapped[ppu]) {
            snprintf(what, sizeof what, "includes %d, which has no card: no line of [map] names it", ppu);
            return refuse_member(member, STATUS_INVALID, what, err);
        }
        if (add_member_card(member, ppu, groups, err) < 0) {
            return -1;
        }
    }
    return 0;
}

int card_groups_parse(const struct machine *machine, const char *list, struct card_groups *groups, struct error *err)
{
    struct card_groups parsed = {.count = 0};
    const char *at = list;
    memset(parsed.of, 0xff, sizeof parsed.of);
    for (;;) {
        struct member member = find_member(list, at);
        if (add_member(machine, &member, &parsed, err) < 0) {
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

int card_groups_choose(struct session *session, uint64_t count, int numa_node, struct card_groups *groups,
                       struct error *err)
{
    struct suggestion suggestion;
    if (suggest_make(&suggestion, session, count, numa_node, err) < 0) {
        return -1;
    }
    groups->count = 1;
    for (int ppu = 0; ppu < PPU_MAX; ppu++) {
        bool is_chosen = ppu < session->machine->topology.ppu_count && suggestion.choice.chosen[ppu];
        groups->of[ppu] = is_chosen ? 0 : IN_NO_GROUP;
    }
    return 0;
}

int card_groups_next(const struct card_groups *groups, int group, int ppu)
{
    do {
        ppu++;
    } while (ppu < PPU_MAX && groups->of[ppu] != group);
    return ppu < PPU_MAX ? ppu : -1;
}

static int card_at_address(const void *context, struct bdf bdf)
{
    return machine_ppu_at(context, bdf);
}

struct card_finder card_finder_of(const struct machine *machine)
{
    return (struct card_finder){.count = machine->topology.ppu_count, .at = card_at_address, .context = machine};
}

int card_find(const struct card_finder *finder, const char *text, size_t length)
{
    char word[MEMBER_SIZE];
    uint64_t id;
    struct bdf bdf;
    if (length >= sizeof word) {
        return NO_CARD;
    }
    snprintf(word, sizeof word, "%.*s", (int)length, text);
    if (text_parse_number(word, (uint64_t)finder->count - 1, &id)) {
        return (int)id;
    }
    return bdf_parse(word, &bdf) ? finder->at(finder->context, bdf) : NO_CARD;
}

bool card_find_pair(const struct card_finder *finder, const char *text, int pair[2])
{
    const char *dash = strchr(text, '-');
    int a = dash ? card_find(finder, text, (size_t)(dash - text)) : NO_CARD;
    int b = dash ? card_find(finder, dash + 1, strlen(dash + 1)) : NO_CARD;
    if (a == NO_CARD || b == NO_CARD || a == b) {
        return false;
    }
    pair[0] = a;
    pair[1] = b;
    return true;
}

bool card_choose_owned(const struct session *session, const char *word, bool chosen[])
{
    const struct owners *owners = &session->owners;
    bool is_owner = false;
    for (size_t i = 0; i < owners->holding_count; i++) {
        const struct owner *owner = &owners->items[owners->holdings[i].owner];
        if (owner->kind != OWNER_KIND_STRANGER && (strcmp(owner->name, word) == 0 || strcmp(owner->uuid, word) == 0)) {
            chosen[owners->holdings[i].ppu] = true;
            is_owner = true;
        }
    }
    return is_owner;
}

/* A VM may be called "2-5"; no VM is called as a card. */
int card_choose(const struct session *session, const char *word, bool chosen[], struct error *err)
{
    const struct card_finder finder = card_finder_of(session->machine);
    const struct member member = {.start = word, .length = strlen(word)};
    int card = card_find(&finder, word, strlen(word));
    uint64_t first;
    uint64_t last;
    if (card != NO_CARD) {
        chosen[card] = true;
    } else if (!card_choose_owned(session, word, chosen)) {
        if (!is_range(&member, &first, &last) || first > last || last >= (uint64_t)finder.count) {
            return card_refuse_word(session, word, "card, range of ids (A-B), VM or group", err);
        }
        for (uint64_t ppu = first; ppu <= last; ppu++) {
            chosen[ppu] = true;
        }
    }
    return 0;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

int card_refuse_word(const struct session *session, const char *word, const char *what, struct error *err)
{
    const struct owners *owners = &session->owners;
    CLEANUP_FREE const char **known = memory_alloc(owners->count + 1, sizeof *known);
    size_t count = 0;
    char names[1024] = "";
    for (size_t i = 0; i < owners->count; i++) {
        if (owners->items[i].kind != OWNER_KIND_STRANGER) {
            known[count++] = owners->items[i].name;
        }
    }
    qsort(known, count, sizeof *known, compare_names);
    for (size_t i = 0; i < count && strlen(names) < sizeof names / 2; i++) {
        size_t used = strlen(names);
        snprintf(names + used, sizeof names - used, "%s%.256s", used > 0 ? ", " : "", known[i]);
    }
    const char *nearest = card_nearest_owner(session, word);
    return error_set(err, STATUS_INVALID,
                     "'%s' is not a %s; there are the PPUs 0 to %d, by id or address, and %s%s%s%s%s", word, what,
                     session->machine->topology.ppu_count - 1, names[0] ? "the owners " : "no owners", names,
                     nearest ? "; did you mean " : "", nearest ? nearest : "", nearest ? "?" : "");
}

const char *card_nearest_owner(const struct session *session, const char *word)
{
    struct nearest nearest = {.word = word};
    for (size_t i = 0; i < session->owners.count; i++) {
        if (session->owners.items[i].kind != OWNER_KIND_STRANGER) {
            nearest_try(&nearest, session->owners.items[i].name);
        }
    }
    return nearest.name;
}

int group_name_check(const char *name, struct error *err)
{
    enum { NAME_LIMIT = 128 };
    static const char *const reserved[] = {"idle", "unknown", "external", "begin", "end"};
    struct bdf bdf;
    if (name[0] == '\0') {
        return error_set(err, STATUS_USAGE, "--name: a group's name must not be empty");
    }
    if (strlen(name) > NAME_LIMIT || !state_name_is_printable(name)) {
        return error_set(err, STATUS_USAGE, "--name '%.*s': a group's name is at most %d bytes of printable UTF-8",
                         NAME_LIMIT, name, NAME_LIMIT);
    }
    bool is_reserved = name[0] == '-' || name[strspn(name, "0123456789")] == '\0' || bdf_parse(name, &bdf);
    for (size_t i = 0; i < sizeof reserved / sizeof reserved[0]; i++) {
        is_reserved |= strcmp(name, reserved[i]) == 0;
    }
    return is_reserved ? error_set(err, STATUS_USAGE,
                                   "--name '%s': the name of a group is not a number, an address, a word that begins "
                                   "with -, or one of idle, unknown, external, begin and end",
                                   name)
                       : 0;
}

static void free_parties(struct parties *parties)
{
    for (size_t i = 0; i < parties->count; i++) {
        free(parties->items[i].name);
        free(parties->items[i].ppus);
    }
    free(parties->items);
}

void group_report_free(struct group_report *report)
{
    free_parties(&report->groups);
    free_parties(&report->exposed);
    free(report->writes);
    *report = (struct group_report){0};
}

struct party *parties_add(struct parties *parties, const char *name, const char *uuid)
{
    parties->items = memory_grow(parties->items, parties->count + 1, sizeof *parties->items);
    struct party *party = &parties->items[parties->count++];
    *party = (struct party){.name = memory_copy_text(name)};
    memcpy(party->uuid, uuid, strlen(uuid) + 1);
    return party;
}

void party_add_card(struct party *party, int ppu)
{
    party->ppus = memory_grow(party->ppus, party->ppu_count + 1, sizeof *party->ppus);
    party->ppus[party->ppu_count++] = ppu;
}

void parties_add_owner(struct parties *parties, const struct session *session, const struct owner *owner,
                       bool only_held)
{
    struct party *party = parties_add(parties, owner->name, owner->uuid);
    for (int ppu = 0; ppu < session->machine->topology.ppu_count; ppu++) {
        if (owners_has(&session->owners, owner, ppu) && (!only_held || session->owners.held[ppu])) {
            party_add_card(party, ppu);
        }
    }
}

void session_list_writes(const struct session *session, struct plan_write **writes, size_t *count)
{
    for (size_t i = 0; i < session->plan->count; i++) {
        if (session->access == SESSION_LOOK || session->outcomes[i] == APPLY_DONE) {
            *writes = memory_grow(*writes, *count + 1, sizeof **writes);
            (*writes)[(*count)++] = session->plan->writes[i];
        }
    }
}

static void check_inner(const struct session *session, const struct link_view *view, struct text_list *faults)
{
    char near[CARD_TEXT_SIZE];
    char far[CARD_TEXT_SIZE];
    if (view->near == END_CUT) {
        text_list_add(faults, "link %d of %s to %s is cut, though both are in one group", view->link,
                      machine_card_text(session->machine, view->ppu, near),
                      machine_card_text(session->machine, view->peer, far));
    }
}

static void check_leaving(const struct session *session, const struct link_view *view, struct text_list *faults,
                          struct text_list *unverified)
{
    char near[CARD_TEXT_SIZE];
    char far[CARD_TEXT_SIZE];
    machine_card_text(session->machine, view->ppu, near);
    if (view->peer == EXTERNAL_PEER) {
        if (view->verdict == VERDICT_LEAK) {
            text_list_add(faults, "external link %d of %s is not cut", view->link, near);
        } else if (view->verdict == VERDICT_UNVERIFIED) {
            text_list_add(unverified, "external link %d of %s could not be read as cut", view->link, near);
        }
        return;
    }
    machine_card_text(session->machine, view->peer, far);
    if (view->near == END_OPEN) {
        text_list_add(faults, "link %d of %s to %s leaves the group and is %s", view->link, near, far,
                      view->live == LIVE_YES ? "LIVE: open on both sides" : "not cut");
    } else if (view->live == LIVE_UNKNOWN && view->verdict != VERDICT_GATED) {
        text_list_add(unverified, "link %d of %s to %s leaves the group, and no end could be read as cut", view->link,
                      near, far);
    }
}

void group_check(const struct session *session, const struct card_groups *groups, int group, struct text_list *faults,
                 struct text_list *unverified)
{
    for (int ppu = card_groups_next(groups, group, -1); ppu >= 0; ppu = card_groups_next(groups, group, ppu)) {
        char card[CARD_TEXT_SIZE];
        if (!session->cards[ppu].state.present) {
            text_list_add(faults, "%s is not on the PCI bus", machine_card_text(session->machine, ppu, card));
        }
        for (int link = 0; link < LINK_MAX; link++) {
            int peer = session->machine->topology.peer[ppu][link];
            if (peer == NO_PEER) {
                continue;
            }
            struct link_view view = link_look(session, ppu, link);
            if (peer != EXTERNAL_PEER && groups->of[peer] == group) {
                check_inner(session, &view, faults);
            } else {
                check_leaving(session, &view, faults, unverified);
            }
        }
    }
}
