/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "base/text.h"
#include "cli/json.h"
#include "cli/verbs.h"
#include "core/mask.h"
#include "engine/inspection.h"

/* The host as status and check see it. */
struct view {
    struct machine *machine;
    struct inspection inspection;
    struct text_list findings;
    int leaks;
    int drifts;
    bool in_doubt; /* a ledger entry that nobody can read may hide an owner */
};

/* Opens everything and reads every register; on failure prints the one line and
 * returns the exit status. */
int view_open(struct view *view, const struct options *options);
void view_close(struct view *view);

/* Every VM is known to be isolated. */
bool view_is_fine(const struct view *view);

/* Opens a view and prints it in the form that OPTIONS ask for.  OK: every VM is
 * known to be isolated.  Returns the exit status; OK is set if that is 0. */
typedef void view_printer(const struct view *view, bool ok);
int view_show(const struct options *options, view_printer *print_json, view_printer *print_text, bool *ok);

/* Adds "leaks": the pairs of cards between which a link leaks. */
void view_put_leaks(const struct view *view, struct json_object *object);
