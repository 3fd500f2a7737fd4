/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * What is in the state's directory, which state_lock() has opened, locked and found to be
 * ours, and how it is read:
 *
 *   lock             see state_lock.c
 *   UUID.json        a claim; one that ends is removed
 *   cards.json       the memory of all cards
 *   identity         [map] and topology as they are in force (boot_identity.c)
 *   ended-UUID       empty: the domain has ended, its claim does not count any more; made
 *                    by a caller that did not get the lock
 *   enabled-BDF      empty: memory decoding of that card is switched on by us
 *   .NAME.PID.tmp    a file being written, or what a killed writer left
 *
 * Everything is reached through the directory's descriptor and without following symlinks,
 * by one listing, each file once.  A file that is not what its name says is a fault of its own: its cards are in
 * doubt, those of the others are not.
 *
 * Entries of version 0.1 are UUID.json too, and hold the memory of cards besides the claim.
 * They are carried over in an order that makes a kill harmless: cards.json first, with what all of them hold, then
 * one after the other is replaced by a claim, or removed if its domain had ended.  Carrying over once more changes nothing.
 */
#include "host/state.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/paths.h"
#include "host/state_files.h"

/* What reading finds besides what goes into the state. */
struct reading_pass {
    struct state *state;
    struct card_memory *carried; /* from entries of version 0.1, in the order of their names */
    size_t carried_count;
    struct text_list obsolete; /* uuids of claims of another boot */
    struct text_list ended;    /* uuids of entries of version 0.1 that are no claim any more */
};

static int64_t clock_ms(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t state_boottime_ms(void)
{
    return clock_ms(CLOCK_BOOTTIME);
}

bool state_is_canonical(const char *uuid)
{
    char canonical[UUID_SIZE];
    return text_parse_uuid(uuid, canonical) && strcmp(uuid, canonical) == 0;
}

/* "UUID.json" */
static bool parse_claim_name(const char *name, char uuid[UUID_SIZE])
{
    char text[UUID_SIZE];
    if (strlen(name) != CLAIM_FILE_SIZE - 1 || strcmp(name + UUID_SIZE - 1, CLAIM_ENDING) != 0) {
        return false;
    }
    snprintf(text, sizeof text, "%.*s", UUID_SIZE - 1, name);
    if (!state_is_canonical(text)) {
        return false;
    }
    memcpy(uuid, text, sizeof text);
    return true;
}

/* "enabled-BDF", as state_note_enabled() writes it. */
static bool parse_enabled_name(const char *name, struct bdf *bdf)
{
    char canonical[BDF_TEXT_SIZE];
    const char *text = name + strlen(ENABLED_PREFIX);
    return strncmp(name, ENABLED_PREFIX, strlen(ENABLED_PREFIX)) == 0 && bdf_parse(text, bdf) &&
           strcmp(text, bdf_format(*bdf, canonical)) == 0;
}

static void add_fault(struct state *state, enum state_fault_kind kind, const char *uuid, const char *name,
                      const struct error *error)
{
    struct stat facts;
    int64_t age = 0;
    if (fstatat(state->dirfd, name, &facts, AT_SYMLINK_NOFOLLOW) == 0) {
        age = clock_ms(CLOCK_REALTIME) - ((int64_t)facts.st_mtim.tv_sec * 1000 + facts.st_mtim.tv_nsec / 1000000);
    }
    state->faults = memory_grow(state->faults, state->fault_count + 1, sizeof *state->faults);
    struct state_fault *fault = &state->faults[state->fault_count++];
    *fault = (struct state_fault){.kind = kind, .age_ms = age > 0 ? age : 0, .error = *error};
    fault->is_damaged = error->status == STATUS_INVALID;
    memcpy(fault->uuid, uuid, strlen(uuid) + 1);
    if (fault->is_damaged && kind != FAULT_FOREIGN) {
        const char *when = kind == FAULT_IDENTITY ? "; when no VM or group has a card any more, run" : "; run";
        error_append(&fault->error, "%s: icn-hook repair", when);
    }
}

/* 1: the file is gone. */
static int read_state_file(int dirfd, const char *name, const char *path, size_t limit, struct buffer *content,
                           struct error *err)
{
    struct stat facts;
    CLEANUP_FD int fd = openat(dirfd, name, O_RDONLY | STATE_OPEN_FLAGS);
    if (fd < 0) {
        int number = errno;
        return number == ENOENT ? 1 : state_open_failed(number, path, err);
    }
    if (fstat(fd, &facts) < 0) {
        return error_set_errno(err, STATUS_HARDWARE, errno, "cannot examine %s", path);
    }
    if (state_check_ours(&facts, S_IFREG, path, err) < 0) {
        return -1;
    }
    return file_read_fd(fd, path, limit, NO_DEADLINE, content, err);
}

/* Takes over what CLAIM owns. */
static void keep_claim(struct reading_pass *pass, struct claim *claim, bool is_other_boot)
{
    struct state *state = pass->state;
    if (is_other_boot || claim->phase == CLAIM_ENDED) {
        text_list_add_copy(is_other_boot ? &pass->obsolete : &pass->ended, claim->uuid);
        claim_free(claim);
        return;
    }
    if (claim->is_carried_over) {
        claim->boottime_ms = state_boottime_ms();
    }
    state->claims = memory_grow(state->claims, state->claim_count + 1, sizeof *state->claims);
    state->claims[state->claim_count++] = *claim;
}

static void read_claim(struct reading_pass *pass, const char *name, const char *uuid)
{
    struct state *state = pass->state;
    struct buffer content = {0};
    struct claim claim;
    struct card_memory *carried = NULL;
    size_t carried_count = 0;
    bool is_other_boot;
    struct error error;
    CLEANUP_FREE char *path = paths_resolve(PATH_STATE "/%s", name);
    int result = read_state_file(state->dirfd, name, path, CLAIM_LIMIT, &content, &error);
    if (result == 0) {
        result = claim_parse(content.data, content.length, path, state->boot_id, &claim, &is_other_boot, &carried,
                             &carried_count, &error);
        buffer_free(&content);
        if (result == 0 && strcmp(claim.uuid, uuid) != 0) {
            result = error_set(&error, STATUS_INVALID, "%s: it is the claim of %s", path, claim.uuid);
            claim_free(&claim);
            carried_count = 0;
        }
    }
    if (result < 0) {
        add_fault(state, FAULT_CLAIM, uuid, name, &error);
    } else if (result == 0) {
        state->has_old_entries = state->has_old_entries || (claim.is_carried_over && !is_other_boot);
        for (size_t i = 0; !is_other_boot && i < carried_count; i++) {
            pass->carried = memory_grow(pass->carried, pass->carried_count + 1, sizeof *pass->carried);
            pass->carried[pass->carried_count++] = carried[i];
        }
        keep_claim(pass, &claim, is_other_boot);
    }
    free(carried);
}

static void read_cards(struct state *state)
{
    struct buffer content = {0};
    struct error error;
    CLEANUP_FREE char *path = paths_resolve(PATH_STATE "/" CARDS_FILE);
    int result = read_state_file(state->dirfd, CARDS_FILE, path, CARDS_LIMIT, &content, &error);
    if (result == 0) {
        result =
            cards_parse(content.data, content.length, path, state->boot_id, &state->cards, &state->card_count, &error);
    }
    if (result < 0) {
        buffer_free(&content);
        add_fault(state, FAULT_CARDS, "", CARDS_FILE, &error);
    }
    state->cards_on_disk = content.data;
}

static void read_identity(struct state *state)
{
    struct buffer content = {0};
    struct error error;
    CLEANUP_FREE char *path = paths_resolve(PATH_STATE "/" IDENTITY_FILE);
    int result = read_state_file(state->dirfd, IDENTITY_FILE, path, IDENTITY_LIMIT, &content, &error);
    if (result < 0 || (result == 0 && boot_identity_parse(content.data, content.length, path, state->boot_id,
                                                          &state->identity, &error) < 0)) {
        add_fault(state, FAULT_IDENTITY, "", IDENTITY_FILE, &error);
    }
    buffer_free(&content);
}

static void read_named(struct reading_pass *pass, const char *name)
{
    struct state *state = pass->state;
    char uuid[UUID_SIZE];
    struct bdf bdf;
    if (name[0] == '.' || strcmp(name, LOCK_FILE) == 0) {
        return;
    }
    if (parse_claim_name(name, uuid)) {
        read_claim(pass, name, uuid);
    } else if (strcmp(name, CARDS_FILE) == 0) {
        read_cards(state);
    } else if (strcmp(name, IDENTITY_FILE) == 0) {
        read_identity(state);
    } else if (strncmp(name, TOMBSTONE_PREFIX, strlen(TOMBSTONE_PREFIX)) == 0 &&
               state_is_canonical(name + strlen(TOMBSTONE_PREFIX))) {
        text_list_add_copy(&state->tombstones, name + strlen(TOMBSTONE_PREFIX));
    } else if (parse_enabled_name(name, &bdf)) {
        state->enabled_notes =
            memory_grow(state->enabled_notes, state->enabled_note_count + 1, sizeof *state->enabled_notes);
        state->enabled_notes[state->enabled_note_count++] = bdf;
    } else {
        struct error error;
        CLEANUP_FREE char *path = paths_resolve(PATH_STATE "/%s", name);
        error_set(&error, STATUS_INVALID, "%s does not belong to icn-hook; find out what made it and move it away",
                  path);
        add_fault(state, FAULT_FOREIGN, "", name, &error);
    }
}

/* What cards.json has is older, and so nearer to what was there before our first write. */
static void merge_carried(struct reading_pass *pass)
{
    for (size_t i = 0; i < pass->carried_count; i++) {
        const struct card_memory *carried = &pass->carried[i];
        struct card_memory *memory = state_remember(pass->state, carried->bdf);
        if (!memory->has_original) {
            memory->has_original = true;
            memory->original = carried->original;
        }
        memory->has_written = true;
        memory->written |= carried->written;
    }
}

static bool unlink_claim(const struct state *state, const char *uuid)
{
    char name[CLAIM_FILE_SIZE];
    snprintf(name, sizeof name, "%s" CLAIM_ENDING, uuid);
    return unlinkat(state->dirfd, name, 0) == 0;
}

/* What cannot be done now is tried again by the next one. */
static void carry_over(struct reading_pass *pass)
{
    struct state *state = pass->state;
    struct error unused;
    if (!state->has_old_entries || state_write_cards(state, &unused) < 0) {
        return;
    }
    for (size_t i = 0; i < state->claim_count; i++) {
        struct claim *claim = &state->claims[i];
        if (claim->is_carried_over && state_replace_claim(state, claim, &unused) == 0) {
            claim->is_carried_over = false;
        }
    }
    for (size_t i = 0; i < pass->ended.count; i++) {
        unlink_claim(state, pass->ended.items[i]);
    }
}

/* With the exclusive lock nobody else is writing, so a temporary file is what a killed
 * writer left.  What cannot be removed does no harm: nobody reads it. */
static void tidy(struct reading_pass *pass, const struct text_list *names)
{
    struct state *state = pass->state;
    for (size_t i = 0; i < names->count; i++) {
        const char *name = names->items[i];
        if (name[0] == '.' && strcmp(strrchr(name, '.'), ".tmp") == 0) {
            unlinkat(state->dirfd, name, 0);
        }
    }
    for (size_t i = 0; i < pass->obsolete.count; i++) {
        const char *uuid = pass->obsolete.items[i];
        char tombstone[TOMBSTONE_SIZE];
        snprintf(tombstone, sizeof tombstone, TOMBSTONE_PREFIX "%s", uuid);
        if (unlink_claim(state, uuid) && unlinkat(state->dirfd, tombstone, 0) == 0) {
            state_drop_tombstone(state, uuid);
        }
    }
    carry_over(pass);
}

static int read_everything(struct state *state, const char *path, struct error *err)
{
    struct text_list names;
    struct reading_pass pass = {.state = state};
    if (file_list_at(state->dirfd, path, &names, err) < 0) {
        return -1;
    }
    /* A listing ends early, and without an error, in a directory that was removed meanwhile. */
    if (state->lockfd != -1 && !text_list_has(&names, LOCK_FILE)) {
        text_list_free(&names);
        return error_set(err, STATUS_HARDWARE, "%s was removed while it was read; try again", path);
    }
    for (size_t i = 0; i < names.count; i++) {
        read_named(&pass, names.items[i]);
    }
    if (state->enabled_note_count > 0) {
        qsort(state->enabled_notes, state->enabled_note_count, sizeof *state->enabled_notes, bdf_order);
    }
    for (size_t i = 0; i < state->claim_count; i++) {
        state->claims[i].is_ended = text_list_has(&state->tombstones, state->claims[i].uuid);
    }
    merge_carried(&pass);
    if (state->access == STATE_CHANGE) {
        tidy(&pass, &names);
    }
    free(pass.carried);
    text_list_free(&pass.obsolete);
    text_list_free(&pass.ended);
    text_list_free(&names);
    return 0;
}

int state_open(struct state *state, enum state_access access, int64_t deadline, struct error *err)
{
    struct state opened = STATE_CLOSED;
    CLEANUP_FREE char *path = paths_resolve(PATH_STATE);
    if (state_lock(&opened, path, access, deadline, err) < 0) {
        return -1;
    }
    if (opened.dirfd != -1 && read_everything(&opened, path, err) < 0) {
        state_close(&opened);
        return -1;
    }
    *state = opened;
    return 0;
}

void state_close(struct state *state)
{
    for (size_t i = 0; i < state->claim_count; i++) {
        claim_free(&state->claims[i]);
    }
    free(state->claims);
    cards_free(state->cards, state->card_count);
    free(state->faults);
    text_list_free(&state->tombstones);
    free(state->enabled_notes);
    free(state->cards_on_disk);
    boot_identity_free(state->identity);
    file_close_fd(&state->lockfd);
    file_close_fd(&state->dirfd);
    *state = STATE_CLOSED;
}

struct claim *state_claim(const struct state *state, const char *uuid)
{
    for (size_t i = 0; i < state->claim_count; i++) {
        if (strcmp(state->claims[i].uuid, uuid) == 0) {
            return &state->claims[i];
        }
    }
    return NULL;
}

const struct state_fault *state_unread_claim(const struct state *state, const char *uuid)
{
    for (size_t i = 0; i < state->fault_count; i++) {
        const struct state_fault *fault = &state->faults[i];
        if (fault->kind == FAULT_CLAIM && !fault->is_damaged && strcmp(fault->uuid, uuid) == 0) {
            return fault;
        }
    }
    return NULL;
}

/* The first card whose address is not below BDF.  Cards are learned in the order of their ids, which is mostly
 * that of their addresses: so the last is looked at first. */
static size_t find_card_place(const struct state *state, struct bdf bdf)
{
    size_t from = 0;
    size_t to = state->card_count;
    int order = to > 0 ? bdf_compare(state->cards[to - 1].bdf, bdf) : -1;
    if (order <= 0) {
        return order < 0 ? to : to - 1;
    }
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        if (bdf_compare(state->cards[middle].bdf, bdf) < 0) {
            from = middle + 1;
        } else {
            to = middle;
        }
    }
    return from;
}

struct card_memory *state_card(const struct state *state, struct bdf bdf)
{
    size_t at = find_card_place(state, bdf);
    return at < state->card_count && bdf_compare(state->cards[at].bdf, bdf) == 0 ? &state->cards[at] : NULL;
}

struct card_memory *state_remember(struct state *state, struct bdf bdf)
{
    size_t at = find_card_place(state, bdf);
    if (at < state->card_count && bdf_compare(state->cards[at].bdf, bdf) == 0) {
        return &state->cards[at];
    }
    state->cards = memory_grow(state->cards, state->card_count + 1, sizeof *state->cards);
    memmove(state->cards + at + 1, state->cards + at, (state->card_count - at) * sizeof *state->cards);
    state->card_count++;
    state->cards[at] = (struct card_memory){.bdf = bdf};
    return &state->cards[at];
}

struct claim *state_claim_add(struct state *state, const char *uuid, const char *name)
{
    struct claim *claim = state_claim(state, uuid);
    if (claim) {
        claim_free(claim);
    } else {
        size_t at = state->claim_count;
        state->claims = memory_grow(state->claims, state->claim_count + 1, sizeof *state->claims);
        while (at > 0 && strcmp(state->claims[at - 1].uuid, uuid) > 0) {
            state->claims[at] = state->claims[at - 1];
            at--;
        }
        state->claim_count++;
        claim = &state->claims[at];
    }
    *claim = (struct claim){.name = memory_copy_text(name)};
    snprintf(claim->uuid, sizeof claim->uuid, "%s", uuid);
    return claim;
}

const struct bdf *state_enabled_notes(const struct state *state, size_t *count)
{
    *count = state->enabled_note_count;
    return state->enabled_notes;
}
