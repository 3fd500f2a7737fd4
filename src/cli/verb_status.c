/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>

#include "cli/json.h"
#include "cli/verbs.h"
#include "cli/view.h"
#include "engine/link_state.h"

static const char *const end_texts[] = {[END_CUT] = "cut", [END_OPEN] = "open", [END_UNKNOWN] = "unknown"};

static void put_owners(const struct snapshot *snapshot, int ppu, struct json_object *array)
{
    for (size_t i = 0; i < snapshot->claim_count; i++) {
        if (snapshot->claims[i].ppu == ppu) {
            const struct tenant *tenant = &snapshot->tenants[snapshot->claims[i].tenant];
            struct json_object *owner = json_object_new_object();
            json_put_text(owner, "name", tenant->name);
            json_put_text(owner, "uuid", tenant->uuid);
            json_object_array_add(array, owner);
        }
    }
    if (snapshot->cards[ppu].unknown_holder) {
        struct json_object *owner = json_object_new_object();
        json_put_text(owner, "name", "unknown");
        json_put_text(owner, "uuid", NULL);
        json_object_array_add(array, owner);
    }
}

static void put_live(struct json_object *entry, enum link_live live)
{
    json_object_object_add(entry, "live", live == LIVE_UNKNOWN ? NULL : json_object_new_boolean(live == LIVE_YES));
}

static void put_links(const struct inspection *inspection, int ppu, struct json_object *array)
{
    for (int link = 0; link < LINK_MAX; link++) {
        int peer = inspection->machine->topology.peer[ppu][link];
        if (peer == NO_PEER) {
            continue;
        }
        struct json_object *entry = json_object_new_object();
        json_put_number(entry, "link", link);
        json_put_number(entry, "peer", peer);
        json_put_text(entry, "near", end_texts[link_near_end(inspection->snapshot, ppu, link)]);
        json_put_text(entry, "far", end_texts[link_far_end(inspection->snapshot, ppu, link)]);
        put_live(entry, link_live(inspection->snapshot, ppu, link));
        json_put_bool(entry, "allowed", link_may_be_open(inspection->owners[ppu], inspection->owners[peer]));
        json_object_array_add(array, entry);
    }
}

static struct json_object *describe_card(const struct view *view, int ppu)
{
    const struct inspection *inspection = &view->inspection;
    const struct card *card = &inspection->snapshot->cards[ppu];
    struct json_object *entry = json_object_new_object();
    char bdf[BDF_TEXT_SIZE];
    bool mapped = view->machine->mapped[ppu];
    json_put_number(entry, "ppu", ppu);
    json_put_text(entry, "bdf", mapped ? bdf_format(view->machine->card[ppu], bdf) : NULL);
    json_put_bool(entry, "present", mapped && card->state.present);
    json_put_text(entry, "driver", card->state.driver[0] ? card->state.driver : NULL);
    json_put_bool(entry, "in_use", card->held);
    json_put_known_number(entry, "iommu_group", mapped && card->state.present ? card->state.iommu_group : -1);
    json_put_known_number(entry, "numa_node", mapped && card->state.present ? card->state.numa_node : -1);
    put_owners(inspection->snapshot, ppu, json_put_array(entry, "owners"));
    if (card->was_read && card->reading.kind == READING_FINE) {
        json_put_mask(entry, "mask", card->reading.mask);
    } else {
        json_put_text(entry, "mask", NULL);
    }
    json_put_mask(entry, "expected", inspection_expected(inspection, ppu));
    put_links(inspection, ppu, json_put_array(entry, "links"));
    return entry;
}

static void print_json(const struct view *view, bool ok)
{
    struct json_object *object = json_object_new_object();
    json_put_text(object, "schema", "icn-hook/status/1");
    json_put_bool(object, "ok", ok);
    struct json_object *ppus = json_put_array(object, "ppus");
    for (int ppu = 0; ppu < view->machine->topology.ppu_count; ppu++) {
        json_object_array_add(ppus, describe_card(view, ppu));
    }
    view_put_leaks(view, object);
    json_put_list(object, "findings", &view->findings);
    json_print(object);
}

static void print_links(const struct inspection *inspection, int ppu)
{
    for (int link = 0; link < LINK_MAX; link++) {
        int peer = inspection->machine->topology.peer[ppu][link];
        if (peer != NO_PEER) {
            printf(" %d:%s", peer, end_texts[link_near_end(inspection->snapshot, ppu, link)]);
        }
    }
}

static void print_text(const struct view *view, bool ok)
{
    printf("%-5s%-14s%-12s%-12s%-16s%s\n", "PPU", "ADDRESS", "DRIVER", "MASK", "OWNER", "LINKS (peer:near end)");
    for (int ppu = 0; ppu < view->machine->topology.ppu_count; ppu++) {
        const struct card *card = &view->inspection.snapshot->cards[ppu];
        char bdf[BDF_TEXT_SIZE];
        char owner[OWNER_TEXT_SIZE];
        char mask[sizeof "0x00000000"] = "unknown";
        if (card->was_read && card->reading.kind == READING_FINE) {
            snprintf(mask, sizeof mask, "0x%08x", card->reading.mask);
        }
        printf("%-5d%-14s%-12s%-12s%-16s", ppu,
               view->machine->mapped[ppu] ? bdf_format(view->machine->card[ppu], bdf) : "-",
               card->state.driver[0] ? card->state.driver : "-", mask,
               snapshot_owner_text(view->inspection.snapshot, ppu, owner));
        print_links(&view->inspection, ppu);
        puts("");
    }
    for (size_t i = 0; i < view->findings.count; i++) {
        puts(view->findings.items[i]);
    }
    puts(ok ? "No leak is known." : "NOT ISOLATED: see above.");
}

int verb_status(const struct options *options)
{
    bool ok = false;
    return view_show(options, print_json, print_text, &ok);
}
