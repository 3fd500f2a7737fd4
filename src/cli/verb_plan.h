/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "cli/json.h"
#include "cli/options.h"
#include "engine/decision.h"
#include "engine/inquiry.h"
#include "engine/inspection.h"
#include "host/domain.h"
#include "host/domain_placement.h"

/* What prepare would do with a domain, with all that the answer needs: for plan
 * and doctor. */
struct preview {
    struct domain domain;
    struct domain_placement placement;
    struct inquiry inquiry;
    struct inspection inspection;
    struct decision *decision;
    struct text_list warnings;
    bool isolates;
    bool is_refused;
    struct error reason; /* if it is refused */
};

/* Looks ahead for the domain that the options name, by a file or by its name.
 * STATUS_OK, also if the domain would be refused; otherwise there is no domain at
 * all, and the one line that says why was printed.  To be closed in each case. */
int preview_open(struct preview *preview, const struct options *options);
void preview_close(struct preview *preview);

/* Adds "domain"; adds "verdict" and all that belongs to it. */
void preview_put_domain(const struct preview *preview, struct json_object *object);
void preview_put_plan(const struct preview *preview, struct json_object *object);

/* The plan as people read it; nothing if the domain is refused. */
void preview_print(const struct preview *preview);
