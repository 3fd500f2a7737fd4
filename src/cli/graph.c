/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/view.h"

#include "base/text.h"
#include "core/ownership.h"

/* Okabe and Ito's colours, which colour-blind people tell apart, without the two
 * that black letters cannot be read on. */
static const char *const palette[] = {"#56B4E9", "#E69F00", "#009E73", "#F0E442", "#CC79A7", "#D55E00"};
enum { PALETTE_SIZE = sizeof palette / sizeof palette[0], NO_NODE = -1 };
/* More cards than that are drawn as one box for each owner: nobody could follow their links. */
enum { CARDS_DRAWN_SINGLY = 32 };

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

static const char *graph_colour(int owner)
{
    return owner == OWNER_IDLE ? "white" : owner > OWNER_IDLE ? palette[(owner - 1) % PALETTE_SIZE] : "gray80";
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
            fprintf(stream, "\", fillcolor=\"%s\"];\n", graph_colour(owner));
        }
    }
    fputs(node != NO_NODE ? "  }\n" : "", stream);
}

static void graph_put_edge(FILE *stream, const struct pair *pair)
{
    fprintf(stream, " [%s", edges[pair->verdict]);
    bool is_partly_open = pair->verdict == VERDICT_NEEDLESS || pair->verdict == VERDICT_CUT;
    if (is_partly_open && pair->open > 0) {
        fprintf(stream, ", label=\"%d of %d\"", pair->open, pair->wired);
    } else if (pair->wired > 1) {
        fprintf(stream, ", label=\"%d\"", pair->wired);
    }
    fputs("];\n", stream);
}

/* -- By owner ------------------------------------------------------------------------------- */

/* The cards of one box: those of an owner, or the idle ones of a NUMA node. */
static bool are_in_one_box(const struct session *session, int a, int b)
{
    int owner = session->owners.of[a];
    return owner == session->owners.of[b] && (owner != OWNER_IDLE || node_of(session, a) == node_of(session, b));
}

static bool is_first_of_its_box(const struct session *session, int ppu)
{
    bool is_first = view_concerns(session, ppu);
    for (int before = 0; before < ppu; before++) {
        is_first &= !view_concerns(session, before) || !are_in_one_box(session, before, ppu);
    }
    return is_first;
}

/* The links between the cards of two boxes, or within one; with B EXTERNAL_PEER, those that lead out of one. */
static struct pair box_pair(const struct session *session, int a, int b)
{
    struct pair sum = {.verdict = VERDICT_OPEN};
    int count = session->machine->topology.ppu_count;
    for (int near = 0; near < count; near++) {
        if (!view_concerns(session, near) || !are_in_one_box(session, a, near)) {
            continue;
        }
        for (int far = b == EXTERNAL_PEER ? EXTERNAL_PEER : 0; far < (b == EXTERNAL_PEER ? EXTERNAL_PEER + 1 : count);
             far++) {
            bool is_meant = far == EXTERNAL_PEER
                                ? !session->left_out[near]
                                : view_concerns(session, far) && are_in_one_box(session, b, far) &&
                                      (a != b || near < far) && (!session->left_out[near] || !session->left_out[far]);
            struct pair pair = is_meant ? pair_look(session, near, far) : (struct pair){0};
            if (pair.wired > 0) {
                sum.wired += pair.wired;
                sum.open += pair.open;
                sum.verdict = pair.verdict > sum.verdict ? pair.verdict : sum.verdict; /* the worse, the later */
            }
        }
    }
    return sum;
}

static void graph_put_box(const struct session *session, FILE *stream, int first)
{
    char name[OWNER_TEXT_SIZE];
    char escaped[4 * OWNER_TEXT_SIZE];
    int cards = 0;
    int count = session->machine->topology.ppu_count;
    struct pair inside = box_pair(session, first, first);
    text_escape(escaped, sizeof escaped, owners_text(&session->owners, first, name));
    fprintf(stream, "  box%d [label=\"", first);
    view_put_quoted(stream, escaped, '&', "&amp;");
    if (session->owners.of[first] == OWNER_IDLE && node_of(session, first) != NO_NODE) {
        fprintf(stream, ", NUMA node %d", node_of(session, first));
    }
    for (int ppu = first; ppu < count; ppu++) {
        if (view_concerns(session, ppu) && are_in_one_box(session, first, ppu)) {
            fprintf(stream, "%s%d", cards == 0 ? "\\nPPU " : cards % 8 == 0 ? ",\\n" : ",", ppu);
            cards++;
        }
    }
    fprintf(stream, "\\ncards: %d, links inside: %d\", fillcolor=\"%s\"];\n", cards, inside.wired,
            graph_colour(session->owners.of[first]));
}

/* All boxes, the links between them, and the external ones. */
static void graph_put_boxes(const struct session *session, FILE *stream)
{
    int count = session->machine->topology.ppu_count;
    bool any_external = false;
    for (int a = 0; a < count; a++) {
        if (is_first_of_its_box(session, a)) {
            graph_put_box(session, stream, a);
        }
    }
    for (int a = 0; a < count; a++) {
        for (int b = a + 1; is_first_of_its_box(session, a) && b <= count; b++) {
            bool is_external = b == count;
            if (!is_external && !is_first_of_its_box(session, b)) {
                continue;
            }
            struct pair pair = box_pair(session, a, is_external ? EXTERNAL_PEER : b);
            if (pair.wired == 0) {
                continue;
            }
            if (is_external) {
                fputs(any_external ? "" : "  external [shape=ellipse, fillcolor=white];\n", stream);
                any_external = true;
                fprintf(stream, "  box%d -- external", a);
            } else {
                fprintf(stream, "  box%d -- box%d", a, b);
            }
            graph_put_edge(stream, &pair);
        }
    }
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
    int shown = 0;
    for (int ppu = 0; ppu < count; ppu++) {
        shown += view_concerns(session, ppu);
    }
    if (shown > CARDS_DRAWN_SINGLY) {
        graph_put_boxes(session, stream);
        fputs("}\n", stream);
        return;
    }
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
