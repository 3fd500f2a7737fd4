/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>

#include "base/error.h"
#include "cli/output.h"

/* Rows of cells, printed in columns as wide as their content.  A cell is one or
 * more pieces of text, each with its colour.  On a terminal that is too narrow, first
 * the column SHRINKING gives way, then the last one is cut where the line ends. */
enum { TABLE_COLUMNS_MAX = 12, SHRUNK_WIDTH = 12 };

struct table {
    size_t columns;
    bool right[TABLE_COLUMNS_MAX]; /* numbers: aligned at their ends */
    size_t head_rows;              /* titles, which OUTPUT may be without */
    size_t shrinking;              /* a column that may be as narrow as SHRUNK_WIDTH; 0: none */
    struct table_cell *cells;      /* row by row */
    size_t cell_count;
};

void table_open(struct table *table, size_t columns);
void table_free(struct table *table);

/* The next cell; control characters are escaped. */
void table_add(struct table *table, enum colour colour, const char *format, ...) PRINTF_LIKE(3, 4);

/* One more piece of the cell that was added last. */
void table_append(struct table *table, enum colour colour, const char *text);

void table_print(const struct table *table, const struct output *output);

/* The columns that TEXT takes on a terminal, which shows Chinese names twice as
 * wide as Latin ones. */
int table_text_width(const char *text);
