/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/preview.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "cli/commands.h"
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

int preview_open(struct preview *preview, const struct options *options)
{
    struct buffer text = {0};
    struct error err;
    const char *name;
    *preview = (struct preview){.inspection = INSPECTION_CLOSED};
    if (options->domain && options->argument) {
        return command_usage_error("either --domain or a file, not both:", options->argument);
    }
    if (plan_fetch(options, &text, &name, &err) < 0) {
        fprintf(stderr, "icn-hook: %s\n", err.text);
        return (int)err.status;
    }
    preview->is_refused = plan_judge(preview, options, name, &text, &preview->reason) < 0;
    buffer_free(&text);
    return STATUS_OK;
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
