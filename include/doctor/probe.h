/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "doctor/report.h"

/*
 * Tries out what the hardware's description leaves open, on one idle card: does
 * its register take a cut and give it back, and do cuts survive a function reset?
 * CARD is an id or an address.  Changes registers, under the exclusive lock, and
 * with a memory of the card that brings them back if this program is killed.
 * Fails, with nothing changed, when the card may not be touched; what the card
 * answers are findings.
 */
MUST_CHECK int probe_card(const char *config, const char *card, struct report *report, struct error *err);
