/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "session_scene.h"

/*
 * For tests of the links.  Of the vendor's topology they use: 0 and 2 are joined by link 3 of both, 0 and 6 by link 0
 * of both, 0 and 1 by link 5 of 0 and link 3 of 1.
 */
enum { UNREAD = -1 };

/* Another session, in which all cards are read. */
void look_at_all(void);
/* As if the register had just been read so. */
void put(int ppu, int64_t mask);
/* The domain, which has its UUID for a name, owns PPUS. */
void own(const char *uuid, const char *ppus);
/* What was read back of a card for one domain. */
void gate(int ppu, uint32_t mask, int64_t at, const char *uuid);
/* 0 and 1 joined by the parallel links 0 and 1 of each: which end belongs to which is not known. */
void make_parallel_links(void);
