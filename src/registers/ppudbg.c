/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The vendor's tool does the writing: it is told groups of cards, not masks,
 * and tells nothing of single registers.  Its command line is the vendor
 * guide's: ppudbg --direct --micnop iso TOPOLOGY "0,1|2,3", and … iso reset.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/paths.h"
#include "base/spawn.h"
#include "registers/ppudbg.h"
#include "registers/registers.h"

enum { MILLISECONDS = 1000, ID_SIZE = sizeof "|-2147483648", SHOWN_LIST = 80 };

static void ppudbg_read(struct registers *registers, const struct card_address *card, struct reading *reading)
{
    (void)registers;
    (void)card;
    *reading = (struct reading){
        .kind = READING_UNVERIFIABLE,
        .why = "backend ppudbg cannot read single registers; set backend = mmio to verify them",
    };
}

/* A simulated host may name a stand-in that lies outside its own tree. */
char *ppudbg_path(const struct settings *settings)
{
    char *path = paths_resolve("%s", settings->ppudbg_path);

    if (paths_simulated() && access(path, F_OK) != 0 && access(settings->ppudbg_path, F_OK) == 0) {
        free(path);
        path = memory_copy_text(settings->ppudbg_path);
    }
    return path;
}

/* ARGV[0] becomes the tool. */
static int run_tool(const struct settings *settings, char *argv[], struct buffer *output, struct error *err)
{
    CLEANUP_FREE char *path = ppudbg_path(settings);
    int64_t deadline = deadline_after_ms((int64_t)settings->ppudbg_timeout * MILLISECONDS);

    argv[0] = path;
    if (spawn_capture(argv, deadline, output, err) == 0) {
        return 0;
    }
    if (access(path, X_OK) != 0) {
        error_set(err, err->status, "%s; check path in [ppudbg]", err->text);
    }
    return -1;
}

/* Runs ppudbg --direct --micnop iso FIRST [SECOND]. */
static enum write_failure run_iso(const struct settings *settings, char *first, char *second, struct error *err)
{
    char *argv[] = {NULL, "--direct", "--micnop", "iso", first, second, NULL};
    struct buffer output = {0};

    if (run_tool(settings, argv, &output, err) == 0) {
        buffer_free(&output);
        return WRITE_FINE;
    }
    error_wrap(err, "ppudbg --direct --micnop iso %s%s%.*s%s", first, second != NULL ? " \"" : "", SHOWN_LIST,
               second != NULL ? second : "", second != NULL ? "\"" : "");
    return WRITE_FAILED;
}

int ppudbg_read_topology(const struct settings *settings, struct buffer *output, struct error *err)
{
    char *argv[] = {NULL, "--topo_read", NULL};

    return run_tool(settings, argv, output, err) < 0 ? error_wrap(err, "ppudbg --topo_read") : 0;
}

/* "0,1|2,3": the cards of each group by ascending id, the groups in the order of
 * their first card.  "" = no card is in a group. */
static char *format_groups(const int groups[], int card_count)
{
    char *list = memory_alloc((size_t)card_count + 1, ID_SIZE);
    size_t length = 0;

    for (int first = 0; first < card_count; first++) {
        bool seen = groups[first] < 0;

        for (int earlier = 0; earlier < first && !seen; earlier++) {
            seen = groups[earlier] == groups[first];
        }
        if (seen) {
            continue;
        }
        length += (size_t)snprintf(list + length, ID_SIZE, "%s%d", length > 0 ? "|" : "", first);
        for (int other = first + 1; other < card_count; other++) {
            if (groups[other] == groups[first]) {
                length += (size_t)snprintf(list + length, ID_SIZE, ",%d", other);
            }
        }
    }
    return list;
}

static enum write_failure ppudbg_isolate(struct registers *registers, const int groups[], int card_count,
                                         struct error *err)
{
    CLEANUP_FREE char *topology = paths_resolve("%s", registers->settings->topology);
    CLEANUP_FREE char *list = format_groups(groups, card_count);

    if (list[0] == '\0') {
        return WRITE_FINE;
    }
    return run_iso(registers->settings, topology, list, err);
}

static enum write_failure ppudbg_reset(struct registers *registers, struct error *err)
{
    char word[] = "reset";

    return run_iso(registers->settings, word, NULL, err);
}

const struct registers_backend registers_ppudbg = {
    .name = "ppudbg",
    .reads_back = false,
    .read = ppudbg_read,
    .isolate = ppudbg_isolate,
    .reset = ppudbg_reset,
};
