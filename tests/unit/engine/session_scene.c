/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "session_scene.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "engine/record.h"

struct session session;
struct turn turn;

int start(void **state)
{
    session = (struct session){.state = STATE_CLOSED};
    turn = (struct turn){.intent = INTENT_LOOK};
    return scene_start(state);
}

int stop(void **state)
{
    (void)state;
    session_close(&session);
    return 0;
}

void restart(void **state)
{
    stop(state);
    start(state);
}

void open_to_look(void)
{
    scene_session(&session, SESSION_LOOK);
}

void look_again(void)
{
    session_close(&session);
    open_to_look();
}

void open_to_change(void)
{
    scene_session(&session, SESSION_CHANGE);
}

void running(const char *name, const char *uuid, const char *ppus, int pid)
{
    scene_running(name, uuid, ppus, pid);
    for (; *ppus != '\0'; ppus++) {
        scene_hold(*ppus - '0');
    }
}

const struct owner *take(const char *uuid, const char *ppus)
{
    const struct owner *owner = owners_find(&session.owners, uuid);
    owner = owner ? owner : owners_add(&session.owners, OWNER_KIND_VM, uuid, "a");
    for (; *ppus != '\0'; ppus++) {
        owners_give(&session.owners, owner, *ppus - '0', true);
        turn.near[*ppus - '0'] = true;
    }
    return owner;
}

void give_back(const char *uuid)
{
    const struct owner *owner = owners_find(&session.owners, uuid);
    for (int ppu = 0; ppu < CARDS; ppu++) {
        turn.given_back[ppu] |= owners_has(&session.owners, owner, ppu);
    }
    owners_take_back(&session.owners, owner);
}

void decide(enum intent intent)
{
    turn.intent = intent;
    policy_decide(&session, &turn);
}

void write_plan(void)
{
    struct error err = {0};
    assert_done(session_write(&session, turn.given_back, true, true, &err), &err);
}

void assert_claims(const char *expected)
{
    static const char *const phases[] = {"starting", "running", "ended"};
    char text[1024] = "";
    size_t used = 0;
    for (size_t i = 0; i < session.state.claim_count; i++) {
        const struct claim *claim = &session.state.claims[i];
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%s:%s ", i > 0 ? "; " : "", claim->name,
                                 phases[claim->phase]);
        for (size_t k = 0; k < claim->card_count; k++) {
            used += (size_t)snprintf(text + used, sizeof text - used, "%d%s",
                                     machine_ppu_at(session.machine, claim->cards[k].bdf),
                                     claim->cards[k].whole ? "" : "p");
        }
    }
    assert_string_equal(text, expected);
}
