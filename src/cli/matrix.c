/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A matrix wants a line per card and a column per card.  With eight cards there is
 * room beside it for what else is known of each card.  With many, a cell is one
 * character, the ids at the head of the columns stand upright, and every eighth
 * column leaves a blank for the eye.  What still does not fit into the terminal is
 * printed in blocks of columns, each with those cards only that have a link into
 * it; what else is known of the cards is left to status then.
 */
#include "cli/view.h"

#include <string.h>

#include "cli/output.h"

enum {
    EASY_COUNT = 32, /* without a terminal: more cards make narrow cells */
    GAP = 2,         /* between the columns of a table */
    GROUP = 8,       /* cells between two blanks, in narrow matrices */
    OWNER_ROOM = 12, /* an owner's name may be cut to that */
    EXTERNAL_CELL = sizeof "  ext" - 1,
};

struct matrix {
    const struct session *session;
    const struct output *output;
    int columns[PPU_MAX]; /* the ids of cards that have one: those that are not left out, and those joined to them */
    int count;
    int digits; /* of the largest id */
    int cell;   /* columns of the terminal that one takes */
    bool all_facts;
    bool has_external; /* then a last cell is for them */
    signs_used used;
};

static int count_digits(int number)
{
    return snprintf(NULL, 0, "%d", number);
}

/* The text goes to the right end of a cell; COLUMN counts from 0 in its block. */
static void add_cell(struct table *table, const struct matrix *matrix, int column, enum colour colour, const char *text)
{
    char padded[32];
    bool wants_gap = matrix->cell == 1 && column > 0 && column % GROUP == 0;
    snprintf(padded, sizeof padded, "%*s", matrix->cell + (wants_gap ? 1 : 0), text);
    size_t blanks = strspn(padded, " ");
    char before[sizeof padded];
    snprintf(before, sizeof before, "%.*s", (int)blanks, padded);
    table_append(table, COLOUR_PLAIN, before);
    table_append(table, colour, padded + blanks);
}

/* OTHER may be EXTERNAL_PEER. */
static enum colour pair_text(struct matrix *matrix, int row, int other, char text[16])
{
    struct pair pair = pair_look(matrix->session, row, other);
    enum colour colour = COLOUR_PLAIN;
    snprintf(text, 16, row == other ? "X" : ".");
    if (row != other && pair.wired > 0) {
        const struct sign *sign = &signs[pair.verdict];
        colour = sign->colour;
        matrix->used |= 1u << pair.verdict;
        if (pair.verdict != VERDICT_OPEN) {
            snprintf(text, 16, "%c", sign->character);
        } else if (pair.open > 9 && matrix->cell == 1 && other != EXTERNAL_PEER) {
            snprintf(text, 16, "9");
        } else {
            snprintf(text, 16, "%d", pair.open);
        }
    }
    return colour;
}

static void add_external(struct table *table, const struct matrix *matrix, enum colour colour, const char *text)
{
    char blanks[EXTERNAL_CELL + 1];
    if (matrix->has_external) {
        snprintf(blanks, sizeof blanks, "%*s", EXTERNAL_CELL - (int)strlen(text), "");
        table_append(table, COLOUR_PLAIN, blanks);
        table_append(table, colour, text);
    }
}

/* The ids above the columns; upright, a digit per line, if they are wider than a
 * cell.  LINE counts down to 0. */
static void add_head(struct table *table, const struct matrix *matrix, int first, int end, int line)
{
    bool is_upright = matrix->cell <= matrix->digits;
    table_add(table, COLOUR_BOLD, "%s", line == 0 ? "PPU" : "");
    table_add(table, COLOUR_BOLD, "%s", "");
    for (int column = first; column < end; column++) {
        char text[16];
        snprintf(text, sizeof text, "%*d", matrix->digits, matrix->columns[column]);
        char digit[] = {text[matrix->digits - 1 - line], '\0'};
        add_cell(table, matrix, column - first, COLOUR_BOLD, is_upright ? digit : text + strspn(text, " "));
    }
    add_external(table, matrix, COLOUR_BOLD, line == 0 ? "ext" : "");
    if (matrix->all_facts && line == 0) {
        card_cells_add_place_titles(table);
    }
    for (int i = 0; matrix->all_facts && line > 0 && i < PLACE_CELLS; i++) {
        table_add(table, COLOUR_PLAIN, "%s", "");
    }
    table_add(table, COLOUR_BOLD, "%s", line == 0 ? "OWNER" : "");
}

static bool has_a_link_into(const struct matrix *matrix, int row, int first, int end)
{
    for (int column = first; column < end; column++) {
        int ppu = matrix->columns[column];
        for (int link = 0; link < LINK_MAX; link++) {
            if (row == ppu || matrix->session->machine->topology.peer[row][link] == ppu) {
                return true;
            }
        }
    }
    return false;
}

static int cells_width(const struct matrix *matrix, int count)
{
    return count * matrix->cell + (matrix->cell == 1 ? (count - 1) / GROUP : 0);
}

/* The widest cells that leave room for all facts, else for the owners, else the
 * narrowest.  Returns how many fit side by side. */
static int lay_out(struct matrix *matrix)
{
    int wide = matrix->digits + 2 > 3 ? matrix->digits + 2 : 3;
    if (matrix->output->width == 0) {
        matrix->all_facts = true;
        matrix->cell = matrix->count <= EASY_COUNT ? wide : 1;
        return matrix->count;
    }
    int owner = (int)strlen("OWNER");
    int driver = (int)strlen("DRIVER");
    for (int ppu = 0; ppu < matrix->session->machine->topology.ppu_count; ppu++) {
        if (matrix->session->left_out[ppu]) {
            continue;
        }
        char name[OWNER_TEXT_SIZE];
        int width = table_text_width(owners_text(&matrix->session->owners, ppu, name));
        owner = width > owner ? width : owner;
        width = (int)strlen(matrix->session->cards[ppu].state.driver);
        driver = width > driver ? width : driver;
    }
    owner = owner < OWNER_ROOM ? owner : OWNER_ROOM;
    int room = matrix->output->width - (int)strlen("PPU") - owner - 2 * GAP;
    room -= matrix->has_external ? EXTERNAL_CELL : 0;
    for (int all_facts = 1; all_facts >= 0; all_facts--) {
        int facts = all_facts ? (int)strlen("0000:00:00.0"
                                            "NUMA"
                                            "GROUP") +
                                    driver + PLACE_CELLS * GAP
                              : 0;
        for (matrix->cell = wide; matrix->cell > 0; matrix->cell--) {
            if (cells_width(matrix, matrix->count) + facts <= room) {
                matrix->all_facts = all_facts;
                return matrix->count;
            }
        }
    }
    int fitting = GROUP;
    matrix->cell = 1;
    while (cells_width(matrix, fitting + GROUP) <= room) {
        fitting += GROUP;
    }
    return fitting;
}

static void choose_columns(struct matrix *matrix)
{
    const struct session *session = matrix->session;
    const struct topology *topology = &session->machine->topology;
    for (int ppu = 0; ppu < topology->ppu_count; ppu++) {
        matrix->has_external |= !session->left_out[ppu] && topology_external(topology, ppu) != 0;
        if (view_concerns(session, ppu)) {
            matrix->columns[matrix->count++] = ppu;
        }
    }
    matrix->digits = count_digits(matrix->columns[matrix->count - 1]);
}

void matrix_print(const struct session *session, const struct output *output)
{
    struct matrix matrix = {.session = session, .output = output};
    choose_columns(&matrix);
    int fitting = lay_out(&matrix);
    for (int first = 0; first < matrix.count; first += fitting) {
        int end = first + fitting < matrix.count ? first + fitting : matrix.count;
        fputs(first > 0 ? "\n" : "", output->stream);
        bool is_whole = first == 0 && end == matrix.count;
        struct table table;
        table_open(&table, matrix.all_facts ? 3 + PLACE_CELLS : 3);
        table.right[0] = true;
        table.right[4] = table.right[5] = matrix.all_facts;
        table.head_rows = matrix.cell <= matrix.digits ? (size_t)count_digits(matrix.columns[end - 1]) : 1;
        for (int line = (int)table.head_rows - 1; line >= 0; line--) {
            add_head(&table, &matrix, first, end, line);
        }
        for (int row = 0; row < session->machine->topology.ppu_count; row++) {
            if (session->left_out[row] || (!is_whole && !has_a_link_into(&matrix, row, first, end))) {
                continue;
            }
            table_add(&table, COLOUR_BOLD, "%d", row);
            table_add(&table, COLOUR_PLAIN, "%s", "");
            char text[16];
            for (int column = first; column < end; column++) {
                enum colour colour = pair_text(&matrix, row, matrix.columns[column], text);
                add_cell(&table, &matrix, column - first, colour, text);
            }
            enum colour colour = pair_text(&matrix, row, EXTERNAL_PEER, text);
            add_external(&table, &matrix, colour, text);
            if (matrix.all_facts) {
                card_cells_add_place(&table, matrix.session, row);
            }
            card_cells_add_owner(&table, matrix.session, row);
        }
        table_print(&table, matrix.output);
        table_free(&table);
    }
    sign_print_legend(output,
                      matrix.has_external ? "X itself  . no link  1 number of open links  ext external links"
                                          : "X itself  . no link  1 number of open links",
                      matrix.used);
    if (fitting < matrix.count) {
        fputs("Too wide for this terminal; show some cards (topo NAME), or use --json or --dot.\n", output->stream);
    }
}
