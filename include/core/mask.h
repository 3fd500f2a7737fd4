/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/topology.h"

/*
 * Who owns a card, as one number:
 *   OWNER_IDLE     nobody; the card belongs to the host
 *   above 0        exactly one domain, by a number the caller gives it
 *   OWNER_SHARED   several domains, through virtual functions or mediated devices
 *   OWNER_UNKNOWN  somebody holds it open whom neither libvirt nor we know
 */
enum { OWNER_IDLE = 0, OWNER_SHARED = -1, OWNER_UNKNOWN = -2 };

/* The rule this program exists for: a link may be open if and only if both
 * cards are idle, or both have exactly one owner and it is the same. */
bool link_may_be_open(int owner_a, int owner_b);

/* Bit i set: link i of PPU is wired and must be cut.  OWNERS has ppu_count
 * entries. */
uint32_t mask_required(const struct topology *topology, const int owners[], int ppu);
