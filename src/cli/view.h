/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdio.h>

#include "cli/json.h"
#include "cli/table.h"
#include "cli/verbs.h"
#include "engine/links.h"

/* The host as the verbs that look see it, and what several of them show of it. */

/* A session in which every register was read and everything that is wrong or cannot be seen is noted; the lock is
 * given back.  Where arguments name cards, VMs or groups, all other cards are left out of it.  To be closed in each
 * case. */
MUST_CHECK int view_open(struct session *session, const struct options *options, struct error *err);
/* The same if the cards do not fit [map]: the machine has the fault then, and of cards that are not sure nothing was
 * read. */
MUST_CHECK int view_open_leniently(struct session *session, const struct options *options, struct error *err);
/* Its steps, for a verb whose arguments may be something else: the registers are read, cards are left out, and what is
 * left is looked at. */
MUST_CHECK int view_start(struct session *session, const struct options *options, struct error *err);
MUST_CHECK int view_choose(struct session *session, const struct options *options, struct error *err);
void view_find(struct session *session, const struct options *options);

/* The card is not left out, or is joined to one that is not. */
bool view_concerns(const struct session *session, int ppu);

/* " of these cards" if some are left out, else "": to be put after "every link". */
const char *view_scope_text(const struct session *session);

/* Adds "leaks": the pairs of cards between which a link leaks.  Returns how many there are. */
int view_put_leaks(const struct session *session, struct json_object *object);
int view_count_leaks(const struct session *session);

/* "22 links must be cut: 4 read now, 18 read back at 09:12:03 before QEMU opened the cards, 0 unverified" */
enum { COVERAGE_TEXT_SIZE = 256 };
const char *coverage_text(const struct coverage *coverage, char text[COVERAGE_TEXT_SIZE]);

/* What status and topo say of a card, in cells of a table. */

/* ADDRESS, DRIVER, NUMA, GROUP: the latter two are numbers. */
enum { PLACE_CELLS = 4 };
void card_cells_add_place_titles(struct table *table);
void card_cells_add_place(struct table *table, const struct session *session, int ppu);

void card_cells_add_owner(struct table *table, const struct session *session, int ppu);

/* Prints TEXT for within quotes: a backslash before each backslash and quote, and INSTEAD of each SPECIAL. */
void view_put_quoted(FILE *stream, const char *text, char special, const char *instead);

/* Prints the cards and their links as a matrix that fits into the terminal. */
void matrix_print(const struct session *session, const struct output *output);

/* Prints the cards and their links as a graph, in Graphviz' language. */
void graph_print(const struct session *session, FILE *stream);

/* Prints what is known in Prometheus' text format, for node_exporter's textfile collector. */
void prometheus_print(const struct session *session, FILE *stream);
/* … when the host could not be looked at: that nothing is known. */
void prometheus_print_down(FILE *stream);
