/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "world.h"

#include "core/mask.h"
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
        cards |= domain->narrow_xml ? (number == A ? 0x1U : 0x4U) : world_wide(number);
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
    return user <= DOMAINS && world->domains[user - 1].narrow_qemu && (world_wide(user - 1) >> card & 1) != 0;
}

static const char *check_link(const struct world *world, const int users[CARDS], const int owners[CARDS], int card,
                              int link)
{
    int peer = world_peer(card, link);
    int user = users[card];
    if (user == NONE || user == users[peer]) {
        return 0;
    }
    int back = world_peer(peer, 0) == card ? 0 : 1;
    bool live = !world_is_cut(world->registers, card, link) && !world_is_cut(world->registers, peer, back);
    if (users[peer] != NONE && live) {
        return "a link is live between the cards of two";
    }
    if (users[peer] != NONE && owners[card] == owners[peer] && owners[card] >= OWNER_IDLE) {
        return "a link may be opened between the cards of two";
    }
    if (live && !was_unplugged_from(world, peer, user)) {
        return "a link is live between a card in use and an idle one";
    }
    return 0;
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
    return 0;
}

const char *check_world(const struct world *world)
{
    int users[CARDS];
    int owners[CARDS];
    const char *fault = 0;

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
    return group_is_dead && (debtor == DOMAINS || (check_is_dead(world, A) && check_is_dead(world, B)));
}

bool check_is_free(const struct world *world, int debtor)
{
    if (debtor < DOMAINS) {
        return world_judge(world, debtor) == CLAIM_VOID;
    }
    if (debtor == DOMAINS) {
        return world_judge_group(world) == CLAIM_VOID;
    }
    return check_is_free(world, A) && check_is_free(world, B) && check_is_free(world, DOMAINS) && world->registers == 0;
}
