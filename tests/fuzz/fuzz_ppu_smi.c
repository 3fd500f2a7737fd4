/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * What ppu-smi prints, any bytes: the first one chooses between the table of the cards
 * ('q') and the links.  Reading it twice gives the same, and what is taken is within
 * bounds, without a card, an address or a link twice.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "host/ppu_smi.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition) {
        abort();
    }
}

static void check_error(const struct error *err)
{
    require(err->status == STATUS_INVALID && strncmp(err->text, "smi:", strlen("smi:")) == 0);
    require(err->text[strlen("smi:")] >= '1' && err->text[strlen("smi:")] <= '9');
}

static void try_cards(const char *text, size_t size)
{
    struct ppu_smi_cards first = {0};
    struct ppu_smi_cards second = {0};
    struct error err = {0};
    struct error again = {0};
    int result = ppu_smi_parse_cards(text, size, "smi", &first, &err);
    require(ppu_smi_parse_cards(text, size, "smi", &second, &again) == result && strcmp(err.text, again.text) == 0);
    require(first.count == second.count && (result == 0) == (first.count > 0) && first.count <= PPU_MAX);
    for (size_t i = 0; i < first.count; i++) {
        const struct ppu_smi_card *card = &first.items[i];
        require(card->index >= 0 && card->index < PPU_MAX && ppu_smi_card(&first, card->index) == card);
        require(card->line > 0 && card->line <= first.last_line && strlen(card->uuid) < sizeof card->uuid);
        require(memcmp(card, &second.items[i], sizeof *card) == 0);
        for (size_t j = 0; j < i; j++) {
            require(bdf_compare(first.items[j].bdf, card->bdf) != 0);
        }
    }
    if (result < 0) {
        check_error(&err);
    }
    ppu_smi_free_cards(&first);
    ppu_smi_free_cards(&second);
}

static void try_links(const char *text, size_t size)
{
    struct ppu_smi_links first = {0};
    struct ppu_smi_links second = {0};
    struct error err = {0};
    struct error again = {0};
    int result = ppu_smi_parse_links(text, size, "smi", &first, &err);
    require(ppu_smi_parse_links(text, size, "smi", &second, &again) == result && strcmp(err.text, again.text) == 0);
    require(first.count == second.count && (result == 0) == (first.count > 0) && first.count <= PPU_MAX);
    for (size_t i = 0; i < first.count; i++) {
        const struct ppu_smi_links_of *of = &first.items[i];
        require(of->index >= 0 && of->index < PPU_MAX && ppu_smi_links_of(&first, of->index) == of);
        for (int link = 0; link < LINK_MAX; link++) {
            const struct ppu_smi_link *end = &of->links[link];
            require(end->state <= SMI_LINK_ACTIVE && (!end->has_remote || end->state == SMI_LINK_ACTIVE));
            require(end->remote_link >= 0 && end->remote_link < LINK_MAX);
            require((end->state == SMI_LINK_ABSENT) == (end->line == 0) && end->line <= first.last_line);
        }
    }
    if (result < 0) {
        check_error(&err);
    }
    ppu_smi_free_links(&first);
    ppu_smi_free_links(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 0) {
        (data[0] == 'q' ? try_cards : try_links)((const char *)data + 1, size - 1);
    }
    return 0;
}
