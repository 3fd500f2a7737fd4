/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "links_scene.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

void look_at_all(void)
{
    look_again();
    session_look_at_all(&session);
}

void put(int ppu, int64_t mask)
{
    session.cards[ppu].was_read = true;
    session.cards[ppu].reading = (struct reading){
        .kind = mask == UNREAD ? READING_UNVERIFIABLE : READING_FINE, .mask = (uint32_t)mask, .why = "nobody knows"};
}

void own(const char *uuid, const char *ppus)
{
    const struct owner *owner = owners_find(&session.owners, uuid);
    owner = owner ? owner : owners_add(&session.owners, OWNER_KIND_VM, uuid, uuid);
    for (; *ppus != '\0'; ppus++) {
        owners_give(&session.owners, owner, *ppus - '0', true);
    }
}

void gate(int ppu, uint32_t mask, int64_t at, const char *uuid)
{
    scene_evidence(ppu, mask, at, (const char *const[]){uuid, NULL});
}

void make_parallel_links(void)
{
    struct topology *topology = &session.machine->topology;
    topology_clear(topology, CARDS);
    for (int link = 0; link < 2; link++) {
        topology->peer[0][link] = 1;
        topology->peer[1][link] = 0;
    }
}
