/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "core/mask.h"

#include "core/contract.h"

/*@ assigns \nothing;
    ensures \result <==> allowed(owner_a, owner_b);
*/
bool link_may_be_open(int owner_a, int owner_b)
{
    return owner_a == owner_b && owner_a >= OWNER_IDLE;
}

/*@ requires valid_topology(topology) && 0 <= ppu < topology->ppu_count && 0 <= link < LINK_MAX;
    requires \valid_read(owners + (0 .. topology->ppu_count - 1));
    assigns \nothing;
    ensures \result <==> forbidden(topology, owners, ppu, link);
*/
static bool link_must_be_cut(const struct topology *topology, const int owners[], int ppu, int link)
{
    int peer = topology->peer[ppu][link];
    return peer != NO_PEER && !link_may_be_open(owners[ppu], owners[peer]);
}

/*@ requires valid_topology(topology) && 0 <= ppu < topology->ppu_count;
    requires \valid_read(owners + (0 .. topology->ppu_count - 1));
    assigns \nothing;
    ensures \forall integer link; 0 <= link < LINK_MAX ==>
        (cut(\result, link) <==> forbidden(topology, owners, ppu, link));
*/
uint32_t mask_required(const struct topology *topology, const int owners[], int ppu)
{
    uint32_t required = 0;
    /*@ loop invariant 0 <= link <= LINK_MAX;
        loop invariant \forall integer i; 0 <= i < LINK_MAX ==>
            (cut(required, i) <==> i < link && forbidden(topology, owners, ppu, i));
        loop assigns link, required;
        loop variant LINK_MAX - link;
    */
    for (int link = 0; link < LINK_MAX; link++) {
        if (link_must_be_cut(topology, owners, ppu, link)) {
            required |= UINT32_C(1) << link;
        }
    }
    return required;
}
