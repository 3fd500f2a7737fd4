/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "core/mask.h"

bool link_may_be_open(int owner_a, int owner_b)
{
    return owner_a == owner_b && owner_a >= OWNER_IDLE;
}

static bool link_must_be_cut(const struct topology *topology, const int owners[], int ppu, int link)
{
    int peer = topology->peer[ppu][link];

    return peer != NO_PEER && !link_may_be_open(owners[ppu], owners[peer]);
}

uint32_t mask_required(const struct topology *topology, const int owners[], int ppu)
{
    uint32_t required = 0;

    for (int link = 0; link < LINK_MAX; link++) {
        if (link_must_be_cut(topology, owners, ppu, link)) {
            required |= UINT32_C(1) << link;
        }
    }
    return required;
}
