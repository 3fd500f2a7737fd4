/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "core/bdf.h"
#include "registers/registers.h"

/* The card's memory decoding: COMMAND bit 1, without which its BARs answer nothing. */

/* The first words of configuration space. */
struct config_head {
    uint16_t vendor;
    uint16_t command;
};
enum { CONFIG_NOBODY = 0xffff, COMMAND_MEMORY = 0x2 };

/* False if the config file is missing, unreadable or too short. */
MUST_CHECK bool config_head_read(struct bdf bdf, struct config_head *head);

/* Makes sure that the card's BARs answer: READING_FINE, or the error says why they do not.
 * MAY_TOUCH and registers opened for writing: switches decoding on where it is off, and says
 * so in *switched_on; decoding_end undoes that. */
MUST_CHECK enum reading_kind decoding_begin(const struct registers *registers, struct bdf bdf, bool may_touch,
                                            bool *switched_on, struct error *err);
void decoding_end(const struct registers *registers, struct bdf bdf, bool switched_on);

/* Writes the card's `enable` file once. */
MUST_CHECK int decoding_switch(struct bdf bdf, bool on, struct error *err);
