/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/verb_plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "cli/commands.h"
#include "cli/verbs.h"
#include "doctor/examination.h"
#include "engine/advice.h"
#include "hypervisor/libvirt.h"

static int plan_read_text(const char *file, struct buffer *text, struct error *err)
{
    return strcmp(file, "-") == 0
               ? file_read_fd(STDIN_FILENO, "standard input", DOMAIN_XML_LIMIT, NO_DEADLINE, text, err)
               : file_read(file, DOMAIN_XML_LIMIT, text, NULL, err);
}

/* A text that is no domain's XML leaves a domain without a name. */
static int plan_parse_domain(const char *name, const struct buffer *text, struct domain *domain, struct error *err)
{
    if (domain_parse(text->data, text->length, name, domain, err) == 0) {
        return 0;
    }
    domain->name = memory_copy_text("");
    return error_set(err, err->status, "%s; correct the VM with virsh edit", err->text);
}

static void plan_copy_warnings(struct preview *preview, const struct text_list *list)
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
static int plan_look_ahead(struct preview *preview, const char *config, struct error *err)
{
    int found = inquiry_make(&preview->inquiry, config, &preview->domain, err);
    plan_copy_warnings(preview, &preview->inquiry.warnings);
    if (found <= 0) {
        return found;
    }
    if (inspection_open(&preview->inspection, preview->inquiry.machine, err) < 0) {
        return -1;
    }
    plan_copy_warnings(preview, &preview->inspection.snapshot->findings);
    if (decision_admit(preview->inspection.snapshot, &preview->inquiry.demand, preview->domain.uuid, err) < 0) {
        return -1;
    }
    preview->decision = memory_alloc(1, sizeof *preview->decision);
    decision_make(preview->decision, preview->inspection.snapshot, &preview->inspection.registers, INTENT_START,
                  preview->domain.uuid, preview->domain.name, &preview->inquiry.demand);
    warn_of_unread_ends(preview);
    advice_on_parts(preview->inquiry.machine, preview->decision->near, WITH_HINT, &preview->warnings);
    examination_warn(preview->inquiry.machine, &preview->inspection, &preview->inquiry.demand, &preview->placement,
                     &preview->warnings);
    preview->isolates = true;
    return decision_check_near(preview->decision, preview->inspection.snapshot, err);
}

static int plan_judge(struct preview *preview, const struct options *options, const char *name,
                      const struct buffer *text, struct error *err)
{
    if (plan_parse_domain(name, text, &preview->domain, err) < 0) {
        return error_wrap(err, "icn-hook: no VM would be started with this XML");
    }
    plan_copy_warnings(preview, &preview->domain.warnings);
    domain_placement_read(text->data, text->length, &preview->placement);
    if (plan_look_ahead(preview, options->config, err) < 0) {
        return error_wrap(err, "icn-hook: VM '%s' would not be started", preview->domain.name);
    }
    return 0;
}

/* The text, and NAME: what it is called in messages. */
static int plan_fetch(const struct options *options, struct buffer *text, const char **name, struct error *err)
{
    if (options->domain) {
        *name = options->domain;
        return libvirt_domain_xml(options->connect ? options->connect : LIBVIRT_USUAL_URI, options->domain, text, err);
    }
    *name = strcmp(options->argument, "-") == 0 ? "standard input" : options->argument;
    return plan_read_text(options->argument, text, err);
}

int preview_open(struct preview *preview, const struct options *options, struct error *err)
{
    struct buffer text = {0};
    const char *name;
    *preview = (struct preview){.inspection = INSPECTION_CLOSED};
    if (options->domain && options->argument) {
        return command_usage_error(err, "--domain cannot be combined with the file '%s'", options->argument);
    }
    if (plan_fetch(options, &text, &name, err) < 0) {
        return -1;
    }
    preview->is_refused = plan_judge(preview, options, name, &text, &preview->reason) < 0;
    buffer_free(&text);
    return 0;
}

void preview_close(struct preview *preview)
{
    free(preview->decision);
    inspection_close(&preview->inspection);
    inquiry_free(&preview->inquiry);
    domain_placement_free(&preview->placement);
    domain_free(&preview->domain);
    text_list_free(&preview->warnings);
}

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

static void plan_print_json(const struct preview *preview)
{
    struct json_object *object = json_object_new_object();
    json_put_text(object, "schema", "icn-hook/plan/1");
    preview_put_domain(preview, object);
    preview_put_plan(preview, object);
    json_print(object);
}

int verb_plan(const struct options *options, struct error *err)
{
    struct preview preview;
    if (!options->argument && !options->domain) {
        return command_usage_error(err, "plan needs a FILE, or - for standard input, or --domain NAME");
    }
    int status = preview_open(&preview, options, err);
    if (status == 0) {
        if (preview.is_refused) {
            fprintf(stderr, "%s\n", preview.reason.text);
            status = (int)preview.reason.status;
        }
        (options->json ? plan_print_json : preview_print)(&preview);
    }
    preview_close(&preview);
    return status;
}
