/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "cli/json.h"
#include "cli/options.h"
#include "engine/vm_events.h"
#include "host/domain.h"
#include "host/domain_placement.h"

/* What prepare would do with a domain, with all that the answer needs: for plan
 * and doctor. */
struct preview {
    bool is_bare; /* devices without a domain: its name is "" */
    struct domain domain;
    struct domain_placement placement;
    struct vm_plan plan;
    bool is_refused;
    struct error reason; /* if it is refused */
};

/* Looks ahead for the domain that the options name, by a file or by its name.  0 also
 * if the domain would be refused; -1: there is no domain at all.  To be closed in each
 * case. */
MUST_CHECK int preview_open(struct preview *preview, const struct options *options, struct error *err);
void preview_close(struct preview *preview);

/* Adds "domain"; adds "verdict" and all that belongs to it. */
void preview_put_domain(const struct preview *preview, struct json_object *object);
void preview_put_plan(const struct preview *preview, struct json_object *object);

/* The plan as people read it; nothing if the domain is refused. */
void preview_print(const struct preview *preview);
