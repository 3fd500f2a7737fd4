/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "world.h"

#include <stddef.h>

#include "core/ownership.h"

/*
 * What must hold, told without the shipped rules: who really has a card, and what may be
 * between two that really have one.
 */
enum { NONE = 0, GROUP = DOMAINS + 1, TWO = DOMAINS + 2 };

/* The cards that a domain was let through to and has not given back. */
static unsigned cards_in_use(const struct world *world, int number)
{
    const struct domain *domain = &world->domains[number];
    unsigned cards = world_qemu_cards(world, number);
    if (domain->stage == CLEAR) {
        cards |= world_cards(number, domain->narrow_xml);
    }
    return cards;
}

static void find_users(const struct world *world, int users[CARDS])
{
    for (int card = 0; card < CARDS; card++) {
        users[card] = NONE;
        for (int number = 0; number < DOMAINS; number++) {
            if ((cards_in_use(world, number) >> card & 1) != 0) {
                users[card] = users[card] == NONE ? number + 1 : TWO;
            }
        }
    }
    if (world->group == APPLIED || world->group == BOUND) {
        users[2] = users[2] == NONE ? GROUP : TWO;
    }
}

/* A card that was unplugged is not cut off before the next hook. */
static bool was_unplugged_from(const struct world *world, int card, int user)
{
    return user <= DOMAINS && world->domains[user - 1].narrow_qemu && (world_cards(user - 1, false) >> card & 1) != 0;
}

static const char *check_link(const struct world *world, const int users[CARDS], const int owners[CARDS], int card,
                              int link)
{
    int peer = world_peer(card, link);
    int user = users[card];
    if (user == NONE || user == users[peer]) {
        return NULL;
    }
    int back = world_peer(peer, 0) == card ? 0 : 1;
    bool live = !world_is_cut(world->registers, card, link) && !world_is_cut(world->registers, peer, back);
    if (users[peer] != NONE && live) {
        return "a link is live between the cards of two";
    }
    if (users[peer] != NONE && link_may_be_open(owners[card], owners[peer])) {
        return "a link may be opened between the cards of two";
    }
    if (live && !was_unplugged_from(world, peer, user)) {
        return "a link is live between a card in use and an idle one";
    }
    if (!world_is_cut(world->registers, card, link) && !was_unplugged_from(world, peer, user)) {
        return "a link is open at the end that its user could open";
    }
    return NULL;
}

/* Who is let through has a claim that counts. */
static const char *check_hook(const struct world *world)
{
    const struct hook *hook = &world->hook;
    if (!hook->admits || hook->orphan) {
        return NULL;
    }
    if (hook->operation == GROUP_APPLY || hook->operation == GROUP_APPLY_BOUND) {
        return world_judge_group(world) == CLAIM_COUNTS ? NULL : "a group is let through without a claim";
    }
    const struct domain *domain = &world->domains[hook->domain];
    return domain->old || world_judge(world, (int)hook->domain) == CLAIM_COUNTS
               ? NULL
               : "a domain is let through without a claim";
}

static const char *check_domain(const struct world *world, const int owners[CARDS], int number)
{
    const struct domain *domain = &world->domains[number];
    unsigned has = world_qemu_cards(world, number);
    if (domain->claim && domain->ended && world_judge(world, number) == CLAIM_COUNTS) {
        return "a claim that has ended counts";
    }
    for (int card = 0; card < CARDS; card++) {
        bool is_owner = owners[card] == number + 1;
        if (domain->file && (has >> card & 1) == 0 && is_owner) {
            return "a domain owns a card that its status file does not list";
        }
        if (domain->qemu == HOLDS && domain->claim && !domain->ended && !domain->tombstone && (has >> card & 1) != 0 &&
            !is_owner && owners[card] != OWNER_SHARED) {
            return "a domain with a claim does not own a card that it holds";
        }
    }
    return NULL;
}

const char *check_world(const struct world *world)
{
    int users[CARDS];
    int owners[CARDS];
    const char *fault = check_hook(world);
    find_users(world, users);
    world_owners(world, NOT_LEFT_OUT, owners);
    for (int card = 0; card < CARDS && !fault; card++) {
        if (users[card] == TWO) {
            return "two were let through to one card";
        }
        for (int link = 0; link < LINKS_EACH && !fault; link++) {
            fault = check_link(world, users, owners, card, link);
        }
    }
    for (int number = 0; number < DOMAINS && !fault; number++) {
        fault = check_domain(world, owners, number);
    }
    return fault;
}

bool check_is_dead(const struct world *world, int debtor)
{
    if (debtor < DOMAINS) {
        const struct domain *domain = &world->domains[debtor];
        return domain->qemu == NO_QEMU && (domain->stage == OFF || domain->stage == UP);
    }
    bool group_is_dead = world->group == NO_GROUP || world->group == UNBOUND;
    return group_is_dead && (debtor == DEBTOR_GROUP || (check_is_dead(world, A) && check_is_dead(world, B)));
}

bool check_is_free(const struct world *world, int debtor)
{
    if (debtor < DOMAINS) {
        return world_judge(world, debtor) == CLAIM_VOID;
    }
    if (debtor == DEBTOR_GROUP) {
        return world_judge_group(world) == CLAIM_VOID;
    }
    return check_is_free(world, A) && check_is_free(world, B) && check_is_free(world, DEBTOR_GROUP) &&
           world->registers == 0;
}
