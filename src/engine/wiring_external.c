/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Links that lead to no card of this host, as far as anybody can see, and those that are down: one warning for each
 * kind, however many cards have such links. */
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "engine/wiring_making.h"

/* A link that leads to a card of this host and is up is of none of these kinds. */
enum link_kind { LINK_DOWN, LINK_DOWN_AND_KNOWN, LINK_ELSEWHERE, LINK_UNTOLD, LINK_KIND_COUNT, LINK_USUAL };

/* "links 0, 1, […] and 31 of PPU 1023; " */
enum { ENTRY_SIZE = 192 };

static enum link_kind find_kind(const struct wiring_making *making, int ppu, int link)
{
    const struct wiring_sources *sources = making->sources;
    const struct ppu_smi_links_of *states = ppu_smi_links_of(&sources->states, ppu);
    const struct ppu_smi_links_of *remotes = ppu_smi_links_of(&sources->remotes, ppu);
    bool is_known = making->wiring->topology.peer[ppu][link] >= 0;
    if (states && states->links[link].state == SMI_LINK_INACTIVE) {
        return is_known ? LINK_DOWN_AND_KNOWN : LINK_DOWN;
    }
    if (is_known) {
        return LINK_USUAL;
    }
    bool leads_elsewhere = (remotes && remotes->links[link].has_remote) ||
                           (sources->topology_name && sources->topology.peer[ppu][link] == EXTERNAL_PEER);
    return leads_elsewhere ? LINK_ELSEWHERE : LINK_UNTOLD;
}

/* A card before PPU has the same links. */
static bool is_repeated(const uint32_t *links, int ppu)
{
    for (int before = 0; before < ppu; before++) {
        if (links[before] == links[ppu]) {
            return true;
        }
    }
    return false;
}

/* "link 2 of PPU 0-3,6; links 1 and 2 of PPU 7", owned.  LINKS: bits of each of the COUNT cards.  IS_ONE: it is the
 * same single link of every card. */
static char *name_links(const uint32_t *links, int count, bool *is_one)
{
    size_t size = (size_t)count * ENTRY_SIZE;
    size_t used = 0;
    char *text = memory_alloc((size_t)count, ENTRY_SIZE);
    for (int first = 0; first < count; first++) {
        if (links[first] == 0 || is_repeated(links, first)) {
            continue;
        }
        int total = __builtin_popcount(links[first]);
        int named = 0;
        *is_one = used == 0 && total == 1;
        used += (size_t)snprintf(text + used, size - used, "%slink%s", used > 0 ? "; " : "", total > 1 ? "s" : "");
        for (int link = 0; link < LINK_MAX; link++) {
            if ((links[first] >> link & 1) != 0) {
                const char *separator = named == 0 ? " " : named == total - 1 ? " and " : ", ";
                used += (size_t)snprintf(text + used, size - used, "%s%d", separator, link);
                named++;
            }
        }
        const char *separator = " of PPU ";
        for (int ppu = first, last; ppu < count; ppu = last + 1) {
            last = ppu;
            if (links[ppu] != links[first]) {
                continue;
            }
            while (last + 1 < count && links[last + 1] == links[first]) {
                last++;
            }
            used += (size_t)snprintf(text + used, size - used, "%s%d", separator, ppu);
            used += last > ppu ? (size_t)snprintf(text + used, size - used, "-%d", last) : 0;
            separator = ",";
        }
    }
    return text;
}

void wiring_warn_of_external(struct wiring_making *making)
{
    const struct wiring *wiring = making->wiring;
    int count = wiring->topology.ppu_count;
    CLEANUP_FREE uint32_t(*links)[PPU_MAX] = memory_alloc(LINK_KIND_COUNT, sizeof *links);
    for (int ppu = 0; ppu < count; ppu++) {
        for (int link = 0; link < LINK_MAX; link++) {
            enum link_kind kind = (wiring->listed[ppu] >> link & 1) != 0 ? find_kind(making, ppu, link) : LINK_USUAL;
            if (kind != LINK_USUAL) {
                links[kind][ppu] |= UINT32_C(1) << link;
            }
        }
    }
    for (enum link_kind kind = 0; kind < LINK_KIND_COUNT; kind++) {
        bool is_one = false;
        CLEANUP_FREE char *names = name_links(links[kind], count, &is_one);
        if (names[0] == '\0') {
            continue;
        }
        if (kind == LINK_DOWN) {
            text_list_add(making->warnings, "%s %s inactive now and %s as external", names, is_one ? "is" : "are",
                          is_one ? "counts" : "count");
        } else if (kind == LINK_DOWN_AND_KNOWN) {
            text_list_add(making->warnings, "%s %s inactive now; where %s is taken from %s", names,
                          is_one ? "is" : "are", is_one ? "it leads" : "they lead", making->sources->topology_name);
        } else if (kind == LINK_ELSEWHERE) {
            text_list_add(making->warnings, "%s %s to something other than a card of this host and %s as external",
                          names, is_one ? "leads" : "lead", is_one ? "counts" : "count");
        } else {
            text_list_add(making->warnings, "%s %s as external: nothing says where %s", names,
                          is_one ? "counts" : "count", is_one ? "it leads" : "they lead");
        }
    }
}
