/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdio.h>

#include "base/text.h"
#include "cli/json.h"
#include "cli/table.h"
#include "cli/verbs.h"
#include "core/mask.h"
#include "engine/inspection.h"

/* The host as status and check see it. */
struct view {
    struct machine *machine;
    struct inspection inspection;
    struct text_list findings;
    int leaks;
    int drifts;
    bool in_doubt; /* a ledger entry that nobody can read may hide an owner */
};

/* Opens everything and reads every register. */
MUST_CHECK int view_open(struct view *view, const struct options *options, struct error *err);
void view_close(struct view *view);

/* Every VM is known to be isolated. */
bool view_is_fine(const struct view *view);

/* Adds "leaks": the pairs of cards between which a link leaks. */
void view_put_leaks(const struct view *view, struct json_object *object);

/* What status and topo say of a card, in cells of a table. */

/* ADDRESS, DRIVER, NUMA, GROUP: the latter two are numbers. */
enum { PLACE_CELLS = 4 };
void card_cells_add_place_titles(struct table *table);
void card_cells_add_place(struct table *table, const struct view *view, int ppu);

void card_cells_add_owner(struct table *table, const struct view *view, int ppu);

/* Prints the cards and their links as a matrix that fits into the terminal. */
void matrix_print(const struct view *view, const struct output *output);

/* Prints the cards and their links as a graph, in Graphviz' language. */
void graph_print(const struct view *view, FILE *stream);

/* Prints a view in Prometheus' text format, for node_exporter's textfile collector. */
void prometheus_print(const struct view *view, FILE *stream);
/* … when there is no view: that nothing is known. */
void prometheus_print_down(FILE *stream);
