/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "core/plan.h"
#include "engine/decision.h"

/* What became of a decision's writes. */
struct execution {
    enum apply_outcome outcomes[2 * PPU_MAX];
    struct text_list warnings; /* what failed without refusing anything */
};

/* Writes the decision's plan through the backend.  MAY_DEFER: a near end whose
 * registers a driver holds is left for later.  Fails when a near end could not
 * be cut; links cut by then stay cut. */
MUST_CHECK int execution_run(struct execution *execution, const struct decision *decision,
                             const struct snapshot *snapshot, struct registers *registers, bool may_defer,
                             struct error *err);
void execution_free(struct execution *execution);
