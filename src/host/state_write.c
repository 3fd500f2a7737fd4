/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Changing the files of the state, in the order that makes a kill between any two steps
 * harmless: a claim goes before its tombstone goes, or the end that was noted would be
 * lost; a new claim is there before the old tombstone goes, and if only that is missing,
 * the start it belongs to has been refused.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/hook_call.h"
#include "base/memory.h"
#include "base/paths.h"
#include "host/state.h"
#include "host/state_files.h"

/* A writer must hold the lock, and UUID becomes a file's name. */
static int check_change(const struct state *state, const char *uuid, struct error *err)
{
    if (state->lockfd == -1 || state->access != STATE_CHANGE) {
        return error_set(err, STATUS_HARDWARE, "the state is not locked for a change");
    }
    if (uuid && !state_is_canonical(uuid)) {
        return error_set(err, STATUS_INVALID, "\"%s\" is not a canonical UUID", uuid);
    }
    return 0;
}

static int change_failed(int number, const char *what, const char *name, struct error *err)
{
    CLEANUP_FREE char *path = paths_resolve(PATH_STATE "/%s", name);
    return error_set_errno(err, STATUS_HARDWARE, number, "cannot %s %s", what, path);
}

/* Of PREFIX, UUID and ENDING. */
static int remove_state_file(int dirfd, const char *prefix, const char *middle, const char *ending, struct error *err)
{
    char name[CLAIM_FILE_SIZE + TOMBSTONE_SIZE];
    snprintf(name, sizeof name, "%s%s%s", prefix, middle, ending);
    if (unlinkat(dirfd, name, 0) < 0 && errno != ENOENT) {
        return change_failed(errno, "remove", name, err);
    }
    return 0;
}

static int replace_state_file(const struct state *state, const char *name, const char *text, struct error *err)
{
    if (file_replace_at(state->dirfd, name, text, strlen(text), 0600, err) < 0) {
        CLEANUP_FREE char *path = paths_resolve(PATH_STATE);
        error_wrap(err, "%s", path);
        return error_append(err, "; make sure that it is writable and has room");
    }
    return 0;
}

/* What cannot be read back would hide its cards. */
static int check_length(const char *name, const char *text, size_t limit, struct error *err)
{
    if (strlen(text) > limit) {
        return error_set(err, STATUS_INVALID, "%s is not written: it would have %zu bytes, more than %zu", name,
                         strlen(text), limit);
    }
    return 0;
}

static int check_cards_text(const struct state *state, const char *text, struct error *err)
{
    struct card_memory *cards;
    size_t count;
    if (check_length(CARDS_FILE, text, CARDS_LIMIT, err) < 0) {
        return -1;
    }
    if (cards_parse(text, strlen(text), CARDS_FILE, state->boot_id, &cards, &count, err) < 0) {
        return error_wrap(err, "an invalid memory of the cards is not written");
    }
    cards_free(cards, count);
    return 0;
}

int state_replace_claim(struct state *state, const struct claim *claim, struct error *err)
{
    char name[CLAIM_FILE_SIZE];
    struct claim read_back;
    bool is_other_boot;
    struct card_memory *carried;
    size_t carried_count;
    CLEANUP_FREE char *text = claim_format(claim, state->boot_id);
    snprintf(name, sizeof name, "%s" CLAIM_ENDING, claim->uuid);
    if (check_length(name, text, CLAIM_LIMIT, err) < 0) {
        return -1;
    }
    if (claim_parse(text, strlen(text), name, state->boot_id, &read_back, &is_other_boot, &carried, &carried_count,
                    err) < 0) {
        return error_wrap(err, "an invalid claim is not written");
    }
    claim_free(&read_back);
    cards_free(carried, carried_count);
    return replace_state_file(state, name, text, err);
}

static struct state_fault *find_fault(const struct state *state, enum state_fault_kind kind, const char *uuid)
{
    for (size_t i = 0; i < state->fault_count; i++) {
        if (state->faults[i].kind == kind && strcmp(state->faults[i].uuid, uuid) == 0) {
            return &state->faults[i];
        }
    }
    return NULL;
}

static void drop_fault(struct state *state, enum state_fault_kind kind, const char *uuid)
{
    struct state_fault *fault = find_fault(state, kind, uuid);
    if (fault) {
        size_t after = state->fault_count - (size_t)(fault - state->faults) - 1;
        memmove(fault, fault + 1, after * sizeof *fault);
        state->fault_count--;
    }
}

void state_drop_tombstone(struct state *state, const char *uuid)
{
    struct text_list kept = {0};
    for (size_t i = 0; i < state->tombstones.count; i++) {
        if (strcmp(state->tombstones.items[i], uuid) != 0) {
            text_list_add_copy(&kept, state->tombstones.items[i]);
        }
    }
    text_list_free(&state->tombstones);
    state->tombstones = kept;
}

/* The file of UUID may be an entry of version 0.1, which holds more than a claim. */
static int save_old_entries(struct state *state, struct error *err)
{
    return state->has_old_entries ? state_write_cards(state, err) : 0;
}

int state_write_claim(struct state *state, struct claim *claim, struct error *err)
{
    if (check_change(state, claim->uuid, err) < 0 || save_old_entries(state, err) < 0 ||
        state_replace_claim(state, claim, err) < 0) {
        return -1;
    }
    claim->is_carried_over = false;
    drop_fault(state, FAULT_CLAIM, claim->uuid);
    if (text_list_has(&state->tombstones, claim->uuid)) {
        if (remove_state_file(state->dirfd, TOMBSTONE_PREFIX, claim->uuid, "", err) < 0) {
            return -1;
        }
        state_drop_tombstone(state, claim->uuid);
    }
    claim->is_ended = false;
    return 0;
}

int state_remove_claim(struct state *state, const char *uuid, struct error *err)
{
    char kept_uuid[UUID_SIZE]; /* UUID may be the claim's own */
    if (check_change(state, uuid, err) < 0 || save_old_entries(state, err) < 0 ||
        remove_state_file(state->dirfd, "", uuid, CLAIM_ENDING, err) < 0) {
        return -1;
    }
    memcpy(kept_uuid, uuid, sizeof kept_uuid);
    struct claim *claim = state_claim(state, kept_uuid);
    if (claim) {
        claim_free(claim);
        size_t after = state->claim_count - (size_t)(claim - state->claims) - 1;
        memmove(claim, claim + 1, after * sizeof *claim);
        state->claim_count--;
    }
    drop_fault(state, FAULT_CLAIM, kept_uuid);
    if (remove_state_file(state->dirfd, TOMBSTONE_PREFIX, kept_uuid, "", err) < 0) {
        return -1;
    }
    state_drop_tombstone(state, kept_uuid);
    return 0;
}

int state_write_cards(struct state *state, struct error *err)
{
    const struct state_fault *fault = find_fault(state, FAULT_CARDS, "");
    if (check_change(state, NULL, err) < 0) {
        return -1;
    }
    if (fault) {
        *err = fault->error;
        return -1;
    }
    CLEANUP_FREE char *text = cards_format(state->cards, state->card_count, state->boot_id);
    CLEANUP_FREE char *nothing = cards_format(NULL, 0, state->boot_id);
    bool is_empty = strcmp(text, nothing) == 0;
    bool is_current = state->cards_on_disk ? strcmp(text, state->cards_on_disk) == 0 : is_empty;
    if (!is_current && is_empty && unlinkat(state->dirfd, CARDS_FILE, 0) < 0 && errno != ENOENT) {
        return change_failed(errno, "remove", CARDS_FILE, err);
    }
    if (!is_current && !is_empty &&
        (check_cards_text(state, text, err) < 0 || replace_state_file(state, CARDS_FILE, text, err) < 0)) {
        return -1;
    }
    if (!is_current) {
        free(state->cards_on_disk);
        state->cards_on_disk = is_empty ? NULL : memory_copy_text(text);
    }
    state->has_old_entries = false;
    return 0;
}

int state_write_identity(struct state *state, const struct boot_identity *identity, struct error *err)
{
    struct boot_identity *read_back = NULL;
    if (check_change(state, NULL, err) < 0) {
        return -1;
    }
    CLEANUP_FREE char *text = boot_identity_format(identity, state->boot_id);
    if (check_length(IDENTITY_FILE, text, IDENTITY_LIMIT, err) < 0) {
        return -1;
    }
    if (boot_identity_parse(text, strlen(text), IDENTITY_FILE, state->boot_id, &read_back, err) < 0) {
        return error_wrap(err, "an invalid identity is not written");
    }
    if (replace_state_file(state, IDENTITY_FILE, text, err) < 0) {
        boot_identity_free(read_back);
        return -1;
    }
    boot_identity_free(state->identity);
    state->identity = read_back;
    drop_fault(state, FAULT_IDENTITY, "");
    return 0;
}

int state_forget_cards_fault(struct state *state, struct error *err)
{
    if (check_change(state, NULL, err) < 0) {
        return -1;
    }
    if (!find_fault(state, FAULT_CARDS, "")) {
        return 0;
    }
    if (renameat(state->dirfd, CARDS_FILE, state->dirfd, DAMAGED_CARDS_FILE) < 0 && errno != ENOENT) {
        return change_failed(errno, "rename", CARDS_FILE, err);
    }
    drop_fault(state, FAULT_CARDS, "");
    return 0;
}

int state_mark_ended(const char *uuid, struct error *err)
{
    if (!state_is_canonical(uuid)) {
        return error_set(err, STATUS_INVALID, "\"%s\" is not a canonical UUID", uuid);
    }
    return ended_note(uuid, err);
}

int state_end_claim(struct state *state, const char *uuid, struct error *err)
{
    if (check_change(state, uuid, err) < 0 || state_mark_ended(uuid, err) < 0) {
        return -1;
    }
    if (!text_list_has(&state->tombstones, uuid)) {
        text_list_add_copy(&state->tombstones, uuid);
    }
    return 0;
}

bool state_knows(const char *uuid)
{
    struct stat facts;
    CLEANUP_FREE char *path = paths_resolve(PATH_STATE "/%s" CLAIM_ENDING, uuid);
    return state_is_canonical(uuid) && lstat(path, &facts) == 0;
}

int state_note_enabled(const struct state *state, struct bdf bdf, struct error *err)
{
    char text[BDF_TEXT_SIZE];
    char name[ENABLED_SIZE];
    if (check_change(state, NULL, err) < 0) {
        return -1;
    }
    snprintf(name, sizeof name, ENABLED_PREFIX "%s", bdf_format(bdf, text));
    CLEANUP_FD int fd = openat(state->dirfd, name, O_WRONLY | O_CREAT | STATE_OPEN_FLAGS, 0600);
    return fd < 0 ? change_failed(errno, "create", name, err) : 0;
}

int state_forget_enabled(const struct state *state, struct bdf bdf, struct error *err)
{
    char text[BDF_TEXT_SIZE];
    if (check_change(state, NULL, err) < 0) {
        return -1;
    }
    return remove_state_file(state->dirfd, ENABLED_PREFIX, bdf_format(bdf, text), "", err);
}
