/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "cli/options.h"

#include "cli/json.h"
#include "engine/inspection.h"

/* Adds the card to an array of "drift", if it lacks cuts. */
void verb_check_put_drift(const struct inspection *inspection, struct json_object *drift, int ppu);

/* check LIST: whether these groups are in force, whoever owns the cards.  Prints,
 * and returns the exit status. */
int verb_check_list(const struct options *options);
