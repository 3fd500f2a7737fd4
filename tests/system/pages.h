/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Where things lie in a card's memory, which is a file of 4 MiB outside.  The
 * first word is not the card's: the witness inside writes the VM there that was
 * let through with the card, the watcher outside reads it together with the
 * registers.  The cards of a VM change hands at one moment: while OWNER_CHANGING is
 * set in any card's word, no card's word means anything.
 */
enum {
    CARD_SIZE = 4 << 20,
    OWNER_OFFSET = 0,
    LINK_CONFIG_OFFSET = 0xbe382 * 4,
};
#define OWNER_CHANGING 0x80000000U
