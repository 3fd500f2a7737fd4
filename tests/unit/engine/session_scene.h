/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "engine/policy.h"
#include "engine/session.h"
#include "scene.h"

/* A session on the scene and the turn that is taken in it: for tests of who owns what, and of what is decided and
 * recorded. */
extern struct session session;
extern struct turn turn;

/* cmocka's setup and teardown for each test: no session is open. */
int start(void **state);
int stop(void **state);
/* Both, for the next case of a test. */
void restart(void **state);
#define EACH(test) cmocka_unit_test_setup_teardown(test, start, stop)

void open_to_look(void);
/* What is on disk, seen by another session. */
void look_again(void);
void open_to_change(void);

/* The note on a card that nobody known holds. */
#define UNKNOWN_HOLDER(card)                                                                                           \
    "warning unknown-holder: " card " is held open through vfio by a process that is not a known VM; its links stay "  \
    "cut until it ends"

/* A domain that runs and holds its cards open. */
void running(const char *name, const char *uuid, const char *ppus, int pid);

/* The domain owns PPUS, which are the turn's; one that is not known yet is 'a'. */
const struct owner *take(const char *uuid, const char *ppus);
/* The domain loses all its cards. */
void give_back(const char *uuid);
void decide(enum intent intent);
void write_plan(void);

/* Each claim as "NAME:PHASE IDS", joined by "; ". */
void assert_claims(const char *expected);
