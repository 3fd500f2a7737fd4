/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "cli/view.h"
#include "cli/commands.h"
#include "cli/json.h"
#include "cli/output.h"
#include "cli/table.h"
#include "cli/verbs.h"
#include "engine/confirm.h"
#include "engine/policy.h"

/* null unless IS_KNOWN. */
static void status_put_mask(struct json_object *entry, const char *key, bool is_known, uint32_t mask)
{
    if (is_known) {
        json_put_mask(entry, key, mask);
    } else {
        json_put_text(entry, key, NULL);
    }
}

static struct json_object *status_card_object(const struct session *session, int ppu)
{
    const struct card *card = &session->cards[ppu];
    struct json_object *entry = json_object_new_object();
    char bdf[BDF_TEXT_SIZE];
    bool mapped = session->machine->mapped[ppu];
    bool present = mapped && card->state.present;
    uint32_t owed = 0;
    bool owes = policy_owes(session, ppu, &owed);
    json_put_number(entry, "ppu", ppu);
    json_put_text(entry, "bdf", mapped ? bdf_format(session->machine->card[ppu], bdf) : NULL);
    json_put_bool(entry, "present", present);
    json_put_text(entry, "driver", card->state.driver[0] ? card->state.driver : NULL);
    json_put_bool(entry, "in_use", session->owners.held[ppu]);
    json_put_known_number(entry, "iommu_group", present ? card->state.iommu_group : -1);
    json_put_known_number(entry, "numa_node", present ? card->state.numa_node : -1);
    const struct owners *owners = &session->owners;
    struct json_object *owners_of_card = json_put_array(entry, "owners");
    for (size_t i = 0; i < owners->holding_count; i++) {
        const struct owner *owner = &owners->items[owners->holdings[i].owner];
        if (owners->holdings[i].ppu == ppu) {
            struct json_object *named = json_object_new_object();
            json_put_text(named, "name", owner->kind == OWNER_KIND_STRANGER ? "unknown" : owner->name);
            json_put_text(named, "uuid", owner->uuid[0] ? owner->uuid : NULL);
            json_put_text(named, "kind", owner_kind_text(owner->kind));
            json_object_array_add(owners_of_card, named);
        }
    }
    status_put_mask(entry, "mask", session_is_read(session, ppu), card->reading.mask);
    json_put_mask(entry, "expected", policy_expected(session, ppu));
    status_put_mask(entry, "owed", owes, owed);
    struct json_object *links = json_put_array(entry, "links");
    for (int link = 0; link < LINK_MAX; link++) {
        if (session->machine->topology.peer[ppu][link] == NO_PEER) {
            continue;
        }
        struct link_view view = link_look(session, ppu, link);
        struct json_object *end = json_object_new_object();
        json_put_number(end, "link", link);
        json_put_known_number(end, "peer", view.peer);
        json_put_end(end, "near", view.near);
        json_put_end(end, "far", view.far);
        json_put_live(end, "live", view.live);
        json_put_bool(end, "allowed", view.allowed);
        json_put_text(end, "evidence", verdict_evidence_text(view.verdict));
        json_put_time(end, "since", view.since);
        json_object_array_add(links, end);
    }
    return entry;
}

/* Whether the settings were tried on this hardware: the state, and one line. */
static void status_put_confirmed(const struct session *session, struct json_object *object)
{
    struct confirmed confirmed;
    char why[512];
    enum confirmation state = confirmation_look(session->machine, &confirmed, why);
    struct json_object *entry = json_object_new_object();
    json_put_text(entry, "state", confirmation_text(state));
    json_put_text(entry, "text", why);
    json_object_object_add(object, "confirmed", entry);
    confirmed_free(&confirmed);
}

static void status_print_json(const struct session *session, const struct output *output)
{
    struct coverage coverage = coverage_count(session);
    struct json_object *object = json_object_new_object();
    json_put_text(object, "schema", "icn-hook/status/2");
    json_put_bool(object, "ok", links_judge(session) == STATUS_OK);
    struct json_object *ppus = json_put_array(object, "ppus");
    for (int ppu = 0; ppu < session->machine->topology.ppu_count; ppu++) {
        if (!session->left_out[ppu]) {
            json_object_array_add(ppus, status_card_object(session, ppu));
        }
    }
    view_put_leaks(session, object);
    json_put_coverage(object, &coverage);
    status_put_confirmed(session, object);
    json_put_findings(object, &session->notes);
    json_write(output->stream, object);
}

/* "1 -2 !3 -ext": the cards at the other ends, or that it is external, a sign before each. */
static void status_add_links(struct table *table, const struct session *session, int ppu, signs_used *used,
                             bool *any_external)
{
    bool is_first = true;
    table_add(table, COLOUR_PLAIN, "%s", "");
    for (int link = 0; link < LINK_MAX; link++) {
        int peer = session->machine->topology.peer[ppu][link];
        if (peer != NO_PEER) {
            enum verdict verdict = link_look(session, ppu, link).verdict;
            char text[sizeof "!-2147483648"];
            int sign_length = verdict == VERDICT_OPEN ? 0 : 1;
            if (peer == EXTERNAL_PEER) {
                snprintf(text, sizeof text, "%.*sext", sign_length, &signs[verdict].character);
                *any_external = true;
            } else {
                snprintf(text, sizeof text, "%.*s%d", sign_length, &signs[verdict].character, peer);
            }
            table_append(table, COLOUR_PLAIN, is_first ? "" : " ");
            table_append(table, signs[verdict].colour, text);
            *used |= 1u << verdict;
            is_first = false;
        }
    }
}

/* What was read now; for a card in use, when it was read back before QEMU opened it. */
static bool status_add_mask(struct table *table, const struct session *session, int ppu)
{
    uint32_t mask;
    int64_t at;
    char when[32];
    if (session_is_read(session, ppu)) {
        table_add(table, COLOUR_PLAIN, "0x%08" PRIx32, session->cards[ppu].reading.mask);
        return false;
    }
    if (links_gate(session, ppu, &mask, &at)) {
        /* As wide as a mask: "gate 09:12", or the day if it was another one. */
        time_t now = time(NULL);
        time_t moment = (time_t)at;
        struct tm then = {0};
        struct tm today = {0};
        localtime_r(&moment, &then);
        localtime_r(&now, &today);
        bool is_today = then.tm_year == today.tm_year && then.tm_yday == today.tm_yday;
        strftime(when, sizeof when, is_today ? "gate %H:%M" : "gate %m-%d", &then);
        table_add(table, COLOUR_PLAIN, "%s", when);
        return true;
    }
    table_add(table, COLOUR_PLAIN, "unknown");
    return false;
}

static void status_print_text(const struct session *session, const struct output *output)
{
    signs_used used = 0;
    bool any_gate = false;
    bool any_external = false;
    struct table table;
    table_open(&table, 4 + PLACE_CELLS);
    table.right[0] = table.right[3] = table.right[4] = true;
    table.shrinking = 6;
    table_add(&table, COLOUR_BOLD, "PPU");
    card_cells_add_place_titles(&table);
    table_add(&table, COLOUR_BOLD, "MASK");
    table_add(&table, COLOUR_BOLD, "OWNER");
    table_add(&table, COLOUR_BOLD, "LINKS");
    for (int ppu = 0; ppu < session->machine->topology.ppu_count; ppu++) {
        if (session->left_out[ppu]) {
            continue;
        }
        table_add(&table, COLOUR_PLAIN, "%d", ppu);
        card_cells_add_place(&table, session, ppu);
        any_gate |= status_add_mask(&table, session, ppu);
        card_cells_add_owner(&table, session, ppu);
        status_add_links(&table, session, ppu, &used, &any_external);
    }
    table_print(&table, output);
    table_free(&table);
    if (any_gate) {
        fputs("MASK: gate: in use; its cuts were read back at that time, before QEMU opened it\n", output->stream);
    }
    sign_print_legend(output, any_external ? "LINKS: N open to PPU N  ext external" : "LINKS: N open to PPU N", used);
    for (size_t i = 0; i < session->notes.count; i++) {
        fprintf(output->stream, "%s\n", session->notes.items[i].text);
    }
    struct confirmed confirmed;
    char why[512];
    confirmation_look(session->machine, &confirmed, why);
    confirmed_free(&confirmed);
    fprintf(output->stream, "%s\n", why);
    if (session->machine->fault.status != STATUS_OK) {
        output_line(output, COLOUR_RED,
                    "NOT KNOWN whether every link that must be cut is: the cards do not fit [map].");
        return;
    }
    struct coverage coverage = coverage_count(session);
    char text[COVERAGE_TEXT_SIZE];
    fprintf(output->stream, "%s\n", coverage_text(&coverage, text));
    switch (links_judge(session)) {
    case STATUS_OK:
        snprintf(text, sizeof text, "Every link%s that must be cut is verified.", view_scope_text(session));
        output_line(output, COLOUR_GREEN, text);
        break;
    case STATUS_UNVERIFIED:
        output_line(output, COLOUR_MAGENTA, "NOT VERIFIED: see above.");
        break;
    default:
        output_line(output, COLOUR_RED, "NOT ISOLATED: see above.");
        break;
    }
}

int verb_status(const struct options *options, struct error *err)
{
    struct session session;
    if (options->json && options->prometheus) {
        return command_usage_error(err, "status takes --json or --prometheus, not both");
    }
    if (options->output && !options->json && !options->prometheus) {
        return command_usage_error(err, "status takes --output only with --json or --prometheus");
    }
    if (options->prometheus && options->argument) {
        return command_usage_error(err, "status --prometheus is of all cards, without '%s'", options->argument);
    }
    /* A person is shown what is known of cards that do not fit [map], before the same error as always. */
    bool is_text = !options->json && !options->prometheus;
    int result = (is_text ? view_open_leniently : view_open)(&session, options, err);
    if (result == 0) {
        struct output output;
        output_open(&output, options);
        if (options->json) {
            status_print_json(&session, &output);
        } else if (options->prometheus) {
            prometheus_print(&session, output.stream);
        } else {
            status_print_text(&session, &output);
        }
        result = output_close(&output, err);
        if (result == 0 && session.machine->fault.status != STATUS_OK) {
            *err = session.machine->fault;
            result = -1;
        }
    } else if (options->prometheus) {
        /* Metrics of the last look that succeeded would say that all is well for ever. */
        struct output output;
        struct error unused;
        output_open(&output, options);
        prometheus_print_down(output.stream);
        if (output_close(&output, &unused) < 0) {
            fprintf(stderr, "icn-hook: warning: %s\n", unused.text);
        }
    }
    session_close(&session);
    return result;
}
