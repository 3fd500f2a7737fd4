/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/view.h"

#include "engine/verdict.h"

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

static void metrics_put_card(const struct view *view, FILE *stream, const char *name, int ppu)
{
    char bdf[BDF_TEXT_SIZE] = "";
    if (view->machine->mapped[ppu]) {
        bdf_format(view->machine->card[ppu], bdf);
    }
    fprintf(stream, "%s{ppu=\"%d\",bdf=\"%s\"", name, ppu, bdf);
}

static void metrics_put_cards(const struct view *view, FILE *stream)
{
    static const char present[] = "icn_hook_card_present";
    static const char readable[] = "icn_hook_card_readable";
    int count = view->machine->topology.ppu_count;
    metrics_put_head(stream, present, "The card is on the PCI bus.");
    for (int ppu = 0; ppu < count; ppu++) {
        metrics_put_card(view, stream, present, ppu);
        bool is_present = view->machine->mapped[ppu] && view->inspection.snapshot->cards[ppu].state.present;
        fprintf(stream, "} %d\n", is_present);
    }
    metrics_put_head(stream, readable, "The link register of the card can be read; not so while a VM runs with it.");
    for (int ppu = 0; ppu < count; ppu++) {
        const struct card *card = &view->inspection.snapshot->cards[ppu];
        metrics_put_card(view, stream, readable, ppu);
        fprintf(stream, "} %d\n", card->was_read && card->reading.kind == READING_FINE);
    }
}

static void metrics_put_owners(const struct view *view, FILE *stream)
{
    static const char name[] = "icn_hook_card_owner_info";
    const struct snapshot *snapshot = view->inspection.snapshot;
    metrics_put_head(stream, name, "The VM that has the card. No line: nobody, or nobody that is known.");
    for (int ppu = 0; ppu < view->machine->topology.ppu_count; ppu++) {
        for (size_t i = 0; i < snapshot->claim_count; i++) {
            const struct tenant *tenant = &snapshot->tenants[snapshot->claims[i].tenant];
            if (snapshot->claims[i].ppu == ppu) {
                metrics_put_card(view, stream, name, ppu);
                fputs(",vm=\"", stream);
                metrics_put_escaped(stream, tenant->name);
                fprintf(stream, "\",uuid=\"%s\"} 1\n", tenant->uuid);
            }
        }
    }
}

static int count_unknown_holders(const struct view *view)
{
    int count = 0;
    for (int ppu = 0; ppu < view->machine->topology.ppu_count; ppu++) {
        count += view->inspection.snapshot->cards[ppu].unknown_holder;
    }
    return count;
}

/* What cannot be read has no value. */
static void metrics_put_pairs(const struct view *view, FILE *stream)
{
    static const char name[] = "icn_hook_link_open";
    metrics_put_head(stream, name, "Open links between two cards. No line: the cards cannot be read.");
    for (int a = 0; a < view->machine->topology.ppu_count; a++) {
        for (int b = a + 1; b < view->machine->topology.ppu_count; b++) {
            struct pair pair = pair_look(&view->inspection, a, b);
            if (pair.wired > 0 && pair.verdict != VERDICT_UNSEEN && pair.verdict != VERDICT_UNSURE) {
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

void prometheus_print(const struct view *view, FILE *stream)
{
    put_up(stream, true);
    metrics_put_number(stream, "icn_hook_leaks", "Pairs of cards between which a link is open that must not be.",
                       view->leaks);
    metrics_put_number(stream, "icn_hook_drift_cards", "Cards that lack cuts which they should have.", view->drifts);
    metrics_put_number(stream, "icn_hook_owners_known",
                       "The owner of every card is known: 0 if part of the ledger is unreadable.", !view->in_doubt);
    metrics_put_number(stream, "icn_hook_unknown_holders", "Cards that a process holds open which is no known VM.",
                       count_unknown_holders(view));
    metrics_put_cards(view, stream);
    metrics_put_owners(view, stream);
    metrics_put_pairs(view, stream);
}
