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
#include "hypervisor/libvirt.h"

/* Bare devices, as `virsh attach-device` takes one, in a domain of their own: owned by the caller.  NULL: it is not
 * that. */
static char *wrap_devices(const struct buffer *text)
{
    static const char blanks[] = " \t\r\n";
    const char *at = text->data ? text->data : "";
    const char *end;
    at += strspn(at, blanks);
    while ((end = strncmp(at, "<?xml", 5) == 0 ? strstr(at, "?>") : NULL) ||
           (end = strncmp(at, "<!--", 4) == 0 ? strstr(at, "->") : NULL)) {
        at = end + 2;
        at += strspn(at, blanks);
    }
    if (!text->data || strncmp(at, "<hostdev", 8) != 0 || !at[8] || !strchr(" \t\r\n/>", at[8]) ||
        strlen(text->data) != text->length) {
        return NULL;
    }
    CLEANUP_FREE char *begun = text_join("<domain><devices>", at);
    return text_join(begun, "</devices></domain>");
}

/* What would happen to bare devices at a hot-plug: what happens to a new VM that has just these. */
static int plan_devices(struct preview *preview, const struct options *options, const char *name, const char *wrapped,
                        struct error *err)
{
    preview->is_bare = true;
    if (domain_parse(wrapped, strlen(wrapped), name, &preview->domain, err) < 0) {
        preview->domain.name = memory_copy_text("");
        return error_wrap(err, "icn-hook: no device would be attached with this XML");
    }
    if (!text_make_uuid(preview->domain.uuid)) {
        return error_set(err, STATUS_HARDWARE, "the kernel gives no random uuid; is /proc mounted?");
    }
    int result = vm_plan_make(&preview->plan, options->config, &preview->domain, err);
    preview->domain.uuid[0] = '\0';
    return result < 0 ? error_wrap(err, "icn-hook: the device would not be attached") : 0;
}

/* NAME: what the text is called in messages. */
static int plan_judge(struct preview *preview, const struct options *options, const char *name,
                      const struct buffer *text, struct error *err)
{
    struct vm_plan *plan = &preview->plan;
    CLEANUP_FREE char *wrapped = wrap_devices(text);
    if (wrapped) {
        return plan_devices(preview, options, name, wrapped, err);
    }
    if (domain_parse(text->data, text->length, name, &preview->domain, err) < 0) {
        preview->domain.name = memory_copy_text("");
        error_set(err, err->status, "%s; correct the VM with virsh edit", err->text);
        return error_wrap(err, "icn-hook: no VM would be started with this XML");
    }
    domain_placement_read(text->data, text->length, &preview->placement);
    int result = vm_plan_make(plan, options->config, &preview->domain, err);
    if (plan->turn) {
        struct session *session = &plan->session;
        for (int ppu = 0; ppu < session->machine->topology.ppu_count; ppu++) {
            const struct card *card = &session->cards[ppu];
            char name_of[CARD_TEXT_SIZE];
            if (plan->turn->near[ppu] && card->was_read && !session_is_read(session, ppu)) {
                notes_add(&session->notes, NOTE_WARNING, NOTE_CARD, ppu, NULL, "%s: %s; its mask is not known now",
                          machine_card_text(session->machine, ppu, name_of), card->reading.why);
            }
        }
        vm_cards_advise_links(plan->session.machine, plan->turn->near, WITH_HINT, &plan->session.notes);
        examination_warn(&plan->session, &plan->cards, &preview->placement, &plan->session.notes);
    }
    return result < 0 ? error_wrap(err, "icn-hook: VM '%s' would not be started", preview->domain.name) : 0;
}

int preview_open(struct preview *preview, const struct options *options, struct error *err)
{
    struct buffer text = {0};
    *preview = (struct preview){.plan = {.session = {.state = STATE_CLOSED}}};
    if (options->domain && options->argument) {
        return command_usage_error(err, "--domain cannot be combined with the file '%s'", options->argument);
    }
    const char *uri = options->connect ? options->connect : LIBVIRT_USUAL_URI;
    bool is_stdin = !options->domain && strcmp(options->argument, "-") == 0;
    const char *name = options->domain ? options->domain : is_stdin ? "standard input" : options->argument;
    int result = options->domain ? libvirt_domain_xml(uri, options->domain, &text, err)
                 : is_stdin      ? file_read_fd(STDIN_FILENO, name, DOMAIN_XML_LIMIT, NO_DEADLINE, &text, err)
                                 : file_read(options->argument, DOMAIN_XML_LIMIT, &text, NULL, err);
    if (result < 0) {
        return -1;
    }
    preview->is_refused = plan_judge(preview, options, name, &text, &preview->reason) < 0;
    buffer_free(&text);
    return 0;
}

void preview_close(struct preview *preview)
{
    vm_plan_free(&preview->plan);
    domain_placement_free(&preview->placement);
    domain_free(&preview->domain);
}

/* The links of the VM's cards as they would be. */
static void plan_put_links(const struct preview *preview, struct json_object *array)
{
    const struct session *session = &preview->plan.session;
    const struct topology *topology = &session->machine->topology;
    for (int ppu = 0; ppu < topology->ppu_count; ppu++) {
        for (int link = 0; preview->plan.turn->near[ppu] && link < LINK_MAX; link++) {
            int peer = topology->peer[ppu][link];
            char owner[OWNER_TEXT_SIZE];
            if (peer == NO_PEER) {
                continue;
            }
            struct json_object *entry = json_object_new_object();
            json_put_number(entry, "ppu", ppu);
            json_put_number(entry, "link", link);
            json_put_known_number(entry, "peer", peer);
            json_put_text(entry, "state", session->goals[ppu].want >> link & 1 ? "cut" : "open");
            json_put_text(entry, "peer_owner",
                          peer == EXTERNAL_PEER ? "external" : owners_text(&session->owners, peer, owner));
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
    json_put_text(object, "verdict", preview->is_refused ? "refuse" : preview->plan.isolates ? "isolate" : "pass");
    json_put_text(object, "reason", preview->is_refused ? preview->reason.text : NULL);
    struct json_object *array = json_put_array(object, "devices");
    for (size_t i = 0; i < preview->plan.cards.count; i++) {
        const struct vm_card *card = &preview->plan.cards.items[i];
        struct json_object *entry = json_object_new_object();
        char bdf[BDF_TEXT_SIZE];
        json_put_text(entry, "bdf", bdf_format(card->card, bdf));
        json_put_text(entry, "via", via_text(card->via));
        json_put_known_number(entry, "ppu", card->ppu);
        json_object_array_add(array, entry);
    }
    if (preview->plan.isolates) {
        const struct session *session = &preview->plan.session;
        json_put_writes(object, session->machine, session->plan->writes, session->plan->count);
        plan_put_links(preview, json_put_array(object, "links"));
    } else {
        json_put_array(object, "writes");
        json_put_array(object, "links");
    }
    json_put_warnings(object, &preview->plan.notes, &preview->plan.session.notes);
}

static void plan_print_warnings(const struct notes *notes)
{
    for (size_t i = 0; i < notes->count; i++) {
        printf("warning: %s\n", notes->items[i].text);
    }
}

void preview_print(const struct preview *preview)
{
    if (preview->is_refused) {
        return;
    }
    if (preview->plan.isolates) {
        const struct session *session = &preview->plan.session;
        printf(preview->is_bare ? "The device would be isolated%s." : "VM '%s' would be isolated.",
               preview->domain.name);
        puts(" Register writes, in this order (bit set = link cut):");
        for (size_t i = 0; i < session->plan->count; i++) {
            const struct plan_write *write = &session->plan->writes[i];
            char card[CARD_TEXT_SIZE];
            printf("  %-24s 0x%08x -> 0x%08x  %s\n", machine_card_text(session->machine, write->ppu, card), write->from,
                   write->to,
                   write->role == ROLE_NEAR ? preview->is_bare ? "card to attach" : "card of the VM"
                   : session->owners.of[write->ppu] == OWNER_IDLE ? "idle card"
                                                                  : "card of others");
        }
        if (session->plan->count == 0) {
            puts("  none: every link is as it must be");
        }
    } else {
        printf(preview->is_bare ? "The device is not a PPU%s: nothing to do.\n"
                                : "VM '%s' uses no PPU: nothing to do.\n",
               preview->domain.name);
    }
    plan_print_warnings(&preview->plan.notes);
    plan_print_warnings(&preview->plan.session.notes);
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
        if (options->json) {
            struct json_object *object = json_object_new_object();
            json_put_text(object, "schema", "icn-hook/plan/1");
            preview_put_domain(&preview, object);
            preview_put_plan(&preview, object);
            json_print(object);
        } else {
            preview_print(&preview);
        }
    }
    preview_close(&preview);
    return status;
}
