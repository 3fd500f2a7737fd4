/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation
 *
 * The vendor's tool is given groups of cards, not masks, and says nothing about single
 * registers.  Its command line is the vendor guide's:
 *   ppudbg --direct --micnop iso TOPOLOGY "A,B|C,D"   cuts each link that leaves its group,
 *                                                     opens those inside it
 *   ppudbg --direct --micnop iso reset                opens all links of the machine
 * The words before TOPOLOGY are a setting: of newer tools they are others (ppucli --iso).  Cards
 * are named by address: the tool's ids are its own, and may change at a reboot.
 *
 * From a plan, groups are made:
 * - a near end is given with all cards of its owner, or alone if it has several owners or an
 *   unknown one;
 * - an idle card whose links are to be opened is isolated alone as long as anybody has a card,
 *   or idle cards are to be isolated; only then all is reset, which reaches the whole machine
 *   (design section 7).  So it may keep more cuts than planned, until the last owner is gone;
 * - an idle card that is to be cut off whole is isolated alone.
 * Other cuts of far ends are not made: they would need cards of somebody else in a group.
 *
 * One call is all there is, so either all of this was done or nothing is known.  What becomes of it is
 * the tool's exit status; of what it prints the last line is shown in the error.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/paths.h"
#include "base/spawn.h"
#include "core/ownership.h"
#include "registers/ppudbg.h"
#include "registers/registers.h"

enum { MILLISECONDS = 1000, LINK_TEXT_SIZE = sizeof "-2147483648", SHOWN_LIST = 80, NO_GROUP = 0 };

static void ppudbg_read(struct registers *registers, const struct card_address *card, bool may_touch,
                        struct reading *reading)
{
    (void)registers;
    (void)card;
    (void)may_touch;
    *reading = (struct reading){
        .kind = READING_UNVERIFIABLE,
        .why = "backend ppudbg cannot read single registers; set backend = mmio to verify them",
    };
}

static void ppudbg_read_status(struct registers *registers, const struct card_address *card, bool may_touch,
                               struct reading *reading)
{
    (void)registers;
    (void)card;
    (void)may_touch;
    *reading = (struct reading){
        .kind = READING_UNVERIFIABLE,
        .why = "no witness: backend ppudbg cannot read the link status register",
    };
}

/* ARGV[0] becomes the tool. */
static int run_tool(const struct settings *settings, char *argv[], struct buffer *output, struct error *err)
{
    CLEANUP_FREE char *path = paths_resolve_tool(settings->ppudbg_path);
    int64_t deadline = deadline_after_ms((int64_t)settings->ppudbg_timeout * MILLISECONDS);
    argv[0] = path;
    if (spawn_capture(argv, deadline, output, err) == 0) {
        return 0;
    }
    if (access(path, X_OK) < 0) {
        error_set(err, err->status, "%s; check path in [ppudbg]", err->text);
    }
    return -1;
}

/* Runs the tool with the words of [ppudbg] isolate, FIRST and, if there is one, SECOND. */
static int run_iso(const struct settings *settings, char *first, char *second, struct error *err)
{
    char words[WORDS_SIZE];
    char *argv[WORDS_SIZE / 2 + 4] = {NULL}; /* the tool, its words, FIRST, SECOND, NULL */
    char *save;
    size_t count = 1;
    struct buffer output = {0};
    snprintf(words, sizeof words, "%s", settings->ppudbg_isolate);
    for (char *word = strtok_r(words, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
        argv[count++] = word;
    }
    argv[count++] = first;
    argv[count] = second;
    if (run_tool(settings, argv, &output, err) == 0) {
        buffer_free(&output);
        return 0;
    }
    const char *slash = strrchr(settings->ppudbg_path, '/');
    return error_wrap(err, "%s %s %s%s%.*s%s", slash ? slash + 1 : settings->ppudbg_path, settings->ppudbg_isolate,
                      first, second ? " \"" : "", SHOWN_LIST, second ? second : "", second ? "\"" : "");
}

int ppudbg_read_topology(const struct settings *settings, struct buffer *output, struct error *err)
{
    char *argv[] = {NULL, "--topo_read", NULL};
    return run_tool(settings, argv, output, err) < 0 ? error_wrap(err, "ppudbg --topo_read") : 0;
}

static enum ppudbg_link parse_link_status(const struct buffer *output)
{
    static const char key[] = "Link Status:";
    enum ppudbg_link found = PPUDBG_LINK_UNKNOWN;
    int count = 0;
    char *rest = output->data;
    for (char *line = strsep(&rest, "\n"); line; line = strsep(&rest, "\n")) {
        char *save;
        line += strspn(line, " \t");
        if (strncmp(line, key, strlen(key)) != 0) {
            continue;
        }
        const char *word = strtok_r(line + strlen(key), " \t\r", &save);
        if (word) {
            found = strcasecmp(word, "up") == 0 ? PPUDBG_LINK_UP : PPUDBG_LINK_DOWN;
        }
        count++;
    }
    return count == 1 ? found : PPUDBG_LINK_UNKNOWN;
}

int ppudbg_read_link(const struct settings *settings, struct bdf card, int link, enum ppudbg_link *status,
                     struct error *err)
{
    char bdf[BDF_TEXT_SIZE];
    char number[LINK_TEXT_SIZE];
    struct buffer output = {0};
    bdf_format(card, bdf);
    snprintf(number, sizeof number, "%d", link);
    char *argv[] = {NULL, "--device", bdf, "--micnop", "stat", number, NULL};
    if (run_tool(settings, argv, &output, err) < 0) {
        return error_wrap(err, "ppudbg --device %s --micnop stat %d", bdf, link);
    }
    *status = parse_link_status(&output);
    buffer_free(&output);
    return 0;
}

/* "0000:08:00.0,0000:7e:00.0|0000:a2:00.0": the cards of each group by ascending id, the groups in the order of their
 * first card.  GROUPS: group numbers, NO_GROUP = in none. */
static char *format_groups(const int groups[], const struct card_address cards[], int card_count)
{
    size_t size = ((size_t)card_count + 1) * BDF_TEXT_SIZE; /* each address with the sign before it */
    char *list = memory_alloc(size, 1);
    size_t length = 0;
    for (int first = 0; first < card_count; first++) {
        bool is_seen = groups[first] == NO_GROUP;
        for (int earlier = 0; earlier < first && !is_seen; earlier++) {
            is_seen = groups[earlier] == groups[first];
        }
        for (int card = first; card < card_count && !is_seen; card++) {
            if (groups[card] == groups[first]) {
                const char *sign = card > first ? "," : length > 0 ? "|" : "";
                char bdf[BDF_TEXT_SIZE];
                bdf_format(cards[card].bdf, bdf);
                length += (size_t)snprintf(list + length, size - length, "%s%s", sign, bdf);
            }
        }
    }
    return list;
}

/* What the tool is to be told.  Group numbers: an owner's is the owner's, that of a card
 * which is isolated alone is below NO_GROUP. */
struct ppudbg_call {
    int groups[PPU_MAX];
    bool is_needed;
    bool resets;
};

static void isolate_alone(struct ppudbg_call *call, int ppu)
{
    call->groups[ppu] = -1 - ppu;
    call->is_needed = true;
}

static void isolate_owner(struct ppudbg_call *call, const struct writing *writing, int ppu)
{
    int owner = writing->owners[ppu];
    if (owner <= OWNER_IDLE) {
        isolate_alone(call, ppu);
        return;
    }
    for (int card = 0; card < writing->ppu_count; card++) {
        if (writing->owners[card] == owner) {
            call->groups[card] = owner;
        }
    }
    call->is_needed = true;
}

static bool has_owner(const struct writing *writing)
{
    for (int ppu = 0; ppu < writing->ppu_count; ppu++) {
        if (writing->owners[ppu] != OWNER_IDLE) {
            return true;
        }
    }
    return false;
}

/* Everything is opened at once, and only if nobody has a card. */
static bool is_opened_by_reset(const struct writing *writing, const struct plan_write *write)
{
    return write->role != ROLE_NEAR && !plan_write_cuts(write) && !writing->isolate_idle && !has_owner(writing);
}

/* Until then a card that lost its owner keeps its cuts, and is cut off from its old neighbours too; so is one that is
 * to be cut off whole. */
static bool is_isolated_alone(const struct writing *writing, const struct plan_write *write)
{
    return write->role != ROLE_NEAR && writing->owners[write->ppu] == OWNER_IDLE &&
           (plan_write_cuts(write) ? write->to == writing->cards[write->ppu].links : writing->freed[write->ppu]);
}

static void ppudbg_decide(struct ppudbg_call *call, const struct writing *writing)
{
    *call = (struct ppudbg_call){0};
    for (size_t i = 0; i < writing->plan->count; i++) {
        const struct plan_write *write = &writing->plan->writes[i];
        if (write->role == ROLE_NEAR) {
            isolate_owner(call, writing, write->ppu);
        } else if (is_opened_by_reset(writing, write)) {
            call->resets = true;
            isolate_alone(call, write->ppu);
        } else if (is_isolated_alone(writing, write)) {
            isolate_alone(call, write->ppu);
        }
    }
}

static void wake_named(struct registers *registers, const struct writing *writing, const struct ppudbg_call *call)
{
    CLEANUP_FREE struct bdf *bdfs = memory_alloc((size_t)writing->ppu_count, sizeof *bdfs);
    size_t count = 0;
    for (int ppu = 0; ppu < writing->ppu_count; ppu++) {
        if (call->groups[ppu] != NO_GROUP) {
            bdfs[count++] = writing->cards[ppu].bdf;
        }
    }
    registers_wake(registers, bdfs, count);
}

static int run_call(const struct registers *registers, const struct writing *writing, const struct ppudbg_call *call,
                    struct error *err)
{
    char word[] = "reset";
    if (call->resets) {
        return run_iso(registers->settings, word, NULL, err);
    }
    CLEANUP_FREE char *topology = paths_resolve("%s", registers->settings->topology);
    CLEANUP_FREE char *list = format_groups(call->groups, writing->cards, writing->ppu_count);
    return run_iso(registers->settings, topology, list, err);
}

static int ppudbg_write_plan(struct registers *registers, const struct writing *writing, enum apply_outcome outcomes[],
                             struct text_list *warnings, struct error *err)
{
    const struct plan *plan = writing->plan;
    struct ppudbg_call call;
    struct error failure = {.status = STATUS_HARDWARE};
    bool is_done = true;
    bool is_refused = false;
    ppudbg_decide(&call, writing);
    if (call.is_needed) {
        wake_named(registers, writing, &call);
        is_done = run_call(registers, writing, &call, &failure) == 0;
    }
    for (size_t i = 0; i < plan->count; i++) {
        const struct plan_write *write = &plan->writes[i];
        bool is_near = write->role == ROLE_NEAR;
        bool is_alone = is_isolated_alone(writing, write);
        bool is_made = is_near || is_opened_by_reset(writing, write) || (plan_write_cuts(write) && is_alone);
        if (!is_done && (is_made || is_alone)) {
            outcomes[i] = APPLY_FAILED;
        } else {
            outcomes[i] = is_made ? APPLY_DONE : APPLY_NOT_TRIED;
        }
        is_refused |= !is_done && is_near && plan_write_cuts(write) && !writing->keep_going;
    }
    if (is_refused) {
        *err = failure;
        return -1;
    }
    if (!is_done) {
        text_list_add(warnings, "%s", failure.text);
    }
    return 0;
}

const struct registers_backend registers_ppudbg = {
    .name = "ppudbg",
    .read = ppudbg_read,
    .read_status = ppudbg_read_status,
    .write_plan = ppudbg_write_plan,
};
