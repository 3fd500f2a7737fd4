/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/paths.h"
#include "engine/confirm_private.h"
#include "registers/ppudbg.h"

enum { LOCK_PARTS = 3 };

const char *witness_text(enum witness witness)
{
    static const char *const texts[] = {
        [WITNESS_STATUS] = "status", [WITNESS_PPU_SMI] = "ppu-smi", [WITNESS_PPUDBG] = "ppudbg"};
    return texts[witness];
}

static void look_at_status(const struct witnesses *witnesses, struct session *session, int ppu, struct view *view)
{
    struct card_address address = session_address(session, ppu);
    struct reading reading;
    address.links = witnesses->indexes;
    bool may_touch = session->access == SESSION_CHANGE;
    session->registers.backend->read_status(&session->registers, &address, may_touch, &reading);
    if (reading.kind == READING_FINE) {
        view->known[WITNESS_STATUS][ppu] = witnesses->indexes;
        view->up[WITNESS_STATUS][ppu] = reading.mask;
    }
}

/* A tool that does not answer may hang for good, and the lock is held meanwhile. */
static void fall_silent(struct witnesses *witnesses, enum witness witness, const struct error *err)
{
    witnesses->is_silent[witness] = true;
    text_list_add(witnesses->warnings, "%s is not asked any more: %s", witness_text(witness), err->text);
}

/* How long a call may take, in seconds: a call that waits for the lock meanwhile still gets it, although each tool may
 * hang once.  TIMEOUT is the tool's own. */
static int bounded(const struct settings *settings, int timeout)
{
    int seconds = settings->lock_timeout / LOCK_PARTS;
    return seconds < 1 ? 1 : seconds < timeout ? seconds : timeout;
}

static void ask_ppudbg(struct witnesses *witnesses, const struct session *session, int ppu, uint32_t links,
                       struct view *view)
{
    struct settings settings = session->machine->settings; /* borrows what that owns */
    settings.ppudbg_timeout = bounded(&settings, settings.ppudbg_timeout);
    for (int link = 0; link < LINK_MAX; link++) {
        enum ppudbg_link status;
        struct error err;
        if (((links >> link) & 1) == 0 || witnesses->is_silent[WITNESS_PPUDBG] || witnesses->is_silent_of[ppu]) {
            continue;
        }
        if (ppudbg_read_link(&settings, session->machine->card[ppu], link, &status, &err) < 0) {
            witnesses->is_silent_of[ppu] = true;
            if (err.status == STATUS_BUSY) {
                fall_silent(witnesses, WITNESS_PPUDBG, &err);
            }
        } else if (status != PPUDBG_LINK_UNKNOWN) {
            view->known[WITNESS_PPUDBG][ppu] |= UINT32_C(1) << link;
            view->up[WITNESS_PPUDBG][ppu] |= status == PPUDBG_LINK_UP ? UINT32_C(1) << link : 0;
        }
    }
}

static int ask_briefly(const struct settings *settings, enum ppu_smi_question question, struct buffer *output,
                       struct error *err)
{
    CLEANUP_FREE char *tool = paths_resolve_tool(settings->ppu_smi_path);
    return ppu_smi_ask(tool, question, bounded(settings, settings->ppu_smi_timeout), output, err);
}

/* Its numbers of the cards may change at a boot, but not while it runs: they are asked for once. */
static int learn_cards(struct witnesses *witnesses, const struct settings *settings, struct error *err)
{
    struct buffer output;
    if (witnesses->cards.count > 0) {
        return 0;
    }
    if (ask_briefly(settings, SMI_CARDS, &output, err) < 0) {
        return -1;
    }
    int result =
        ppu_smi_parse_cards(output.data, output.length, ppu_smi_answer_name(SMI_CARDS), &witnesses->cards, err);
    buffer_free(&output);
    return result;
}

static int read_states(const struct settings *settings, struct ppu_smi_links *links, struct error *err)
{
    struct buffer output;
    if (ask_briefly(settings, SMI_STATES, &output, err) < 0) {
        return -1;
    }
    int result = ppu_smi_parse_links(output.data, output.length, ppu_smi_answer_name(SMI_STATES), links, err);
    buffer_free(&output);
    return result;
}

static void ask_states(struct witnesses *witnesses, const struct session *session, struct view *view)
{
    const struct settings *settings = &session->machine->settings;
    struct ppu_smi_links links = {0};
    struct error err;
    if (learn_cards(witnesses, settings, &err) < 0 || read_states(settings, &links, &err) < 0) {
        fall_silent(witnesses, WITNESS_PPU_SMI, &err);
        return;
    }
    for (size_t i = 0; i < links.count; i++) {
        const struct ppu_smi_links_of *of = &links.items[i];
        const struct ppu_smi_card *card = ppu_smi_card(&witnesses->cards, of->index);
        bool is_other = card && card->uuid[0] && of->uuid[0] && strcmp(card->uuid, of->uuid) != 0;
        int ppu = card && !is_other ? machine_ppu_at(session->machine, card->bdf) : -1;
        for (int link = 0; ppu >= 0 && link < LINK_MAX; link++) {
            enum ppu_smi_state state = of->links[link].state;
            if (state == SMI_LINK_ACTIVE || state == SMI_LINK_INACTIVE) {
                view->known[WITNESS_PPU_SMI][ppu] |= UINT32_C(1) << link;
                view->up[WITNESS_PPU_SMI][ppu] |= state == SMI_LINK_ACTIVE ? UINT32_C(1) << link : 0;
            }
        }
    }
    ppu_smi_free_links(&links);
}

void witnesses_open(struct witnesses *witnesses, const struct machine *machine, struct text_list *warnings)
{
    CLEANUP_FREE char *ppudbg = paths_resolve_tool(machine->settings.ppudbg_path);
    CLEANUP_FREE char *ppu_smi = paths_resolve_tool(machine->settings.ppu_smi_path);
    *witnesses = (struct witnesses){.warnings = warnings};
    witnesses->is_silent[WITNESS_PPUDBG] = access(ppudbg, X_OK) < 0;
    witnesses->is_silent[WITNESS_PPU_SMI] = access(ppu_smi, X_OK) < 0;
    for (int ppu = 0; ppu < machine->topology.ppu_count; ppu++) {
        witnesses->indexes |= topology_links(&machine->topology, ppu);
    }
}

void witnesses_close(struct witnesses *witnesses)
{
    ppu_smi_free_cards(&witnesses->cards);
}

void witnesses_look(struct witnesses *witnesses, struct session *session, const uint32_t ends[], struct view *view)
{
    memset(view, 0, sizeof *view);
    for (int ppu = 0; ppu < session->machine->topology.ppu_count; ppu++) {
        if (session->cards[ppu].reach == (session->access == SESSION_CHANGE ? REACH_CHANGE : REACH_LOOK)) {
            look_at_status(witnesses, session, ppu, view);
            if (ends) {
                ask_ppudbg(witnesses, session, ppu, ends[ppu], view);
            }
        }
    }
    if (!witnesses->is_silent[WITNESS_PPU_SMI]) {
        ask_states(witnesses, session, view);
    }
}
