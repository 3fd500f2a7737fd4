/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "engine/decision.h"

/*
 * For plans of several steps: makes SNAPSHOT what it would be after DECISION was
 * recorded and carried out without a failure, so that the next one can be decided
 * without anything being written.  For INTENT_START alone.
 */
void foresight_assume(struct snapshot *snapshot, const struct decision *decision);
