/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "cli/json.h"
#include "cli/output.h"
#include "cli/verbs.h"
#include "cli/view.h"
#include "engine/explain.h"

enum { NO_CARD = -1 };

/* What is to be explained: the links of the cards NEAR, or (PEER) those that lead
 * to one card. */
struct subject {
    bool near[PPU_MAX];
    int peer; /* or NO_CARD */
};

/* A card by its id or address, LENGTH bytes long. */
static int explain_find_card(const struct machine *machine, const char *text, size_t length)
{
    char word[32];
    uint64_t id;
    struct bdf bdf;
    if (length >= sizeof word) {
        return NO_CARD;
    }
    memcpy(word, text, length);
    word[length] = '\0';
    if (text_parse_number(word, (uint64_t)machine->topology.ppu_count - 1, &id)) {
        return (int)id;
    }
    return bdf_parse(word, &bdf) ? machine_ppu_at(machine, bdf) : NO_CARD;
}

/* A VM may be called "0-6"; no VM is called as a card. */
static bool explain_find_subject(const struct session *session, const char *text, struct subject *subject)
{
    int card = explain_find_card(session->machine, text, strlen(text));
    *subject = (struct subject){.peer = NO_CARD};
    if (card != NO_CARD) {
        subject->near[card] = true;
        return true;
    }
    const struct owners *owners = &session->owners;
    bool is_owner = false;
    for (size_t i = 0; i < owners->holding_count; i++) {
        const struct owner *owner = &owners->items[owners->holdings[i].owner];
        if (owner->kind != OWNER_KIND_STRANGER && (strcmp(owner->name, text) == 0 || strcmp(owner->uuid, text) == 0)) {
            subject->near[owners->holdings[i].ppu] = true;
            is_owner = true;
        }
    }
    const char *dash = strchr(text, '-');
    if (is_owner || !dash) {
        return is_owner;
    }
    int near = explain_find_card(session->machine, text, (size_t)(dash - text));
    int peer = explain_find_card(session->machine, dash + 1, strlen(dash + 1));
    if (near == NO_CARD || peer == NO_CARD || near == peer) {
        return false;
    }
    subject->near[near] = true;
    subject->peer = peer;
    return true;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int explain_complain(const struct session *session, const char *text, struct error *err)
{
    const struct owners *owners = &session->owners;
    CLEANUP_FREE const char **known = memory_alloc(owners->count + 1, sizeof *known);
    size_t count = 0;
    char names[1024] = "";
    for (size_t i = 0; i < owners->count; i++) {
        if (owners->items[i].kind != OWNER_KIND_STRANGER) {
            known[count++] = owners->items[i].name;
        }
    }
    qsort(known, count, sizeof *known, compare_names);
    for (size_t i = 0; i < count && strlen(names) < sizeof names / 2; i++) {
        size_t used = strlen(names);
        snprintf(names + used, sizeof names - used, "%s%.256s", used > 0 ? ", " : "", known[i]);
    }
    return error_set(err, STATUS_INVALID,
                     "'%s' is not a card, VM, group or pair of cards (A-B); there are the PPUs 0 to %d, by id or "
                     "address, and %s%s",
                     text, session->machine->topology.ppu_count - 1, names[0] ? "the owners " : "no owners", names);
}

/* A link between two of the cards is told once, from the lower id's side. */
static bool is_meant(const struct subject *subject, int ppu, int peer)
{
    if (!subject->near[ppu] || peer == NO_PEER) {
        return false;
    }
    if (subject->peer != NO_CARD) {
        return peer == subject->peer;
    }
    return peer == EXTERNAL_PEER || !subject->near[peer] || ppu < peer;
}

static void put_entry(const struct explanation *explanation, struct json_object *array)
{
    static const char *const rules[] = {
        [RULE_IDLE] = "idle",
        [RULE_SAME_OWNER] = "same_owner",
        [RULE_DIFFERENT_OWNERS] = "different_owners",
        [RULE_SHARED] = "shared",
        [RULE_UNKNOWN_HOLDER] = "unknown_holder",
        [RULE_EXTERNAL] = "external",
    };
    struct json_object *entry = json_object_new_object();
    json_put_number(entry, "ppu", explanation->view.ppu);
    json_put_number(entry, "link", explanation->view.link);
    json_put_known_number(entry, "peer", explanation->view.peer);
    json_put_end(entry, "near", explanation->view.near);
    json_put_end(entry, "far", explanation->view.far);
    json_put_live(entry, "live", explanation->view.live);
    json_put_bool(entry, "allowed", explanation->view.allowed);
    json_put_text(entry, "rule", rules[explanation->rule]);
    json_put_moment(entry, "since", explanation->since);
    json_put_text(entry, "evidence", verdict_evidence_text(explanation->view.verdict));
    json_put_time(entry, "evidence_since", explanation->view.since);
    json_put_text(entry, "text", explanation->text);
    json_object_array_add(array, entry);
}

/* Into ARRAY, or, if that is NULL, to OUTPUT as text.  Returns how many links there were. */
static int explain_links(const struct session *session, const struct subject *subject, const struct output *output,
                         struct json_object *array)
{
    CLEANUP_FREE struct explanation *explanation = memory_alloc(1, sizeof *explanation);
    int count = 0;
    for (int ppu = 0; ppu < session->machine->topology.ppu_count; ppu++) {
        for (int link = 0; link < LINK_MAX; link++) {
            if (!is_meant(subject, ppu, session->machine->topology.peer[ppu][link])) {
                continue;
            }
            explain_link(session, ppu, link, explanation);
            if (array) {
                put_entry(explanation, array);
            } else if (output) {
                char escaped[4 * EXPLANATION_SIZE];
                text_escape(escaped, sizeof escaped, explanation->text);
                output_line(output, signs[explanation->view.verdict].colour, escaped);
            }
            count++;
        }
    }
    return count;
}

int verb_explain(const struct options *options, struct error *err)
{
    struct subject subject;
    struct session session;
    int status = view_open(&session, options, err);
    if (status == 0 && !explain_find_subject(&session, options->argument, &subject)) {
        status = explain_complain(&session, options->argument, err);
    } else if (status == 0) {
        const struct error *doubt = session_doubt(&session, "");
        if (options->json) {
            struct json_object *object = json_object_new_object();
            json_put_text(object, "schema", "icn-hook/explain/1");
            json_put_text(object, "subject", options->argument);
            explain_links(&session, &subject, NULL, json_put_array(object, "links"));
            json_put_text(object, "doubt", doubt ? doubt->text : NULL);
            json_print(object);
        } else {
            struct output output;
            output_open(&output, options);
            if (explain_links(&session, &subject, &output, NULL) == 0) {
                output_line(&output, COLOUR_PLAIN,
                            subject.peer != NO_CARD ? "The topology has no link between these cards."
                                                    : "The topology has no link of this card.");
            }
            if (doubt) {
                printf("Not every owner is known: %s\n", doubt->text);
            }
        }
    }
    session_close(&session);
    return status;
}
