/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/explanation.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "core/mask.h"

enum { TIME_SIZE = 64 };

static PRINTF_LIKE(2, 3) void say(struct explanation *explanation, const char *format, ...)
{
    size_t used = strlen(explanation->text);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(explanation->text + used, sizeof explanation->text - used, format, arguments);
    va_end(arguments);
}

static const struct tenant *sole_owner(const struct inspection *inspection, int ppu)
{
    int owner = inspection->owners[ppu];
    return owner > OWNER_IDLE ? &inspection->snapshot->tenants[owner - 1] : NULL;
}

static int64_t tenant_since(const struct tenant *tenant)
{
    return tenant && tenant->entry ? tenant->entry->since : 0;
}

static const char *time_text(int64_t seconds, char text[TIME_SIZE])
{
    time_t moment = (time_t)seconds;
    struct tm local;
    if (seconds == 0 || !localtime_r(&moment, &local) ||
        strftime(text, TIME_SIZE, "since %Y-%m-%d %H:%M:%S", &local) == 0) {
        snprintf(text, TIME_SIZE, "since when is not known");
    }
    return text;
}

static enum link_rule rule_of(int near, int far)
{
    if (near == OWNER_UNKNOWN || far == OWNER_UNKNOWN) {
        return RULE_UNKNOWN_HOLDER;
    }
    if (near == OWNER_SHARED || far == OWNER_SHARED) {
        return RULE_SHARED;
    }
    if (near != far) {
        return RULE_DIFFERENT_OWNERS;
    }
    return near == OWNER_IDLE ? RULE_IDLE : RULE_SAME_OWNER;
}

static void say_tenant(struct explanation *explanation, const struct tenant *tenant)
{
    char since[TIME_SIZE];
    say(explanation, "%s '%s' (%s)", tenant->manual ? "group" : "VM", tenant->name,
        time_text(tenant_since(tenant), since));
}

/* "PPU 0 belongs to VM 'vm1' (since 2026-11-21 10:02:11)" */
static void say_owner(struct explanation *explanation, const struct inspection *inspection, int ppu)
{
    char names[OWNER_TEXT_SIZE];
    const struct tenant *owner = sole_owner(inspection, ppu);
    say(explanation, "PPU %d ", ppu);
    if (owner) {
        say(explanation, "belongs to ");
        say_tenant(explanation, owner);
    } else if (inspection->owners[ppu] == OWNER_SHARED) {
        say(explanation, "is shared by %s", snapshot_owner_text(inspection->snapshot, ppu, names));
    } else if (inspection->owners[ppu] == OWNER_UNKNOWN) {
        say(explanation, "is held open by an unknown process");
    } else {
        say(explanation, "is idle");
    }
}

static void say_owners(struct explanation *explanation, const struct inspection *inspection)
{
    if (explanation->rule == RULE_IDLE) {
        say(explanation, "both cards are idle");
    } else if (explanation->rule == RULE_SAME_OWNER) {
        say(explanation, "both cards belong to ");
        say_tenant(explanation, sole_owner(inspection, explanation->ppu));
    } else {
        say_owner(explanation, inspection, explanation->ppu);
        say(explanation, " and ");
        say_owner(explanation, inspection, explanation->peer);
    }
}

static void say_state(struct explanation *explanation)
{
    enum link_end near = explanation->near;
    enum link_end far = explanation->far;
    int cut = near == END_CUT ? explanation->ppu : explanation->peer;
    int other = near == END_CUT ? explanation->peer : explanation->ppu;
    if (near == END_CUT && far == END_CUT) {
        say(explanation, "CUT at both ends");
    } else if (near == END_CUT || far == END_CUT) {
        bool is_known = near != END_UNKNOWN && far != END_UNKNOWN;
        say(explanation, "CUT at PPU %d (PPU %d %s)", cut, other, is_known ? "has it open" : "cannot be read");
    } else if (explanation->live == LIVE_YES) {
        say(explanation, "%s at both ends", explanation->allowed ? "OPEN" : "LEAK: OPEN");
    } else if (near == far) {
        say(explanation, "UNKNOWN (neither card can be read)");
    } else {
        say(explanation, "UNKNOWN (open at PPU %d, PPU %d cannot be read)",
            near == END_OPEN ? explanation->ppu : explanation->peer,
            near == END_OPEN ? explanation->peer : explanation->ppu);
    }
}

/* The card that had this end cut before we first touched it, or -1. */
static int cut_from_before(const struct inspection *inspection, const struct explanation *explanation)
{
    const struct topology *topology = &inspection->machine->topology;
    const struct card *near = &inspection->snapshot->cards[explanation->ppu];
    const struct card *far = &inspection->snapshot->cards[explanation->peer];
    if (near->has_original && (near->original >> explanation->link & 1) != 0) {
        return explanation->ppu;
    }
    for (int link = 0; link < LINK_MAX; link++) {
        if (topology->peer[explanation->peer][link] == explanation->ppu && far->has_original &&
            (far->original >> link & 1) != 0) {
            return explanation->peer;
        }
    }
    return -1;
}

static void say_allowed_cut(struct explanation *explanation, const struct inspection *inspection)
{
    int before = cut_from_before(inspection, explanation);
    if (explanation->verdict == VERDICT_NEEDLESS) {
        say(explanation, ", although ");
        say_owners(explanation, inspection);
        say(explanation, ": it may be open, and nothing that is known here asks for the cut");
    } else if (inspection->machine->settings.idle == IDLE_ISOLATE) {
        say(explanation, ", because both cards are idle and [policy] idle = isolate keeps such cards isolated");
    } else {
        say(explanation, ", because PPU %d had it cut before a VM first had to do with it; ", before);
        say_owners(explanation, inspection);
        say(explanation, ": it may be open");
    }
}

static void say_reason(struct explanation *explanation, const struct inspection *inspection)
{
    switch (explanation->verdict) {
    case VERDICT_OPEN:
        say(explanation, ", as it may be: ");
        say_owners(explanation, inspection);
        break;
    case VERDICT_LEAK:
        say(explanation, ", although ");
        say_owners(explanation, inspection);
        say(explanation, "; stop the VM");
        break;
    case VERDICT_UNSEEN:
        say(explanation, "; it may be open: ");
        say_owners(explanation, inspection);
        break;
    case VERDICT_UNSURE:
        say(explanation, "; it must be cut, because ");
        say_owners(explanation, inspection);
        break;
    case VERDICT_CUT:
    case VERDICT_NEEDLESS:
        if (explanation->allowed) {
            say_allowed_cut(explanation, inspection);
        } else {
            say(explanation, ", because ");
            say_owners(explanation, inspection);
        }
        break;
    }
}

static int64_t since_of(const struct inspection *inspection, int ppu, int peer)
{
    int64_t near = tenant_since(sole_owner(inspection, ppu));
    int64_t far = tenant_since(sole_owner(inspection, peer));
    bool both_known =
        (near != 0 || inspection->owners[ppu] == OWNER_IDLE) && (far != 0 || inspection->owners[peer] == OWNER_IDLE);
    return !both_known ? 0 : near > far ? near : far;
}

void explanation_make(const struct inspection *inspection, int ppu, int link, struct explanation *explanation)
{
    const struct snapshot *snapshot = inspection->snapshot;
    int peer = inspection->machine->topology.peer[ppu][link];
    char near_card[CARD_TEXT_SIZE];
    char far_card[CARD_TEXT_SIZE];
    *explanation = (struct explanation){
        .ppu = ppu,
        .link = link,
        .peer = peer,
        .near = link_near_end(snapshot, ppu, link),
        .far = link_far_end(snapshot, ppu, link),
        .live = link_live(snapshot, ppu, link),
        .allowed = link_is_allowed(inspection, ppu, link),
        .verdict = link_verdict(inspection, ppu, link),
        .rule = rule_of(inspection->owners[ppu], inspection->owners[peer]),
        .since = since_of(inspection, ppu, peer),
    };
    say(explanation, "%s link %d -> %s: ", machine_card_text(inspection->machine, ppu, near_card), link,
        machine_card_text(inspection->machine, peer, far_card));
    say_state(explanation);
    say_reason(explanation, inspection);
}
