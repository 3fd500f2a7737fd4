/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The program never calls setlocale: its numbers, messages and sorting are those
 * of the C locale everywhere.  How wide a character is, is asked of C.UTF-8 by a
 * locale of this file's own; the names of VMs come from XML, so they are UTF-8
 * in every locale.
 */
#include "cli/table.h"

#include <locale.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#include "base/memory.h"
#include "base/text.h"

enum { GAP = 2, TEXT_SIZE = 1024 };
static const char cut_mark[] = "...";

struct piece {
    char *text; /* owned */
    enum colour colour;
};

struct table_cell {
    struct piece *pieces; /* owned */
    size_t count;
};

void table_open(struct table *table, size_t columns)
{
    *table = (struct table){.columns = columns, .head_rows = 1};
}

void table_free(struct table *table)
{
    for (size_t i = 0; i < table->cell_count; i++) {
        for (size_t j = 0; j < table->cells[i].count; j++) {
            free(table->cells[i].pieces[j].text);
        }
        free(table->cells[i].pieces);
    }
    free(table->cells);
    *table = (struct table){0};
}

void table_append(struct table *table, enum colour colour, const char *text)
{
    struct table_cell *cell = &table->cells[table->cell_count - 1];
    struct piece *last = cell->count > 0 ? &cell->pieces[cell->count - 1] : NULL;
    if (text[0] == '\0') {
        return;
    }
    if (last && last->colour == colour) {
        size_t length = strlen(last->text);
        size_t size = strlen(text) + 1;
        last->text = memory_grow(last->text, length + size, 1);
        memcpy(last->text + length, text, size);
        return;
    }
    cell->pieces = memory_grow(cell->pieces, cell->count + 1, sizeof *cell->pieces);
    cell->pieces[cell->count++] = (struct piece){.text = memory_copy_text(text), .colour = colour};
}

void table_add(struct table *table, enum colour colour, const char *format, ...)
{
    char raw[TEXT_SIZE];
    char text[4 * TEXT_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(raw, sizeof raw, format, arguments);
    va_end(arguments);
    text_escape(text, sizeof text, raw);
    table->cells = memory_grow(table->cells, table->cell_count + 1, sizeof *table->cells);
    table->cells[table->cell_count++] = (struct table_cell){0};
    table_append(table, colour, text);
}

/* The character at TEXT: its bytes, and its columns.  What is not a character, or
 * has no width, counts as one column a byte. */
static size_t measure(const char *text, int *columns)
{
    mbstate_t state = {0};
    wchar_t character;
    size_t bytes = mbrtowc(&character, text, MB_CUR_MAX, &state);
    *columns = bytes <= MB_CUR_MAX ? wcwidth(character) : -1;
    if (*columns < 0) {
        *columns = 1;
        return 1;
    }
    return bytes;
}

/* Bytes of TEXT that fit into COLUMNS, which is lessened by what they take. */
static size_t fit(const char *text, int *columns)
{
    size_t bytes = 0;
    while (text[bytes]) {
        int wide;
        size_t next = measure(text + bytes, &wide);
        if (wide > *columns) {
            break;
        }
        *columns -= wide;
        bytes += next;
    }
    return bytes;
}

static locale_t enter_locale(locale_t *before)
{
    locale_t own = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
    *before = own != (locale_t)0 ? uselocale(own) : (locale_t)0;
    return own;
}

static void leave_locale(locale_t own, locale_t before)
{
    if (own != (locale_t)0) {
        uselocale(before);
        freelocale(own);
    }
}

static int width_of(const char *text)
{
    int left = INT32_MAX;
    fit(text, &left);
    return INT32_MAX - left;
}

int table_text_width(const char *text)
{
    locale_t before;
    locale_t own = enter_locale(&before);
    int width = width_of(text);
    leave_locale(own, before);
    return width;
}

static int cell_width(const struct table_cell *cell)
{
    int width = 0;
    for (size_t i = 0; i < cell->count; i++) {
        width += width_of(cell->pieces[i].text);
    }
    return width;
}

/* What does not fit into ROOM is cut.  Returns how wide what was printed is. */
static int print_cell(const struct output *output, const struct table_cell *cell, int room)
{
    int mark = (int)strlen(cut_mark);
    bool is_cut = cell_width(cell) > room;
    bool is_marked = is_cut && room > mark;
    int kept = is_marked ? room - mark : room;
    int left = kept;
    for (size_t i = 0; i < cell->count; i++) {
        const char *text = cell->pieces[i].text;
        size_t length = fit(text, &left);
        enum colour colour = output->in_colour ? cell->pieces[i].colour : COLOUR_PLAIN;
        colour_begin(output->stream, colour);
        fwrite(cell->pieces[i].text, 1, length, output->stream);
        colour_end(output->stream, colour);
        if (text[length]) {
            break;
        }
    }
    fputs(is_marked ? cut_mark : "", output->stream);
    return kept - left + (is_marked ? mark : 0);
}

static void print_row(const struct table *table, const struct output *output, const struct table_cell *row,
                      const int widths[])
{
    int used = 0;
    int blanks = 0; /* owed: a line does not end in blanks */
    for (size_t column = 0; column < table->columns; column++) {
        const struct table_cell *cell = &row[column];
        bool is_last = column + 1 == table->columns;
        int room = !is_last ? widths[column] : output->width > 0 ? output->width - used : INT32_MAX;
        int before = table->right[column] && cell_width(cell) < room ? widths[column] - cell_width(cell) : 0;
        if (cell_width(cell) == 0 || room <= 0) {
            blanks += widths[column] + GAP;
        } else {
            fprintf(output->stream, "%*s", blanks + before, "");
            blanks = widths[column] - before - print_cell(output, cell, room) + GAP;
        }
        used += widths[column] + GAP;
    }
    fputc('\n', output->stream);
}

void table_print(const struct table *table, const struct output *output)
{
    int widths[TABLE_COLUMNS_MAX] = {0};
    locale_t before;
    locale_t own = enter_locale(&before);
    for (size_t i = 0; i < table->cell_count; i++) {
        int width = cell_width(&table->cells[i]);
        int *widest = &widths[i % table->columns];
        *widest = width > *widest ? width : *widest;
    }
    /* The column that may shrink leaves its room to the last one. */
    int missing = -output->width - GAP;
    int *shrinking = &widths[table->shrinking];
    for (size_t column = 0; column < table->columns; column++) {
        missing += widths[column] + GAP;
    }
    if (table->shrinking > 0 && output->width > 0 && missing > 0 && *shrinking > SHRUNK_WIDTH) {
        *shrinking = *shrinking - missing > SHRUNK_WIDTH ? *shrinking - missing : SHRUNK_WIDTH;
    }
    size_t first = output->no_header ? table->head_rows * table->columns : 0;
    for (size_t i = first; i + table->columns <= table->cell_count; i += table->columns) {
        print_row(table, output, &table->cells[i], widths);
    }
    leave_locale(own, before);
}
