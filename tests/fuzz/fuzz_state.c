/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * A claim, an entry of version 0.1, the memory of the cards or the identity, any bytes.  What is taken,
 * written and read again is the same, field by field, and written again the same text.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "host/state.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char boot_id[] = "6a0f2e5c-7b0d-4d0e-9c35-2f6c6d8b1a77";

static void require(bool condition)
{
    if (!condition) {
        abort();
    }
}

static void require_same_process(struct process_identity a, struct process_identity b)
{
    require(a.pid == b.pid && a.start == b.start);
}

static void require_same_claim(const struct claim *a, const struct claim *b)
{
    require(strcmp(a->uuid, b->uuid) == 0 && strcmp(a->name, b->name) == 0);
    require(a->is_group == b->is_group && a->phase == b->phase && a->has_daemon == b->has_daemon);
    if (a->has_daemon) {
        require_same_process(a->daemon, b->daemon);
    }
    require_same_process(a->process, b->process);
    require(a->since == b->since && a->boottime_ms == b->boottime_ms && a->card_count == b->card_count);
    for (size_t i = 0; i < a->card_count; i++) {
        require(bdf_compare(a->cards[i].bdf, b->cards[i].bdf) == 0 && a->cards[i].whole == b->cards[i].whole);
    }
}

static void require_same_memory(const struct card_memory *a, const struct card_memory *b)
{
    require(bdf_compare(a->bdf, b->bdf) == 0);
    require(a->has_original == b->has_original && a->original == b->original);
    require(a->has_written == b->has_written && a->written == b->written);
    require(a->evidence.at == b->evidence.at && a->evidence.mask == b->evidence.mask);
    require(a->evidence.owner_count == b->evidence.owner_count);
    for (size_t i = 0; i < a->evidence.owner_count; i++) {
        require(strcmp(a->evidence.owners[i], b->evidence.owners[i]) == 0);
    }
}

static void require_refused(const struct error *err)
{
    require(err->status == STATUS_INVALID && strncmp(err->text, "text: ", strlen("text: ")) == 0);
}

static void check_claim(const char *data, size_t size)
{
    struct claim first;
    struct claim second;
    struct card_memory *carried;
    size_t carried_count;
    bool is_other_boot;
    struct error err = {0};

    if (claim_parse(data, size, "text", boot_id, &first, &is_other_boot, &carried, &carried_count, &err) < 0) {
        require_refused(&err);
        return;
    }
    cards_free(carried, carried_count);
    if (first.phase == CLAIM_ENDED) {
        require(first.is_carried_over);
        claim_free(&first);
        return;
    }
    char *text = claim_format(&first, boot_id);
    require(claim_parse(text, strlen(text), "text", boot_id, &second, &is_other_boot, &carried, &carried_count, &err) ==
            0);
    require(!is_other_boot && carried_count == 0 && !second.is_carried_over);
    cards_free(carried, carried_count);
    require_same_claim(&first, &second);
    char *again = claim_format(&second, boot_id);
    require(strcmp(text, again) == 0);
    free(text);
    free(again);
    claim_free(&first);
    claim_free(&second);
}

static void check_cards(const char *data, size_t size)
{
    struct card_memory *first;
    struct card_memory *second;
    size_t first_count;
    size_t second_count;
    struct error err = {0};

    if (cards_parse(data, size, "text", boot_id, &first, &first_count, &err) < 0) {
        require_refused(&err);
        return;
    }
    char *text = cards_format(first, first_count, boot_id);
    require(cards_parse(text, strlen(text), "text", boot_id, &second, &second_count, &err) == 0);
    /* A card about which nothing is remembered is not written. */
    size_t next = 0;
    for (size_t i = 0; i < first_count; i++) {
        if (first[i].has_original || first[i].has_written || first[i].evidence.at != 0) {
            require(next < second_count);
            require_same_memory(&first[i], &second[next++]);
        }
    }
    require(next == second_count);
    char *again = cards_format(second, second_count, boot_id);
    require(strcmp(text, again) == 0);
    free(text);
    free(again);
    cards_free(first, first_count);
    cards_free(second, second_count);
}

static void check_identity(const char *data, size_t size)
{
    struct boot_identity *identity = NULL;
    struct error err = {0};

    if (boot_identity_parse(data, size, "text", boot_id, &identity, &err) < 0) {
        require(err.status == STATUS_INVALID && strncmp(err.text, "text:", strlen("text:")) == 0);
        return;
    }
    if (identity) {
        char *text = boot_identity_format(identity, boot_id);
        require(strlen(text) == size && memcmp(text, data, size) == 0);
        free(text);
    }
    boot_identity_free(identity);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_identity((const char *)data, size);
    check_claim((const char *)data, size);
    check_cards((const char *)data, size);
    return 0;
}
