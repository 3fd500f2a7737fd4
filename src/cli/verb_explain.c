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
#include "engine/groups.h"

/* What is to be explained: the links of the cards NEAR, and those of pairs of cards. */
struct subject {
    bool near[PPU_MAX];
    bool paired[PPU_MAX][PPU_MAX]; /* from the first of a pair to the second */
    bool has_cards;
};

/* A VM may be called "0-6"; no VM is called as a card. */
static int explain_add_subject(const struct session *session, const char *word, struct subject *subject,
                               struct error *err)
{
    const struct card_finder finder = card_finder_of(session->machine);
    int card = card_find(&finder, word, strlen(word));
    int pair[2];
    if (card != NO_CARD) {
        subject->near[card] = true;
    } else if (!card_choose_owned(session, word, subject->near)) {
        if (!card_find_pair(&finder, word, pair)) {
            return card_refuse_word(session, word, "card, VM, group or pair of cards (A-B)", err);
        }
        subject->paired[pair[0]][pair[1]] = true;
        return 0;
    }
    subject->has_cards = true;
    return 0;
}

/* A link between two of the cards is told once, from the lower id's side. */
static bool is_meant(const struct subject *subject, int ppu, int peer)
{
    if (peer == NO_PEER || peer == EXTERNAL_PEER) {
        return peer == EXTERNAL_PEER && subject->near[ppu];
    }
    if (subject->near[ppu]) {
        return !subject->near[peer] || ppu < peer;
    }
    bool is_other_way_too = peer < ppu && subject->paired[peer][ppu];
    return subject->paired[ppu][peer] && !subject->near[peer] && !is_other_way_too;
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
    CLEANUP_FREE struct subject *subject = memory_alloc(1, sizeof *subject);
    CLEANUP_FREE char *words = memory_copy_text(options->argument);
    struct session session;
    int status = view_start(&session, options, err);
    if (status == 0) {
        status = explain_add_subject(&session, options->argument, subject, err);
    }
    for (size_t i = 0; status == 0 && i < options->more_count; i++) {
        CLEANUP_FREE char *before = text_join(words, ", ");
        free(words);
        words = text_join(before, options->more[i]);
        status = explain_add_subject(&session, options->more[i], subject, err);
    }
    if (status == 0) {
        const struct error *doubt = session_doubt(&session, "");
        if (options->json) {
            struct json_object *object = json_object_new_object();
            json_put_text(object, "schema", "icn-hook/explain/1");
            json_put_text(object, "subject", words);
            explain_links(&session, subject, NULL, json_put_array(object, "links"));
            json_put_text(object, "doubt", doubt ? doubt->text : NULL);
            json_print(object);
        } else {
            struct output output;
            output_open(&output, options);
            if (explain_links(&session, subject, &output, NULL) == 0) {
                output_line(&output, COLOUR_PLAIN,
                            subject->has_cards ? "The topology has no link of this card."
                                               : "The topology has no link between these cards.");
            }
            if (doubt) {
                printf("Not every owner is known: %s\n", doubt->text);
            }
        }
    }
    session_close(&session);
    return status;
}
