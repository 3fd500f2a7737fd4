/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/link_state.h"

#include "core/mask.h"

enum link_end link_near_end(const struct snapshot *snapshot, int ppu, int link)
{
    const struct card *card = &snapshot->cards[ppu];
    if (!card->was_read || card->reading.kind != READING_FINE) {
        return END_UNKNOWN;
    }
    return ((card->reading.mask >> link) & 1) ? END_CUT : END_OPEN;
}

enum link_end link_far_end(const struct snapshot *snapshot, int ppu, int link)
{
    const struct topology *topology = &snapshot->machine->topology;
    int peer = topology->peer[ppu][link];
    enum link_end far = END_CUT;
    for (int back = 0; back < LINK_MAX; back++) {
        enum link_end end = topology->peer[peer][back] == ppu ? link_near_end(snapshot, peer, back) : END_CUT;
        if (end == END_OPEN) {
            return END_OPEN;
        }
        if (end == END_UNKNOWN) {
            far = END_UNKNOWN;
        }
    }
    return far;
}

enum link_live link_live(const struct snapshot *snapshot, int ppu, int link)
{
    enum link_end near = link_near_end(snapshot, ppu, link);
    enum link_end far = link_far_end(snapshot, ppu, link);
    if (near == END_CUT || far == END_CUT) {
        return LIVE_NO;
    }
    return near == END_OPEN && far == END_OPEN ? LIVE_YES : LIVE_UNKNOWN;
}

bool link_leaks(const struct snapshot *snapshot, const int owners[], int ppu, int link)
{
    int peer = snapshot->machine->topology.peer[ppu][link];
    return peer != NO_PEER && !link_may_be_open(owners[ppu], owners[peer]) &&
           link_live(snapshot, ppu, link) == LIVE_YES;
}
