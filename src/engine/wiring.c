/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation
 *
 * A topology that lacks a link, or has one in the wrong place, lets one tenant reach another without a sign of it.
 * So nothing is taken that another source, or the other end of the same link, contradicts:
 *   ids       ppu-smi's table of the cards, a map that a person wrote, or the order of the addresses; all that are
 *             there must say the same, of exactly the cards on the bus
 *   wiring    icn -r, which tells the index at the other end too, or a topology in the vendor's form; both must say
 *             the same of every link that is up
 *   presence  icn -s lists every link that a card has.  One that leads nowhere as far as anybody can see, because it
 *             is down, or whose other end is not a card of this host, is external: it is cut as long as its card has
 *             an owner
 */
#include "engine/wiring.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "engine/wiring_making.h"

void wiring_sources_free(struct wiring_sources *sources)
{
    settings_map_file_free(&sources->map);
    free(sources->query_name);
    free(sources->states_name);
    free(sources->remotes_name);
    free(sources->topology_name);
    ppu_smi_free_cards(&sources->query);
    ppu_smi_free_links(&sources->states);
    ppu_smi_free_links(&sources->remotes);
    buffer_free(&sources->topology_text);
    *sources = (struct wiring_sources){0};
}

const char *wiring_name_card(const struct wiring *wiring, int ppu, char text[CARD_TEXT_SIZE])
{
    char bdf[BDF_TEXT_SIZE];
    snprintf(text, CARD_TEXT_SIZE, "PPU %d (%s)", ppu, bdf_format(wiring->card[ppu], bdf));
    return text;
}

int wiring_find_card(const struct wiring *wiring, struct bdf bdf)
{
    for (int ppu = 0; ppu < wiring->topology.ppu_count; ppu++) {
        if (bdf_compare(wiring->card[ppu], bdf) == 0) {
            return ppu;
        }
    }
    return -1;
}

/* The parts of LINKS are of the cards that are known, by index and UUID. */
static int check_parts(struct wiring_making *making, const char *name, const struct ppu_smi_links *links)
{
    const struct wiring_sources *sources = making->sources;
    int count = making->wiring->topology.ppu_count;
    for (size_t i = 0; i < links->count; i++) {
        const struct ppu_smi_links_of *of = &links->items[i];
        const struct ppu_smi_card *card = ppu_smi_card(&sources->query, of->index);
        if (of->index >= count) {
            return error_set(making->err, STATUS_INVALID,
                             "%s:%d: this host has %d cards, so there is no PPU %d; is the file from another machine?",
                             name, of->line, count, of->index);
        }
        if (card && card->uuid[0] && of->uuid[0] && strcmp(card->uuid, of->uuid) != 0) {
            return error_set(making->err, STATUS_INVALID,
                             "%s:%d: PPU %d has the UUID %s here, but %s in %s:%d; is one of the files from another "
                             "machine, or from before a reboot?",
                             name, of->line, of->index, of->uuid, card->uuid, sources->query_name, card->line);
        }
        const struct ppu_smi_links_of *other = ppu_smi_links_of(&sources->states, of->index);
        if (!(card && card->uuid[0]) && other && other->uuid[0] && of->uuid[0] && strcmp(other->uuid, of->uuid) != 0) {
            return error_set(making->err, STATUS_INVALID,
                             "%s:%d: PPU %d has the UUID %s here, but %s in %s:%d; is one of the files from another "
                             "machine, or from before a reboot?",
                             name, of->line, of->index, of->uuid, other->uuid, sources->states_name, other->line);
        }
    }
    for (int ppu = 0; ppu < count; ppu++) {
        char card[CARD_TEXT_SIZE];
        if (!ppu_smi_links_of(links, ppu)) {
            return error_set(making->err, STATUS_INVALID, "%s:%d: the file ends without %s", name, links->last_line,
                             wiring_name_card(making->wiring, ppu, card));
        }
    }
    return 0;
}

/* What icn -r says of one link that leads to a card of this host, its other end must say too. */
static int join_ends(struct wiring_making *making, int ppu, int link, const struct ppu_smi_link *end, int peer)
{
    const struct wiring_sources *sources = making->sources;
    struct wiring *wiring = making->wiring;
    const struct ppu_smi_link *back = &ppu_smi_links_of(&sources->remotes, peer)->links[end->remote_link];
    char near[CARD_TEXT_SIZE];
    char far[CARD_TEXT_SIZE];
    wiring_name_card(wiring, ppu, near);
    wiring_name_card(wiring, peer, far);
    if (peer == ppu) {
        return error_set(making->err, STATUS_INVALID, "%s:%d: link %d of %s leads back to itself",
                         sources->remotes_name, end->line, link, near);
    }
    if (!back->has_remote) {
        return error_set(making->err, STATUS_INVALID,
                         "%s:%d: link %d of %s leads to link %d of %s, which is not in the file", sources->remotes_name,
                         end->line, link, near, end->remote_link, far);
    }
    if (wiring_find_card(wiring, back->remote) != ppu || back->remote_link != link) {
        char remote[BDF_TEXT_SIZE];
        return error_set(making->err, STATUS_INVALID,
                         "%s:%d: link %d of %s leads to link %d of %s, which line %d says leads to link %d of %s",
                         sources->remotes_name, end->line, link, near, end->remote_link, far, back->line,
                         back->remote_link, bdf_format(back->remote, remote));
    }
    wiring->topology.peer[ppu][link] = (int16_t)peer;
    wiring->peer_link[ppu][link] = (int16_t)end->remote_link;
    return 0;
}

static int take_remotes(struct wiring_making *making)
{
    const struct wiring_sources *sources = making->sources;
    struct wiring *wiring = making->wiring;
    if (check_parts(making, sources->remotes_name, &sources->remotes) < 0) {
        return -1;
    }
    for (int ppu = 0; ppu < wiring->topology.ppu_count; ppu++) {
        const struct ppu_smi_links_of *of = ppu_smi_links_of(&sources->remotes, ppu);
        for (int link = 0; link < LINK_MAX; link++) {
            const struct ppu_smi_link *end = &of->links[link];
            int peer = end->has_remote ? wiring_find_card(wiring, end->remote) : -1;
            wiring->listed[ppu] |= (uint32_t)(end->state != SMI_LINK_ABSENT) << link;
            if (peer >= 0 && join_ends(making, ppu, link, end, peer) < 0) {
                return -1;
            }
        }
    }
    return 0;
}

static const char *describe_peer(const struct wiring *wiring, int peer, char text[CARD_TEXT_SIZE])
{
    if (peer < 0) {
        snprintf(text, CARD_TEXT_SIZE, "no card of this host");
        return text;
    }
    return wiring_name_card(wiring, peer, text);
}

/* Link LINK of PPU: as the topology has it, and as icn -r and icn -s have it. */
static int compare_link(struct wiring_making *making, int ppu, int link)
{
    const struct wiring_sources *sources = making->sources;
    struct wiring *wiring = making->wiring;
    int said = sources->topology.peer[ppu][link];
    const struct ppu_smi_links_of *remotes = ppu_smi_links_of(&sources->remotes, ppu);
    const struct ppu_smi_links_of *states = ppu_smi_links_of(&sources->states, ppu);
    const struct ppu_smi_link *remote = remotes ? &remotes->links[link] : NULL;
    char card[CARD_TEXT_SIZE];
    char peers[2][CARD_TEXT_SIZE];
    wiring_name_card(wiring, ppu, card);
    if (remote && remote->has_remote) {
        int seen = wiring->topology.peer[ppu][link];
        if ((said >= 0 ? said : -1) != (seen >= 0 ? seen : -1)) {
            return error_set(making->err, STATUS_INVALID, "%s:%d: link %d of %s leads to %s here, but to %s in %s",
                             sources->remotes_name, remote->line, link, card, describe_peer(wiring, seen, peers[0]),
                             describe_peer(wiring, said, peers[1]), sources->topology_name);
        }
    } else if (said != NO_PEER) {
        bool is_down = states && states->links[link].state == SMI_LINK_INACTIVE;
        if (states && states->links[link].state == SMI_LINK_ABSENT) {
            return error_set(making->err, STATUS_INVALID, "%s:%d: %s has no link %d here, but %s joins it to %s",
                             sources->states_name, states->line, card, link, sources->topology_name,
                             describe_peer(wiring, said, peers[0]));
        }
        if (remotes && !is_down) {
            return error_set(making->err, STATUS_INVALID, "%s:%d: %s has no link %d here, but %s joins it to %s",
                             sources->remotes_name, remotes->line, card, link, sources->topology_name,
                             describe_peer(wiring, said, peers[0]));
        }
        wiring->topology.peer[ppu][link] = (int16_t)(said >= 0 ? said : NO_PEER);
    }
    wiring->listed[ppu] |= (uint32_t)(said != NO_PEER) << link;
    return 0;
}

static int take_topology(struct wiring_making *making)
{
    const struct wiring_sources *sources = making->sources;
    int count = making->wiring->topology.ppu_count;
    if (sources->topology.ppu_count != count) {
        return error_set(
            making->err, STATUS_INVALID,
            "%s: it has %d cards, but this host has %d (lspci -D -d %s); is the file from another machine?",
            sources->topology_name, sources->topology.ppu_count, count, sources->match);
    }
    for (int ppu = 0; ppu < count; ppu++) {
        for (int link = 0; link < LINK_MAX; link++) {
            if (compare_link(making, ppu, link) < 0) {
                return -1;
            }
        }
    }
    return 0;
}

/* icn -s lists every link; icn -r must not know one that it does not, or that it calls inactive. */
static int take_states(struct wiring_making *making)
{
    const struct wiring_sources *sources = making->sources;
    struct wiring *wiring = making->wiring;
    if (check_parts(making, sources->states_name, &sources->states) < 0) {
        return -1;
    }
    for (int ppu = 0; ppu < wiring->topology.ppu_count; ppu++) {
        const struct ppu_smi_links_of *states = ppu_smi_links_of(&sources->states, ppu);
        const struct ppu_smi_links_of *remotes = ppu_smi_links_of(&sources->remotes, ppu);
        for (int link = 0; link < LINK_MAX; link++) {
            enum ppu_smi_state state = states->links[link].state;
            const struct ppu_smi_link *remote = remotes ? &remotes->links[link] : NULL;
            char card[CARD_TEXT_SIZE];
            if (remote && remote->has_remote && (state == SMI_LINK_ABSENT || state == SMI_LINK_INACTIVE)) {
                return error_set(
                    making->err, STATUS_INVALID, "%s:%d: link %d of %s leads to another device here, but %s:%d %s",
                    sources->remotes_name, remote->line, link, wiring_name_card(wiring, ppu, card),
                    sources->states_name, state == SMI_LINK_ABSENT ? states->line : states->links[link].line,
                    state == SMI_LINK_ABSENT ? "does not list it" : "calls it inactive");
            }
            wiring->listed[ppu] |= (uint32_t)(state != SMI_LINK_ABSENT) << link;
        }
    }
    return 0;
}

/* The bits of the links that lead to cards of this host. */
static uint32_t wired_links(const struct wiring *wiring, int ppu)
{
    uint32_t wired = 0;
    for (int link = 0; link < LINK_MAX; link++) {
        wired |= (uint32_t)(wiring->topology.peer[ppu][link] >= 0) << link;
    }
    return wired;
}

static int put_together(struct wiring_making *making)
{
    const struct wiring_sources *sources = making->sources;
    struct wiring *wiring = making->wiring;
    uint32_t listed = 0;
    if (sources->card_count == 0) {
        return error_set(making->err, STATUS_INVALID,
                         "no PCI function of this host matches %s; set match in [ppu] (lspci -D lists all)",
                         sources->match);
    }
    if (wiring_find_ids(making) < 0) {
        return -1;
    }
    if (!sources->remotes_name && !sources->topology_name) {
        return error_set(making->err, STATUS_INVALID,
                         "nothing says where the links lead: the output of ppu-smi icn -r or of ppudbg --topo_read is "
                         "missing");
    }
    if ((sources->remotes_name && take_remotes(making) < 0) || (sources->states_name && take_states(making) < 0) ||
        (sources->topology_name && take_topology(making) < 0)) {
        return -1;
    }
    if (sources->topology_name && !sources->remotes_name) {
        making->wiring->topology = sources->topology;
    }
    if (wiring_count_links(wiring) == 0 && sources->card_count > 1) {
        return error_set(
            making->err, STATUS_INVALID,
            "%s: no link joins two of the %zu cards: all links are cut or down, or the vendor's driver has "
            "not initialised them",
            sources->remotes_name ? sources->remotes_name : sources->topology_name, sources->card_count);
    }
    for (int ppu = 0; ppu < wiring->topology.ppu_count; ppu++) {
        listed |= wiring->listed[ppu];
    }
    wiring->links = sources->states_name || sources->remotes_name ? listed : 0;
    wiring_warn_of_external(making);
    return 0;
}

int wiring_make(const struct wiring_sources *sources, struct wiring *wiring, struct text_list *warnings,
                struct error *err)
{
    CLEANUP_FREE struct wiring *made = memory_alloc(1, sizeof *made);
    struct text_list found = {0};
    struct wiring_making making = {.sources = sources, .wiring = made, .warnings = &found, .err = err};
    topology_clear(&made->topology, sources->card_count <= PPU_MAX ? (int)sources->card_count : 0);
    memset(made->peer_link, -1, sizeof made->peer_link);
    if (put_together(&making) < 0) {
        text_list_free(&found);
        return -1;
    }
    for (size_t i = 0; i < found.count; i++) {
        text_list_add_copy(warnings, found.items[i]);
    }
    text_list_free(&found);
    *wiring = *made;
    return 0;
}

int wiring_count_links(const struct wiring *wiring)
{
    int ends = 0;
    for (int ppu = 0; ppu < wiring->topology.ppu_count; ppu++) {
        ends += __builtin_popcount(wired_links(wiring, ppu));
    }
    return ends / 2;
}

int wiring_count_external(const struct wiring *wiring)
{
    int ends = 0;
    for (int ppu = 0; ppu < wiring->topology.ppu_count; ppu++) {
        ends += __builtin_popcount((wiring->links | wiring->listed[ppu]) & ~wired_links(wiring, ppu));
    }
    return ends;
}
