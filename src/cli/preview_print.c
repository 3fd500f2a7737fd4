/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>

#include "cli/preview.h"

static uint32_t plan_mask_after(const struct preview *preview, int ppu)
{
    return preview->decision->goals[ppu].want;
}

static const char *plan_peer_owner(const struct preview *preview, int peer, char text[OWNER_TEXT_SIZE])
{
    return preview->decision->near[peer] ? preview->domain.name
                                         : snapshot_owner_text(preview->inspection.snapshot, peer, text);
}

static void plan_put_devices(const struct preview *preview, struct json_object *object)
{
    struct json_object *array = json_put_array(object, "devices");
    for (size_t i = 0; i < preview->inquiry.demand.count; i++) {
        const struct demand_device *device = &preview->inquiry.demand.devices[i];
        struct json_object *entry = json_object_new_object();
        char bdf[BDF_TEXT_SIZE];
        json_put_text(entry, "bdf", bdf_format(device->card, bdf));
        json_put_text(entry, "via", via_text(device->via));
        json_put_known_number(entry, "ppu", device->ppu);
        json_object_array_add(array, entry);
    }
}

static void plan_put_writes(const struct preview *preview, struct json_object *array)
{
    for (size_t i = 0; i < preview->decision->plan.count; i++) {
        const struct plan_write *write = &preview->decision->plan.writes[i];
        struct json_object *entry = json_object_new_object();
        char bdf[BDF_TEXT_SIZE];
        json_put_number(entry, "ppu", write->ppu);
        json_put_text(entry, "bdf", bdf_format(preview->inquiry.machine->card[write->ppu], bdf));
        json_put_mask(entry, "from", write->from);
        json_put_mask(entry, "to", write->to);
        json_object_array_add(array, entry);
    }
}

static void plan_put_links(const struct preview *preview, struct json_object *array)
{
    const struct topology *topology = &preview->inquiry.machine->topology;
    for (int ppu = 0; ppu < topology->ppu_count; ppu++) {
        for (int link = 0; preview->decision->near[ppu] && link < LINK_MAX; link++) {
            int peer = topology->peer[ppu][link];
            char owner[OWNER_TEXT_SIZE];
            if (peer == NO_PEER) {
                continue;
            }
            struct json_object *entry = json_object_new_object();
            json_put_number(entry, "ppu", ppu);
            json_put_number(entry, "link", link);
            json_put_number(entry, "peer", peer);
            json_put_text(entry, "state", ((plan_mask_after(preview, ppu) >> link) & 1) ? "cut" : "open");
            json_put_text(entry, "peer_owner", plan_peer_owner(preview, peer, owner));
            json_object_array_add(array, entry);
        }
    }
}

void preview_put_domain(const struct preview *preview, struct json_object *object)
{
    struct json_object *domain = json_object_new_object();
    json_put_text(domain, "name", preview->domain.name);
    json_put_text(domain, "uuid", preview->domain.uuid[0] ? preview->domain.uuid : NULL);
    json_object_object_add(object, "domain", domain);
}

void preview_put_plan(const struct preview *preview, struct json_object *object)
{
    json_put_text(object, "verdict", preview->is_refused ? "refuse" : preview->isolates ? "isolate" : "pass");
    json_put_text(object, "reason", preview->is_refused ? preview->reason.text : NULL);
    plan_put_devices(preview, object);
    struct json_object *writes = json_put_array(object, "writes");
    struct json_object *links = json_put_array(object, "links");
    if (preview->isolates && !preview->is_refused) {
        plan_put_writes(preview, writes);
        plan_put_links(preview, links);
    }
    json_put_list(object, "warnings", &preview->warnings);
}

static const char *describe_role(const struct preview *preview, const struct plan_write *write)
{
    if (write->role == ROLE_NEAR) {
        return "card of the VM";
    }
    return preview->decision->owners[write->ppu] == OWNER_IDLE ? "idle card" : "card of others";
}

static void plan_print_writes(const struct preview *preview)
{
    printf("VM '%s' would be isolated. Register writes, in this order (bit set = link cut):\n", preview->domain.name);
    for (size_t i = 0; i < preview->decision->plan.count; i++) {
        const struct plan_write *write = &preview->decision->plan.writes[i];
        char card[CARD_TEXT_SIZE];
        printf("  %-24s 0x%08x -> 0x%08x  %s\n", machine_card_text(preview->inquiry.machine, write->ppu, card),
               write->from, write->to, describe_role(preview, write));
    }
    if (preview->decision->plan.count == 0) {
        puts("  none: every link is as it must be");
    }
}

void preview_print(const struct preview *preview)
{
    if (preview->is_refused) {
        return;
    }
    if (preview->isolates) {
        plan_print_writes(preview);
    } else {
        printf("VM '%s' takes no PPU: it passes untouched.\n", preview->domain.name);
    }
    for (size_t i = 0; i < preview->warnings.count; i++) {
        printf("warning: %s\n", preview->warnings.items[i]);
    }
}
