/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "world.h"

#include <stdio.h>
#include <string.h>

#include "core/ownership.h"

enum { START_TIMEOUT_MS = 1000, OWNER_GROUP = DOMAINS + 1 };

static const unsigned sets_of_cards[DOMAINS][2] = {{0x3, 0x1}, {0x6, 0x4}};

unsigned world_claimed(const struct domain *domain, int number)
{
    return domain->claim == NO_CLAIM ? 0 : sets_of_cards[number][domain->narrow_claim];
}

unsigned world_cards(int number, bool narrow)
{
    return sets_of_cards[number][narrow];
}

unsigned world_qemu_cards(const struct world *world, int number)
{
    const struct domain *domain = &world->domains[number];
    return domain->qemu == NO_QEMU ? 0 : sets_of_cards[number][domain->narrow_qemu];
}

unsigned world_held(const struct world *world)
{
    unsigned held = 0;
    for (int number = 0; number < DOMAINS; number++) {
        held |= world->domains[number].qemu == HOLDS ? world_qemu_cards(world, number) : 0;
    }
    return held;
}

/* The held cards that no status file accounts for. */
static unsigned held_unexplained(const struct world *world)
{
    unsigned held = world_held(world);
    for (int number = 0; number < DOMAINS; number++) {
        held &= world->domains[number].file ? ~world_qemu_cards(world, number) : ~0U;
    }
    return held;
}

int world_judge(const struct world *world, int number)
{
    const struct domain *domain = &world->domains[number];
    if (domain->claim == NO_CLAIM) {
        return domain->file ? CLAIM_SUPERSEDED : CLAIM_VOID;
    }
    enum claim_phase phase = (enum claim_phase)(domain->claim - 1);
    const struct claim_facts facts = {
        .phase = domain->tombstone ? claim_next(phase, CLAIM_STOPPED) : phase,
        .has_status_file = domain->file,
        .daemon = (enum daemon_state)domain->daemon,
        .age_ms = domain->old ? START_TIMEOUT_MS : START_TIMEOUT_MS - 1,
        .start_timeout_ms = START_TIMEOUT_MS,
        .holds_unexplained = (held_unexplained(world) & world_claimed(domain, number)) != 0,
        .process_lives = domain->process,
    };
    return (int)claim_judge(&facts);
}

int world_judge_group(const struct world *world)
{
    if (!world->group_claim) {
        return CLAIM_VOID;
    }
    const struct claim_facts facts = {
        .phase = CLAIM_RUNNING,
        .is_group = true,
        .names_process = world->group == APPLYING_BOUND || world->group == BOUND || world->group == UNBOUND,
        .start_timeout_ms = START_TIMEOUT_MS,
        .age_ms = START_TIMEOUT_MS,
        .holds_unexplained = (held_unexplained(world) & GROUP_CARDS) != 0,
        .process_lives = world->group == APPLYING_BOUND || world->group == BOUND,
    };
    return (int)claim_judge(&facts);
}

static void add_owner(int owners[CARDS], unsigned cards, int owner)
{
    for (int card = 0; card < CARDS; card++) {
        if ((cards >> card & 1) != 0) {
            owners[card] = owners[card] == OWNER_IDLE ? owner : OWNER_SHARED;
        }
    }
}

void world_owners(const struct world *world, int but_claim_of, int owners[CARDS])
{
    unsigned unexplained = held_unexplained(world);
    memset(owners, 0, CARDS * sizeof owners[0]);
    for (int number = 0; number < DOMAINS; number++) {
        int verdict = world_judge(world, number);
        if (verdict == CLAIM_SUPERSEDED) {
            add_owner(owners, world_qemu_cards(world, number), number + 1);
        } else if (verdict == CLAIM_COUNTS && number != but_claim_of) {
            unsigned cards = world_claimed(&world->domains[number], number);
            add_owner(owners, cards, number + 1);
            unexplained &= ~cards;
        }
    }
    if (world_judge_group(world) == CLAIM_COUNTS) {
        add_owner(owners, GROUP_CARDS, OWNER_GROUP);
        unexplained &= ~(unsigned)GROUP_CARDS;
    }
    add_owner(owners, unexplained, OWNER_UNKNOWN);
}

/* -- The cards ----------------------------------------------------------------------- */

int world_peer(int card, int link)
{
    return (card + 1 + link) % CARDS;
}

bool world_is_cut(unsigned registers, int card, int link)
{
    return (registers >> (card * LINKS_EACH + link) & 1) != 0;
}

static const struct topology *triangle(void)
{
    static struct topology topology;
    if (topology.ppu_count == 0) {
        topology_clear(&topology, CARDS);
        for (int card = 0; card < CARDS; card++) {
            for (int link = 0; link < LINKS_EACH; link++) {
                topology.peer[card][link] = (int16_t)world_peer(card, link);
            }
        }
    }
    return &topology;
}

uint32_t world_required_masks(const struct world *world)
{
    int owners[CARDS];
    uint32_t masks = 0;
    world_owners(world, NOT_LEFT_OUT, owners);
    for (int card = 0; card < CARDS; card++) {
        masks |= mask_required(triangle(), owners, card) << (card * LINKS_EACH);
    }
    return masks;
}

uint32_t world_register_bits(unsigned cards)
{
    uint32_t bits = 0;
    for (int card = 0; card < CARDS; card++) {
        bits |= (cards >> card & 1) != 0 ? 3U << (card * LINKS_EACH) : 0;
    }
    return bits;
}

void world_print(const struct world *world)
{
    static const char *const stages[] = {"off", "prepare", "prepared", "start", "clear", "up", "stopping"};
    static const char *const qemus[] = {"", " born", " holds"};
    static const char *const phases[] = {"", " starting", " running", " ended"};
    for (int number = 0; number < DOMAINS; number++) {
        const struct domain *domain = &world->domains[number];
        printf("    %c %s%s%s%s%s%s", 'A' + number, stages[domain->stage], domain->narrow_xml ? " narrow" : "",
               qemus[domain->qemu], domain->qemu && domain->narrow_qemu ? "(narrow)" : "", domain->file ? " file" : "",
               domain->tombstone ? " tombstone" : "");
        printf(" |%s%s daemon %u%s%s%s waiting %u\n", phases[domain->claim], domain->narrow_claim ? "(narrow)" : "",
               domain->daemon, domain->old ? " old" : "", domain->process ? " process" : "",
               domain->ended ? " (ended)" : "", domain->waiting);
    }
    printf("    daemon %u group %u claim %u registers 0x%02x hook %u of %u step %u admits %u orphan %u masks 0x%02x\n",
           world->daemon, world->group, world->group_claim, world->registers, world->hook.operation, world->hook.domain,
           world->hook.step, world->hook.admits, world->hook.orphan, world->hook.masks);
}
