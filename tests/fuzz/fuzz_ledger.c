/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * A ledger entry, any bytes.  What is taken, written and read again is the
 * same entry, field by field, and written again the same text.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "host/ledger.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char boot_id[] = "6a0f2e5c-7b0d-4d0e-9c35-2f6c6d8b1a77";

static void require(bool condition)
{
    if (!condition) {
        abort();
    }
}

static void require_equal_cards(const struct ledger_card *a, const struct ledger_card *b)
{
    require(bdf_compare(a->bdf, b->bdf) == 0);
    require(a->ppu == b->ppu);
    require(a->owned == b->owned && a->whole == b->whole);
    require(a->has_original == b->has_original && a->original == b->original);
}

static void require_equal(const struct ledger_entry *a, const struct ledger_entry *b)
{
    require(strcmp(a->uuid, b->uuid) == 0);
    require(strcmp(a->name, b->name) == 0);
    require(a->phase == b->phase);
    require(a->caller.pid == b->caller.pid && a->caller.start == b->caller.start);
    require(a->since == b->since);
    require(a->card_count == b->card_count);
    for (size_t i = 0; i < a->card_count; i++) {
        require_equal_cards(&a->cards[i], &b->cards[i]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ledger_entry first;
    struct ledger_entry second;
    struct error err = {0};

    if (ledger_entry_parse((const char *)data, size, "entry", boot_id, &first, &err) < 0) {
        require(err.status == STATUS_INVALID && strncmp(err.text, "entry: ", strlen("entry: ")) == 0);
        return 0;
    }
    char *text = ledger_entry_format(&first, boot_id);
    require(ledger_entry_parse(text, strlen(text), "entry", boot_id, &second, &err) == 0);
    require_equal(&first, &second);
    require(!second.other_boot);
    char *again = ledger_entry_format(&second, boot_id);
    require(strcmp(text, again) == 0);
    free(text);
    free(again);
    ledger_entry_free(&first);
    ledger_entry_free(&second);
    return 0;
}
