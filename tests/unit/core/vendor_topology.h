/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>

#include "core/topology.h"

/* The vendor's example, eight cards with four links each. */
static const struct {
    int ppu;
    int link;
    int peer;
} vendor_links[] = {
    {0, 0, 6}, {0, 3, 2}, {0, 4, 3}, {0, 5, 1}, {1, 0, 7}, {1, 3, 0}, {1, 4, 2}, {1, 5, 3},
    {2, 0, 4}, {2, 3, 0}, {2, 4, 1}, {2, 5, 3}, {3, 0, 5}, {3, 3, 2}, {3, 4, 0}, {3, 5, 1},
    {4, 0, 2}, {4, 3, 6}, {4, 4, 7}, {4, 5, 5}, {5, 0, 3}, {5, 3, 4}, {5, 4, 6}, {5, 5, 7},
    {6, 0, 0}, {6, 3, 4}, {6, 4, 5}, {6, 5, 7}, {7, 0, 1}, {7, 3, 6}, {7, 4, 4}, {7, 5, 5},
};

static inline void vendor_topology(struct topology *topology)
{
    topology_clear(topology, 8);
    for (size_t i = 0; i < sizeof vendor_links / sizeof vendor_links[0]; i++) {
        topology->peer[vendor_links[i].ppu][vendor_links[i].link] = (int16_t)vendor_links[i].peer;
    }
}
