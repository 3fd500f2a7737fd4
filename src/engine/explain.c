/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/explain.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

static PRINTF_LIKE(2, 3) void say(struct explanation *explanation, const char *format, ...)
{
    size_t used = strlen(explanation->text);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(explanation->text + used, sizeof explanation->text - used, format, arguments);
    va_end(arguments);
}

static enum link_rule rule_of(const struct session *session, int ppu, int peer)
{
    int near = session->owners.of[ppu];
    if (peer == EXTERNAL_PEER) {
        return near == OWNER_IDLE ? RULE_IDLE : RULE_EXTERNAL;
    }
    int far = session->owners.of[peer];
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

static void say_who(struct explanation *explanation, const struct owner *owner)
{
    char since[TIME_TEXT_SIZE];
    say(explanation, "%s '%s' (since %s)", owner->kind == OWNER_KIND_GROUP ? "group" : "VM", owner->name,
        owner->since == 0 ? "when is not known" : text_format_time(owner->since, since));
}

/* "PPU 0 belongs to VM 'vm1' (since 2026-11-21 10:02:11)" */
static void say_owner(struct explanation *explanation, const struct session *session, int ppu)
{
    char names[OWNER_TEXT_SIZE];
    const struct owner *owner = owners_sole(&session->owners, ppu);
    say(explanation, "PPU %d ", ppu);
    if (owner) {
        say(explanation, "belongs to ");
        say_who(explanation, owner);
    } else if (session->owners.of[ppu] == OWNER_SHARED) {
        say(explanation, "is shared by %s", owners_text(&session->owners, ppu, names));
    } else if (session->owners.of[ppu] == OWNER_UNKNOWN) {
        say(explanation, "is held open by an unknown process");
    } else {
        say(explanation, "is idle");
    }
}

static void say_owners(struct explanation *explanation, const struct session *session)
{
    if (explanation->rule == RULE_IDLE) {
        say(explanation, "%s idle", explanation->view.peer == EXTERNAL_PEER ? "the card is" : "both cards are");
    } else if (explanation->rule == RULE_EXTERNAL) {
        say(explanation, "%s and ",
            session->machine->settings.external == EXTERNAL_LEAVE
                ? "[policy] external = leave leaves such links as they are"
                : "it leads out of this host");
        say_owner(explanation, session, explanation->view.ppu);
    } else if (explanation->rule == RULE_SAME_OWNER) {
        say(explanation, "both cards belong to ");
        say_who(explanation, owners_sole(&session->owners, explanation->view.ppu));
    } else {
        say_owner(explanation, session, explanation->view.ppu);
        say(explanation, " and ");
        say_owner(explanation, session, explanation->view.peer);
    }
}

/* What the registers show now. */
static void say_state(struct explanation *explanation)
{
    const struct link_view *view = &explanation->view;
    bool is_external = view->peer == EXTERNAL_PEER;
    int cut = view->near == END_CUT ? view->ppu : view->peer;
    int other = view->near == END_CUT ? view->peer : view->ppu;
    char since[TIME_TEXT_SIZE];
    if (view->verdict == VERDICT_LEAK) {
        say(explanation, is_external ? "LEAK: OPEN" : "LEAK: OPEN at both ends");
    } else if (is_external && view->live != LIVE_UNKNOWN) {
        say(explanation, view->live == LIVE_YES ? "OPEN" : "CUT");
    } else if (view->near == END_CUT && view->far == END_CUT) {
        say(explanation, "CUT at both ends");
    } else if (view->live == LIVE_NO) {
        bool is_known = view->near != END_UNKNOWN && view->far != END_UNKNOWN;
        say(explanation, "CUT at PPU %d (PPU %d %s)", cut, other, is_known ? "has it open" : "cannot be read");
    } else if (view->live == LIVE_YES) {
        say(explanation, "OPEN at both ends");
    } else if (view->verdict == VERDICT_GATED) {
        say(explanation, "CUT when it was read back at %s, before QEMU opened the card",
            text_format_time(view->since, since));
    } else if (is_external) {
        say(explanation, "UNKNOWN (the card cannot be read)");
    } else if (view->near == view->far) {
        say(explanation, "UNKNOWN (neither card can be read)");
    } else {
        say(explanation, "UNKNOWN (open at PPU %d, PPU %d cannot be read)",
            view->near == END_OPEN ? view->ppu : view->peer, view->near == END_OPEN ? view->peer : view->ppu);
    }
}

static bool had_cut(const struct session *session, int ppu, int link)
{
    const struct card_memory *memory = session_memory(session, ppu);
    return memory && memory->has_original && (memory->original >> link & 1);
}

/* The card that had this link cut before we first touched it, or -1. */
static int cut_from_before(const struct session *session, const struct link_view *view)
{
    if (had_cut(session, view->ppu, view->link)) {
        return view->ppu;
    }
    uint32_t ends = topology_far_ends(&session->machine->topology, view->ppu, view->link);
    for (int link = 0; link < LINK_MAX; link++) {
        if ((ends >> link & 1) != 0 && had_cut(session, view->peer, link)) {
            return view->peer;
        }
    }
    return -1;
}

static void say_allowed_cut(struct explanation *explanation, const struct session *session)
{
    int before = cut_from_before(session, &explanation->view);
    if (explanation->view.verdict == VERDICT_NEEDLESS) {
        say(explanation, ", although ");
        say_owners(explanation, session);
        say(explanation, ": it is allowed to be open, and nothing that is known here asks for the cut");
    } else if (session->machine->settings.idle == IDLE_ISOLATE && explanation->rule == RULE_IDLE) {
        say(explanation, ", because ");
        say_owners(explanation, session);
        say(explanation, " and [policy] idle = isolate keeps such cards isolated");
    } else {
        say(explanation, ", because PPU %d had it cut before a VM first had to do with it; ", before);
        say_owners(explanation, session);
        say(explanation, ": it is allowed to be open");
    }
}

static void say_reason(struct explanation *explanation, const struct session *session)
{
    switch (explanation->view.verdict) {
    case VERDICT_OPEN:
    case VERDICT_UNREAD:
        say(explanation, "; it is allowed to be open: ");
        say_owners(explanation, session);
        break;
    case VERDICT_LEAK:
        say(explanation, ", although ");
        say_owners(explanation, session);
        say(explanation, "; stop the VM");
        break;
    case VERDICT_UNVERIFIED:
        say(explanation, "; it must be cut, because ");
        say_owners(explanation, session);
        break;
    case VERDICT_PROVEN:
    case VERDICT_GATED:
        say(explanation, ", because ");
        say_owners(explanation, session);
        break;
    case VERDICT_CUT:
    case VERDICT_NEEDLESS:
        say_allowed_cut(explanation, session);
        break;
    }
}

/* Of the younger owner, if all that there are say when they came. */
static int64_t since_of(const struct session *session, const struct link_view *view)
{
    int64_t since = 0;
    const int ppus[] = {view->ppu, view->peer};
    for (int i = 0; i < (view->peer == EXTERNAL_PEER ? 1 : 2); i++) {
        const struct owner *owner = owners_sole(&session->owners, ppus[i]);
        if (session->owners.of[ppus[i]] != OWNER_IDLE && (!owner || owner->since == 0)) {
            return 0;
        }
        since = owner && owner->since > since ? owner->since : since;
    }
    return since;
}

void explain_link(const struct session *session, int ppu, int link, struct explanation *explanation)
{
    char near_card[CARD_TEXT_SIZE];
    char far_card[CARD_TEXT_SIZE];
    *explanation = (struct explanation){.view = link_look(session, ppu, link)};
    int peer = explanation->view.peer;
    explanation->rule = rule_of(session, ppu, peer);
    explanation->since = since_of(session, &explanation->view);
    say(explanation, "%s link %d -> %s: ", machine_card_text(session->machine, ppu, near_card), link,
        peer == EXTERNAL_PEER ? "external" : machine_card_text(session->machine, peer, far_card));
    say_state(explanation);
    say_reason(explanation, session);
}
