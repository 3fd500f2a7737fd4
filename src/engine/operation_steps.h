/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "engine/inquiry.h"
#include "engine/session.h"

/* One call by libvirt on its way, and the steps that every operation takes.
 * Private to operation.c and operation_end.c. */
struct operation {
    const char *vm;
    const char *name;
    struct domain domain;
    struct inquiry inquiry;
    struct session session;
    int64_t began;
};

/* Lock, then look: nothing that was seen can change before it is acted on. */
MUST_CHECK int operation_look(struct operation *op, struct error *err);

void operation_decide(struct operation *op, enum intent intent);

/* The one line that says what this operation did and how long it took. */
void operation_log_summary(const struct operation *op, const char *what);

/* stopped, release. */
MUST_CHECK int operation_give_back(struct operation *op, struct error *err);
