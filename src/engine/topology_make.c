/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A topology that lacks a link is dangerous: what is not in it is never cut.  The
 * tool sees only open links, so nobody may own a card while it looks, cards without
 * owner may not be isolated, and links that the present file has and the tool did not
 * see are reported.
 */
#include "engine/topology_make.h"

#include <stdio.h>

#include "base/memory.h"
#include "base/paths.h"
#include "engine/session.h"
#include "host/topology_file.h"
#include "registers/ppudbg.h"

/* Nobody has a card, and no link is cut for another reason. */
static int check_idle_host(const struct session *session, struct error *err)
{
    const struct machine *machine = session->machine;
    if (machine->settings.idle == IDLE_ISOLATE) {
        return error_set(err, STATUS_INVALID,
                         "with idle = isolate links are cut, and ppudbg sees no links that are cut; set idle = restore "
                         "in [policy], run icn-hook reset, and then this");
    }
    return session_require_idle(session, "ppudbg sees no links that are cut", err);
}

/* Looks who owns what, and lets the lock go. */
static int look_idle(const char *config, struct session *session, struct error *err)
{
    struct machine *machine = NULL;
    *session = (struct session){.state = STATE_CLOSED};
    if (machine_open(config, &machine, err) < 0) {
        return -1;
    }
    if (machine_survey_without_topology(machine, err) < 0) {
        machine_close(machine);
        return -1;
    }
    if (session_open(session, machine, SESSION_LOOK, err) < 0) {
        return -1;
    }
    session_unlock(session);
    return check_idle_host(session, err);
}

static void warn_of_missing_links(const struct machine *machine, struct topology_made *made)
{
    CLEANUP_FREE char *path = paths_resolve("%s", machine->settings.topology);
    CLEANUP_FREE struct topology *present = memory_alloc(1, sizeof *present);
    struct error ignored;
    if (topology_file_load(path, present, &ignored) < 0) {
        return;
    }
    for (int ppu = 0; ppu < present->ppu_count; ppu++) {
        bool is_there = ppu < made->topology.ppu_count;
        uint32_t missing = topology_links(present, ppu) & ~(is_there ? topology_links(&made->topology, ppu) : 0);
        for (int link = 0; link < LINK_MAX; link++) {
            if ((missing >> link & 1) != 0) {
                char peer[32] = "external";
                if (present->peer[ppu][link] != EXTERNAL_PEER) {
                    snprintf(peer, sizeof peer, "PPU %d", present->peer[ppu][link]);
                }
                text_list_add(&made->warnings, "ppudbg did not see PPU %d link %d -> %s, which %s had: was it cut?",
                              ppu, link, peer, path);
            }
        }
    }
}

static int ask_tool(const struct session *session, struct topology_made *made, struct error *err)
{
    if (ppudbg_read_topology(&session->machine->settings, &made->text, err) < 0 ||
        topology_file_parse(made->text.data, made->text.length, "output of ppudbg --topo_read", &made->topology, err) <
            0) {
        return -1;
    }
    for (size_t i = 0; i < session->state.claim_count; i++) {
        text_list_add(&made->warnings,
                      "links of '%s', which is gone, may still be cut and missing in this topology; run icn-hook reset "
                      "and generate it again",
                      session->state.claims[i].name);
    }
    if (session->machine->topology.ppu_count != made->topology.ppu_count) {
        text_list_add(&made->warnings, "ppudbg reports %d cards, but %d match %s", made->topology.ppu_count,
                      session->machine->topology.ppu_count, session->machine->settings.match);
    }
    warn_of_missing_links(session->machine, made);
    return 0;
}

int topology_make(const char *config, struct topology_made *made, struct error *err)
{
    struct session before;
    struct session after = {.state = STATE_CLOSED};
    struct topology_made answer = {0};
    int result = look_idle(config, &before, err);
    if (result == 0) {
        result = ask_tool(&before, &answer, err);
    }
    if (result == 0 && look_idle(config, &after, err) < 0) {
        result = error_wrap(err, "while ppudbg looked at the links this changed, so its answer is not used");
    }
    session_close(&before);
    session_close(&after);
    if (result < 0) {
        topology_made_free(&answer);
        return -1;
    }
    *made = answer;
    return 0;
}

void topology_made_free(struct topology_made *made)
{
    buffer_free(&made->text);
    text_list_free(&made->warnings);
}
