/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/group_check.h"

#include "engine/link_state.h"

static void check_inner(const struct snapshot *snapshot, int ppu, int link, struct text_list *faults)
{
    char near[CARD_TEXT_SIZE];
    char far[CARD_TEXT_SIZE];
    if (link_near_end(snapshot, ppu, link) == END_CUT) {
        text_list_add(faults, "link %d of %s to %s is cut, though both are in one group", link,
                      machine_card_text(snapshot->machine, ppu, near),
                      machine_card_text(snapshot->machine, snapshot->machine->topology.peer[ppu][link], far));
    }
}

static void check_leaving(const struct snapshot *snapshot, int ppu, int link, struct text_list *faults)
{
    char near[CARD_TEXT_SIZE];
    char far[CARD_TEXT_SIZE];
    enum link_end end = link_near_end(snapshot, ppu, link);
    machine_card_text(snapshot->machine, ppu, near);
    machine_card_text(snapshot->machine, snapshot->machine->topology.peer[ppu][link], far);
    if (end == END_OPEN) {
        text_list_add(faults, "link %d of %s to %s leaves the group and is %s", link, near, far,
                      link_live(snapshot, ppu, link) == LIVE_YES ? "LIVE: open on both sides" : "not cut");
    } else if (end == END_UNKNOWN && link_far_end(snapshot, ppu, link) != END_CUT) {
        text_list_add(faults, "link %d of %s to %s leaves the group, and neither end is known to be cut", link, near,
                      far);
    }
}

static void check_card(const struct snapshot *snapshot, int ppu, struct text_list *faults, struct text_list *notes)
{
    const struct card *card = &snapshot->cards[ppu];
    char text[CARD_TEXT_SIZE];
    machine_card_text(snapshot->machine, ppu, text);
    if (!card->state.present) {
        text_list_add(faults, "%s is not on the PCI bus", text);
    } else if (card->reading.kind != READING_FINE) {
        text_list_add(notes, "%s: %s", text, card->reading.why);
    }
}

void group_check(const struct snapshot *snapshot, const struct card_groups *groups, int group, struct text_list *faults,
                 struct text_list *notes)
{
    for (int ppu = card_groups_next(groups, group, -1); ppu >= 0; ppu = card_groups_next(groups, group, ppu)) {
        check_card(snapshot, ppu, faults, notes);
        for (int link = 0; link < LINK_MAX; link++) {
            int peer = snapshot->machine->topology.peer[ppu][link];
            if (peer != NO_PEER && groups->of[peer] == group) {
                check_inner(snapshot, ppu, link, faults);
            } else if (peer != NO_PEER) {
                check_leaving(snapshot, ppu, link, faults);
            }
        }
    }
}
