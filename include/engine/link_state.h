/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "engine/snapshot.h"

/* What the registers that were read (snapshot_read) say about a link. */

enum link_end { END_CUT, END_OPEN, END_UNKNOWN };
enum link_live { LIVE_NO, LIVE_YES, LIVE_UNKNOWN };

/* One end of a link. */
enum link_end link_near_end(const struct snapshot *snapshot, int ppu, int link);

/* The other end.  Which of several parallel links it belongs to is not told by
 * the topology, so it is open if any of them is, and cut if all are. */
enum link_end link_far_end(const struct snapshot *snapshot, int ppu, int link);

enum link_live link_live(const struct snapshot *snapshot, int ppu, int link);

/* A link that may not be open between these owners is known to be live. */
bool link_leaks(const struct snapshot *snapshot, const int owners[], int ppu, int link);
