/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a run of confirm comes to: its suspects, what is kept, the exit status. */
#include <inttypes.h>
#include <stdlib.h>

#include "base/memory.h"
#include "engine/confirm_private.h"

static struct confirm_link *find_entry(const struct confirm *confirm, int ppu, int link)
{
    for (size_t i = 0; i < confirm->report->count; i++) {
        struct confirm_link *entry = &confirm->report->links[i];
        if (entry->result.ppu == ppu && entry->result.link == link) {
            return entry;
        }
    }
    return NULL;
}

/* Of parallel links that the topology does not tell apart the first is taken to be joined to the first. */
struct confirm_link *confirm_find_link(const struct confirm *confirm, int ppu, int link)
{
    const struct topology *topology = confirm->topology;
    int peer = topology->peer[ppu][link];
    if (peer < 0 || peer > ppu) {
        return find_entry(confirm, ppu, link);
    }
    uint32_t there = topology_far_ends(topology, ppu, link);
    uint32_t here = topology_far_ends(topology, peer, __builtin_ctz(there));
    for (int before = 0; before < link; before++) {
        if (((here >> before) & 1) != 0) {
            there &= there - 1;
        }
    }
    return find_entry(confirm, peer, __builtin_ctz(there));
}

static void add_suspect(const struct machine *machine, const struct suspect *suspect, struct text_list *texts)
{
    const struct settings *settings = &machine->settings;
    char card[CARD_TEXT_SIZE];
    char other[CARD_TEXT_SIZE];
    switch (suspect->kind) {
    case SUSPECT_NONE:
        break;
    case SUSPECT_CUT_BIT:
        text_list_add(texts, "cut_bit: a bit that is %d does not cut a link, the other value does", settings->cut_bit);
        break;
    case SUSPECT_PLACE:
        text_list_add(texts, "bar: the registers are not in BAR %d", settings->bar);
        text_list_add(texts, "stride: a register is not %" PRIu32 " bytes after the one before it", settings->stride);
        break;
    case SUSPECT_LINK_CONFIG:
        text_list_add(texts, "link_config: register 0x%" PRIx32 " does not cut links", settings->link_config);
        break;
    case SUSPECT_WITNESS:
        if (suspect->witness == WITNESS_STATUS) {
            text_list_add(texts, "link_status: register 0x%" PRIx32 " does not show links", settings->link_status);
        } else {
            text_list_add(texts, "%s: what it reports does not follow the links", witness_text(suspect->witness));
        }
        break;
    case SUSPECT_IDS:
        machine_card_text(machine, suspect->ppu, card);
        text_list_add(texts, "ids: %s and %s have each other's id in [map]", card,
                      machine_card_text(machine, suspect->other, other));
        break;
    case SUSPECT_LINKS:
        text_list_add(texts, "topology: the links %d and %d of %s have each other's index", suspect->link,
                      suspect->other, machine_card_text(machine, suspect->ppu, card));
        break;
    }
}

void confirm_name_suspects(const struct confirm *confirm, const struct machine *machine)
{
    const struct observed observed = {
        .topology = confirm->topology,
        .writes_registers = machine->settings.backend == BACKEND_MMIO,
        .found = confirm->found,
        .trials = confirm->trials,
        .trial_count = confirm->trial_count,
        .sights = confirm->sights,
        .sight_count = confirm->sight_count,
    };
    struct suspect *suspects;
    size_t count;
    suspects_find(&observed, &suspects, &count);
    for (size_t i = 0; i < count; i++) {
        add_suspect(machine, &suspects[i], &confirm->report->suspects);
    }
    free(suspects);
}

/* What is known of the link from before, if nothing was seen of it now. */
static const struct confirmed_link *find_earlier(const struct confirmed *earlier, int ppu, int link,
                                                 const struct confirm_link *now)
{
    bool is_new = now && (now->result.verdict != CONFIRM_NO_WITNESS || now->result.is_down);
    for (size_t i = 0; !is_new && i < earlier->count; i++) {
        if (earlier->links[i].ppu == ppu && earlier->links[i].link == link) {
            return &earlier->links[i];
        }
    }
    return now ? &now->result : NULL;
}

int confirm_save(const struct confirm *confirm, const struct machine *machine, struct error *err)
{
    struct confirmed earlier;
    char why[512];
    struct confirmed result = {.made_for = confirm->made_for};
    confirmation_look(machine, &earlier, why);
    for (int ppu = 0; ppu < confirm->topology->ppu_count; ppu++) {
        for (int link = 0; link < LINK_MAX; link++) {
            const struct confirmed_link *known = find_earlier(&earlier, ppu, link, find_entry(confirm, ppu, link));
            if (known) {
                result.links = memory_grow(result.links, result.count + 1, sizeof *result.links);
                result.links[result.count++] = *known;
            }
        }
    }
    int saved = confirmed_save(&result, err);
    free(result.links);
    confirmed_free(&earlier);
    return saved;
}

enum status confirm_judge(const struct confirm_report *report)
{
    enum status status = report->strangers.count > 0 ? STATUS_CHECK_FAILED : STATUS_OK;
    for (size_t i = 0; i < report->count; i++) {
        if (report->links[i].result.verdict == CONFIRM_CONTRADICTED) {
            status = STATUS_CHECK_FAILED;
        } else if (report->links[i].result.verdict == CONFIRM_NO_WITNESS && status == STATUS_OK) {
            status = STATUS_UNVERIFIED;
        }
    }
    return status != STATUS_CHECK_FAILED && report->is_unsaved ? STATUS_HARDWARE : status;
}

void confirm_report_free(struct confirm_report *report)
{
    for (size_t i = 0; i < report->count; i++) {
        text_list_free(&report->links[i].witnesses);
    }
    free(report->links);
    text_list_free(&report->strangers);
    text_list_free(&report->suspects);
    text_list_free(&report->warnings);
    *report = (struct confirm_report){0};
}
