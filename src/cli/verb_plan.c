/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "cli/json.h"
#include "cli/verbs.h"
#include "engine/decision.h"
#include "engine/inquiry.h"
#include "engine/inspection.h"
#include "host/domain.h"

/* What prepare would do, with all that the answer needs. */
struct preview {
    struct domain domain;
    struct inquiry inquiry;
    struct inspection inspection;
    struct decision *decision;
    struct text_list warnings;
    bool isolates;
};

static int read_text(const char *file, struct buffer *text, struct error *err)
{
    return strcmp(file, "-") == 0
               ? file_read_fd(STDIN_FILENO, "standard input", DOMAIN_XML_LIMIT, NO_DEADLINE, text, err)
               : file_read(file, DOMAIN_XML_LIMIT, text, NULL, err);
}

/* A text that is no domain's XML leaves a domain without a name. */
static int parse_domain(const char *file, const struct buffer *text, struct domain *domain, struct error *err)
{
    const char *name = strcmp(file, "-") == 0 ? "standard input" : file;
    if (domain_parse(text->data, text->length, name, domain, err) == 0) {
        return 0;
    }
    domain->name = memory_copy_text("");
    return error_set(err, err->status, "%s; correct the VM with virsh edit", err->text);
}

static void copy_warnings(struct preview *preview, const struct text_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        text_list_add(&preview->warnings, "%s", list->items[i]);
    }
}

static void warn_of_unread_ends(struct preview *preview)
{
    for (int ppu = 0; ppu < preview->inquiry.machine->topology.ppu_count; ppu++) {
        const struct card *card = &preview->inspection.snapshot->cards[ppu];
        char text[CARD_TEXT_SIZE];
        if (card->was_read && card->reading.kind != READING_FINE) {
            text_list_add(&preview->warnings, "%s: %s; its mask is not known now",
                          machine_card_text(preview->inquiry.machine, ppu, text), card->reading.why);
        }
    }
}

/* The path of prepare, without what it writes. */
static int look_ahead(struct preview *preview, const char *config, struct error *err)
{
    int found = inquiry_make(&preview->inquiry, config, &preview->domain, err);
    copy_warnings(preview, &preview->inquiry.warnings);
    if (found <= 0) {
        return found;
    }
    if (inspection_open(&preview->inspection, preview->inquiry.machine, err) < 0) {
        return -1;
    }
    copy_warnings(preview, &preview->inspection.snapshot->findings);
    if (decision_admit(preview->inspection.snapshot, &preview->inquiry.demand, preview->domain.uuid, err) < 0) {
        return -1;
    }
    preview->decision = memory_alloc(1, sizeof *preview->decision);
    decision_make(preview->decision, preview->inspection.snapshot, &preview->inspection.registers, INTENT_START,
                  preview->domain.uuid, preview->domain.name, &preview->inquiry.demand);
    warn_of_unread_ends(preview);
    preview->isolates = true;
    return decision_check_near(preview->decision, preview->inspection.snapshot, err);
}

static uint32_t mask_after(const struct preview *preview, int ppu)
{
    return preview->decision->goals[ppu].want;
}

static const char *peer_owner(const struct preview *preview, int peer, char text[OWNER_TEXT_SIZE])
{
    return preview->decision->near[peer] ? preview->domain.name
                                         : snapshot_owner_text(preview->inspection.snapshot, peer, text);
}

static void put_devices(const struct preview *preview, struct json_object *object)
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

static void put_writes(const struct preview *preview, struct json_object *array)
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

static void put_links(const struct preview *preview, struct json_object *array)
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
            json_put_text(entry, "state", ((mask_after(preview, ppu) >> link) & 1) ? "cut" : "open");
            json_put_text(entry, "peer_owner", peer_owner(preview, peer, owner));
            json_object_array_add(array, entry);
        }
    }
}

static void print_json(const struct preview *preview, const char *verdict, const char *reason)
{
    struct json_object *object = json_object_new_object();
    struct json_object *domain = json_object_new_object();
    json_put_text(object, "schema", "icn-hook/plan/1");
    json_put_text(domain, "name", preview->domain.name);
    json_put_text(domain, "uuid", preview->domain.uuid[0] ? preview->domain.uuid : NULL);
    json_object_object_add(object, "domain", domain);
    json_put_text(object, "verdict", verdict);
    json_put_text(object, "reason", reason);
    put_devices(preview, object);
    struct json_object *writes = json_put_array(object, "writes");
    struct json_object *links = json_put_array(object, "links");
    if (preview->isolates && !reason) {
        put_writes(preview, writes);
        put_links(preview, links);
    }
    json_put_list(object, "warnings", &preview->warnings);
    json_print(object);
}

static const char *describe_role(const struct preview *preview, const struct plan_write *write)
{
    if (write->role == ROLE_NEAR) {
        return "card of the VM";
    }
    return preview->decision->owners[write->ppu] == OWNER_IDLE ? "idle card" : "card of others";
}

static void print_writes(const struct preview *preview)
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

static void print_text(const struct preview *preview)
{
    if (preview->isolates) {
        print_writes(preview);
    } else {
        printf("VM '%s' takes no PPU: it passes untouched.\n", preview->domain.name);
    }
    for (size_t i = 0; i < preview->warnings.count; i++) {
        printf("warning: %s\n", preview->warnings.items[i]);
    }
}

static void close_preview(struct preview *preview)
{
    free(preview->decision);
    inspection_close(&preview->inspection);
    inquiry_free(&preview->inquiry);
    domain_free(&preview->domain);
    text_list_free(&preview->warnings);
}

static int judge(struct preview *preview, const struct options *options, const struct buffer *text, struct error *err)
{
    if (parse_domain(options->file, text, &preview->domain, err) < 0) {
        return error_wrap(err, "icn-hook: no VM would be started with this XML");
    }
    copy_warnings(preview, &preview->domain.warnings);
    if (look_ahead(preview, options->config, err) < 0) {
        return error_wrap(err, "icn-hook: VM '%s' would not be started", preview->domain.name);
    }
    return 0;
}

int verb_plan(const struct options *options)
{
    struct preview preview = {.inspection = {.ledger = {.dirfd = -1, .lockfd = -1}}};
    struct buffer text = {0};
    struct error err = {0};
    if (read_text(options->file, &text, &err) < 0) {
        fprintf(stderr, "icn-hook: %s\n", err.text);
        return (int)err.status;
    }
    bool refused = judge(&preview, options, &text, &err) < 0;
    buffer_free(&text);
    if (refused) {
        fprintf(stderr, "%s\n", err.text);
    }
    if (options->json) {
        print_json(&preview, refused ? "refuse" : preview.isolates ? "isolate" : "pass", refused ? err.text : NULL);
    } else if (!refused) {
        print_text(&preview);
    }
    close_preview(&preview);
    return refused ? (int)err.status : STATUS_OK;
}
