/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "engine/session.h"

/*
 * Whether [map] still fits the cards; called by machine_survey.  Looks up every pinned address, reads path and serial
 * number only of pins that give them, and lists the bus only if a pinned card is absent.  Fills in machine's pins and
 * finds_none, also on failure.  STATUS_INVALID: the cards have moved, or match finds none of them; STATUS_HARDWARE: a
 * pinned address cannot be looked at.
 */
MUST_CHECK int identity_check_cards(struct machine *machine, struct error *err);

/*
 * Puts in force what this boot has, which is looked for in SESSION's state, and gathers who owns what by it: with
 * GATHER, which may be called twice.  If the configuration says something else now, that is put in force when nobody
 * owns a card; until then the old one stays, and SESSION is in doubt (session_doubt).  A session for a change writes
 * down what it put in force.
 */
typedef void identity_gatherer(struct session *session);
void identity_settle(struct session *session, identity_gatherer *gather);
