/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "cli/json.h"
#include "cli/options.h"
#include "engine/manual.h"

/* What came of apply, release or reset, and how it is told. */
struct manual_outcome {
    const struct options *options;
    struct machine *machine; /* NULL: it came not so far */
    struct manual_report report;
    bool failed;
    struct error err; /* if it failed */
};

/* Opens and surveys the machine. */
MUST_CHECK int manual_outcome_open(struct manual_outcome *outcome, const struct options *options);

/* An object that begins with SCHEMA and "dry_run". */
struct json_object *manual_begin_json(const struct manual_outcome *outcome, const char *schema);
/* Adds KEY: an array of parties, each with its name, uuid and cards. */
enum card_form { CARDS_WITH_ADDRESS, CARDS_BY_ID };
void manual_put_parties(struct json_object *object, const char *key, const struct manual_outcome *outcome,
                        const struct manual_parties *parties, enum card_form form);
/* Adds "ppus" of PARTY; empty without one. */
void manual_put_cards(struct json_object *object, const struct manual_outcome *outcome,
                      const struct manual_party *party, enum card_form form);
/* Adds "writes", "warnings" and "error", and prints. */
void manual_end_json(const struct manual_outcome *outcome, struct json_object *object);

/* "group 'red' IS: PPU 0 (0000:08:00.0), …" for each. */
void manual_print_groups(const struct manual_outcome *outcome, const char *is);
/* The writes of a dry run, and the warnings. */
void manual_print_rest(const struct manual_outcome *outcome);

/* Prints the error, if any, frees, and returns the exit status. */
int manual_outcome_close(struct manual_outcome *outcome);
