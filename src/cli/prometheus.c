/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/view.h"

#include "engine/policy.h"

static void metrics_put_head(FILE *stream, const char *name, const char *help)
{
    fprintf(stream, "# HELP %s %s\n# TYPE %s gauge\n", name, help, name);
}

static void metrics_put_number(FILE *stream, const char *name, const char *help, int value)
{
    metrics_put_head(stream, name, help);
    fprintf(stream, "%s %d\n", name, value);
}

/* Within the quotes of a label: backslash, quote and newline. */
static void metrics_put_escaped(FILE *stream, const char *text)
{
    for (; *text; text++) {
        if (*text == '\n') {
            fputs("\\n", stream);
        } else {
            fprintf(stream, "%s%c", *text == '\\' || *text == '"' ? "\\" : "", *text);
        }
    }
}

static void metrics_put_card(const struct session *session, FILE *stream, const char *name, int ppu)
{
    char bdf[BDF_TEXT_SIZE] = "";
    if (session->machine->mapped[ppu]) {
        bdf_format(session->machine->card[ppu], bdf);
    }
    fprintf(stream, "%s{ppu=\"%d\",bdf=\"%s\"", name, ppu, bdf);
}

static void metrics_put_cards(const struct session *session, FILE *stream)
{
    static const char present[] = "icn_hook_card_present";
    static const char readable[] = "icn_hook_card_readable";
    int count = session->machine->topology.ppu_count;
    metrics_put_head(stream, present, "The card is on the PCI bus.");
    for (int ppu = 0; ppu < count; ppu++) {
        metrics_put_card(session, stream, present, ppu);
        bool is_present = session->machine->mapped[ppu] && session->cards[ppu].state.present;
        fprintf(stream, "} %d\n", is_present);
    }
    metrics_put_head(stream, readable, "The link register of the card can be read; not so while a VM runs with it.");
    for (int ppu = 0; ppu < count; ppu++) {
        metrics_put_card(session, stream, readable, ppu);
        fprintf(stream, "} %d\n", session_is_read(session, ppu));
    }
}

static void metrics_put_owners(const struct session *session, FILE *stream)
{
    static const char name[] = "icn_hook_card_owner_info";
    const struct owners *owners = &session->owners;
    metrics_put_head(stream, name, "The VM or group that has the card. No line: nobody, or nobody that is known.");
    for (int ppu = 0; ppu < session->machine->topology.ppu_count; ppu++) {
        const struct holding *holding = NULL;
        while ((holding = owners_next_holding(owners, ppu, holding))) {
            const struct owner *owner = &owners->items[holding->owner];
            if (owner->kind != OWNER_KIND_STRANGER) {
                metrics_put_card(session, stream, name, ppu);
                fputs(",vm=\"", stream);
                metrics_put_escaped(stream, owner->name);
                fprintf(stream, "\",uuid=\"%s\"} 1\n", owner->uuid);
            }
        }
    }
}

static int count_cards(const struct session *session, bool (*counts)(const struct session *session, int ppu))
{
    int count = 0;
    for (int ppu = 0; ppu < session->machine->topology.ppu_count; ppu++) {
        count += counts(session, ppu);
    }
    return count;
}

static bool is_held_by_stranger(const struct session *session, int ppu)
{
    return session->owners.of[ppu] == OWNER_UNKNOWN;
}

static bool drifts(const struct session *session, int ppu)
{
    return links_missing(session, ppu) != 0;
}

static bool is_owed(const struct session *session, int ppu)
{
    uint32_t owed;
    return policy_owes(session, ppu, &owed);
}

static int count_vms_without_gate(const struct session *session)
{
    int count = 0;
    for (size_t i = 0; i < session->owners.count; i++) {
        const struct owner *owner = &session->owners.items[i];
        bool lacks_gate = false;
        for (int ppu = 0; ppu < session->machine->topology.ppu_count; ppu++) {
            lacks_gate |= owners_has(&session->owners, owner, ppu) && links_no_gate(session, ppu);
        }
        count += lacks_gate;
    }
    return count;
}

/* What is known of the links that must be cut: the sum of the evidence is what is required. */
static void metrics_put_coverage(const struct session *session, FILE *stream)
{
    static const char name[] = "icn_hook_links";
    struct coverage coverage = coverage_count(session);
    metrics_put_number(stream, "icn_hook_links_required", "Links that must be cut.", coverage.required);
    metrics_put_head(stream, name, "Links that must be cut, by what is known of them: proven, gated or unverified.");
    fprintf(stream, "%s{evidence=\"proven\"} %d\n", name, coverage.proven);
    fprintf(stream, "%s{evidence=\"gated\"} %d\n", name, coverage.gated);
    fprintf(stream, "%s{evidence=\"unverified\"} %d\n", name, coverage.unverified);
}

/* What cannot be read has no value. */
static void metrics_put_pairs(const struct session *session, FILE *stream)
{
    static const char name[] = "icn_hook_link_open";
    metrics_put_head(stream, name, "Open links between two cards, as read now. No line: the cards cannot be read.");
    for (int a = 0; a < session->machine->topology.ppu_count; a++) {
        for (int b = a + 1; b < session->machine->topology.ppu_count; b++) {
            struct pair pair = pair_look(session, a, b);
            if (pair.wired > 0 && pair.is_read) {
                fprintf(stream, "%s{a=\"%d\",b=\"%d\"} %d\n", name, a, b, pair.open);
            }
        }
    }
}

static void put_up(FILE *stream, bool is_up)
{
    metrics_put_number(stream, "icn_hook_up", "The host could be looked at: 0 if nothing is known about its links.",
                       is_up);
}

void prometheus_print_down(FILE *stream)
{
    put_up(stream, false);
}

void prometheus_print(const struct session *session, FILE *stream)
{
    put_up(stream, true);
    metrics_put_number(stream, "icn_hook_leaks", "Pairs of cards between which a link is open that must not be.",
                       view_count_leaks(session));
    metrics_put_number(stream, "icn_hook_drift_cards", "Cards that lack cuts which they should have.",
                       count_cards(session, drifts));
    metrics_put_number(stream, "icn_hook_owners_known",
                       "The owner of every card is known: 0 if part of the state cannot be read.",
                       !session_doubt(session, ""));
    metrics_put_number(stream, "icn_hook_unknown_holders", "Cards held open by a process that is not a known VM.",
                       count_cards(session, is_held_by_stranger));
    metrics_put_coverage(session, stream);
    metrics_put_number(stream, "icn_hook_cards_owed", "Cards that are owed the mask they had before.",
                       count_cards(session, is_owed));
    metrics_put_number(stream, "icn_hook_vms_without_gate",
                       "Running VMs with a card that was not read back for them before QEMU opened it.",
                       count_vms_without_gate(session));
    metrics_put_cards(session, stream);
    metrics_put_owners(session, stream);
    metrics_put_pairs(session, stream);
}
