/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/view.h"

#include "base/text.h"
#include "core/ownership.h"

/* Okabe and Ito's colours, which colour-blind people tell apart, without the two
 * that black letters cannot be read on. */
static const char *const palette[] = {"#56B4E9", "#E69F00", "#009E73", "#F0E442", "#CC79A7", "#D55E00"};
enum { PALETTE_SIZE = sizeof palette / sizeof palette[0], NO_NODE = -1 };

static const char *const edges[] = {
    [VERDICT_OPEN] = "color=black, penwidth=2",
    [VERDICT_CUT] = "color=gray40, style=dashed",
    [VERDICT_NEEDLESS] = "color=gray40, style=dashed",
    [VERDICT_UNREAD] = "color=gray50, style=dotted",
    [VERDICT_PROVEN] = "color=gray40, style=dashed",
    [VERDICT_GATED] = "color=\"#0072B2\", style=dashed",
    [VERDICT_UNVERIFIED] = "color=\"#D55E00\", style=dotted, penwidth=3",
    [VERDICT_LEAK] = "color=red, penwidth=4",
};

/* NO_NODE also of a card that is absent. */
static int node_of(const struct session *session, int ppu)
{
    const struct pci_state *state = &session->cards[ppu].state;
    return state->present && state->numa_node >= 0 ? state->numa_node : NO_NODE;
}

static bool is_first_of_its_node(const struct session *session, int ppu)
{
    for (int before = 0; before < ppu; before++) {
        if (view_concerns(session, before) && node_of(session, before) == node_of(session, ppu)) {
            return false;
        }
    }
    return true;
}

static void graph_put_node(const struct session *session, FILE *stream, int first)
{
    int node = node_of(session, first);
    if (node != NO_NODE) {
        fprintf(stream, "  subgraph cluster_numa%d {\n    label=\"NUMA node %d\"; color=gray50; style=rounded;\n", node,
                node);
    }
    for (int ppu = first; ppu < session->machine->topology.ppu_count; ppu++) {
        if (view_concerns(session, ppu) && node_of(session, ppu) == node) {
            char bdf[BDF_TEXT_SIZE] = "no card";
            char name[OWNER_TEXT_SIZE];
            int owner = session->owners.of[ppu];
            char escaped[4 * OWNER_TEXT_SIZE];
            if (session->machine->mapped[ppu]) {
                bdf_format(session->machine->card[ppu], bdf);
            }
            text_escape(escaped, sizeof escaped, owners_text(&session->owners, ppu, name));
            fprintf(stream, "    ppu%d [label=\"PPU %d\\n%s%s\\n", ppu, ppu, bdf,
                    session->machine->mapped[ppu] && !session->cards[ppu].state.present ? " (absent)" : "");
            /* Graphviz knows &entities; too. */
            view_put_quoted(stream, escaped, '&', "&amp;");
            fprintf(stream, "\", fillcolor=\"%s\"];\n",
                    owner == OWNER_IDLE  ? "white"
                    : owner > OWNER_IDLE ? palette[(owner - 1) % PALETTE_SIZE]
                                         : "gray80");
        }
    }
    fputs(node != NO_NODE ? "  }\n" : "", stream);
}

static void graph_put_edge(FILE *stream, const struct pair *pair)
{
    fprintf(stream, " [%s", edges[pair->verdict]);
    if (pair->verdict == VERDICT_NEEDLESS && pair->open > 0) {
        fprintf(stream, ", label=\"%d of %d\"", pair->open, pair->wired);
    } else if (pair->wired > 1) {
        fprintf(stream, ", label=\"%d\"", pair->wired);
    }
    fputs("];\n", stream);
}

void graph_print(const struct session *session, FILE *stream)
{
    bool any_external = false;
    int count = session->machine->topology.ppu_count;
    fputs("graph icn {\n"
          "  layout=fdp; K=1.2; sep=\"+25,25\"; overlap=false; splines=true; fontname=\"sans-serif\"; labelloc=b;\n"
          "  label=\"line: open   dashes: cut   dots: cannot be read   blue dashes: cut when read back at the start   "
          "orange dots: must be cut, not verified   red: leak\";\n"
          "  node [shape=box, style=\"rounded,filled\", fontname=\"sans-serif\"];\n"
          "  edge [fontname=\"sans-serif\"];\n",
          stream);
    for (int ppu = 0; ppu < count; ppu++) {
        if (view_concerns(session, ppu) && is_first_of_its_node(session, ppu)) {
            graph_put_node(session, stream, ppu);
        }
    }
    for (int a = 0; a < count; a++) {
        for (int b = a + 1; b < count; b++) {
            struct pair pair = pair_look(session, a, b);
            if (pair.wired == 0 || (session->left_out[a] && session->left_out[b])) {
                continue;
            }
            fprintf(stream, "  ppu%d -- ppu%d", a, b);
            graph_put_edge(stream, &pair);
        }
    }
    for (int ppu = 0; ppu < count; ppu++) {
        struct pair pair = pair_look(session, ppu, EXTERNAL_PEER);
        if (pair.wired == 0 || session->left_out[ppu]) {
            continue;
        }
        if (!any_external) {
            fputs("  external [label=\"external\", shape=ellipse, fillcolor=white];\n", stream);
            any_external = true;
        }
        fprintf(stream, "  ppu%d -- external", ppu);
        graph_put_edge(stream, &pair);
    }
    fputs("}\n", stream);
}
