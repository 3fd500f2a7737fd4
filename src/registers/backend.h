/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "registers/registers.h"

/* What registers.c does for the backends. */

/* READING_FINE if the card is awake, else the error says why its registers mean nothing now.
 * MAY_TOUCH and registers opened for writing: wakes it (see registers_wake). */
MUST_CHECK enum reading_kind registers_awake(struct registers *registers, struct bdf bdf, bool may_touch,
                                             struct error *err);

/* For mmio.c: whether nothing was in the way of the last access to a card that registers_awake has looked at.
 * NULL: it has not. */
bool *registers_answers(const struct registers *registers, struct bdf bdf);
