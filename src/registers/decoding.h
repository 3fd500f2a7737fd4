/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "core/bdf.h"
#include "registers/registers.h"

/* The card's memory decoding: COMMAND bit 1, without which its BARs answer
 * nothing. */

/* The first words of configuration space. */
struct config_head {
    uint16_t vendor;
    uint16_t command;
};

/* False if the config file is missing, unreadable or too short. */
MUST_CHECK bool config_head_read(struct bdf bdf, struct config_head *head);

struct decoding {
    bool off;         /* it is off and stays off; WHY says why it was not switched on */
    bool held;        /* … because a driver is bound */
    bool switched_on; /* by decoding_begin; decoding_end undoes it */
    char why[256];
};

/* Makes sure that the card's BARs answer, as far as REGISTERS may change the
 * host.  Never fails: what could not be done is in DECODING. */
void decoding_begin(const struct registers *registers, struct bdf bdf, struct decoding *decoding);
void decoding_end(const struct registers *registers, struct bdf bdf, const struct decoding *decoding);

/* Writes the card's `enable` file once. */
MUST_CHECK int decoding_switch(struct bdf bdf, bool on, struct error *err);
