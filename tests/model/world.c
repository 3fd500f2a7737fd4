/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation.
 *
 * What may happen to the claims, step by step.  A hook takes the lock, obeys tombstones,
 * decides and writes its intent, cuts, opens, and answers; it may be killed at each step,
 * and everything else may happen between two.  What it decides from is what the shipped
 * claim_judge, claim_next and mask_required say.  The registers of held cards cannot be
 * written.
 *
 * Taken for granted, and no more:
 *   - libvirt writes the early status file before it lets QEMU open a card;
 *   - vfio gives a card to one process;
 *   - from the gate (start) to that status file less time passes than start_timeout, or
 *     the daemon is killed, which ends a start without a QEMU;
 *   - a status file that vanishes is of a QEMU that holds its cards.
 * And of the engine: it lets nobody through to a card that somebody holds or owns; start
 * begins the time to start in anew; started and reconnect say what they saw only of a
 * QEMU that lives; and a hook whose daemon is gone when it gets the lock does nothing.
 * The switches (WITHOUT_…) take one of these rules away each.
 */
#include "world.h"

#include <stdio.h>
#include <string.h>

#include "core/mask.h"
#include "core/ownership.h"

enum { NO_CLAIM = 0, START_TIMEOUT_MS = 1000, GROUP_CARDS = 1 << 2, OWNER_GROUP = DOMAINS + 1 };

static const unsigned sets_of_cards[DOMAINS][2] = {{0x3, 0x1}, {0x6, 0x4}};

const struct world first_world = {.daemon = 1};

unsigned world_claimed(const struct domain *domain, int number)
{
    return domain->claim == NO_CLAIM ? 0 : sets_of_cards[number][domain->narrow_claim];
}

unsigned world_wide(int number)
{
    return sets_of_cards[number][0];
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
    if (world->group == NO_GROUP) {
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

static unsigned required_masks(const struct world *world)
{
    int owners[CARDS];
    unsigned masks = 0;

    world_owners(world, NOT_LEFT_OUT, owners);
    for (int card = 0; card < CARDS; card++) {
        masks |= mask_required(triangle(), owners, card) << (card * LINKS_EACH);
    }
    return masks;
}

/* All bits of CARDS's registers. */
static unsigned register_bits(unsigned cards)
{
    unsigned bits = 0;
    for (int card = 0; card < CARDS; card++) {
        bits |= (cards >> card & 1) != 0 ? 3U << (card * LINKS_EACH) : 0;
    }
    return bits;
}

/* -- What the hook decides ----------------------------------------------------------- */

static void drop_claim(struct domain *domain)
{
    domain->claim = NO_CLAIM;
    domain->narrow_claim = domain->daemon = domain->old = domain->process = domain->ended = 0;
}

static void advance_claim(struct domain *domain, enum claim_event event)
{
    enum claim_phase before = domain->claim == NO_CLAIM ? CLAIM_STARTING : (enum claim_phase)(domain->claim - 1);
    domain->claim = claim_next(before, event) + 1U;
}

static bool may_have(const struct world *world, int number, unsigned cards)
{
    int owners[CARDS];
    bool may = (world_held(world) & cards) == 0;

    world_owners(world, number, owners);
    for (int card = 0; card < CARDS; card++) {
        may = may && ((cards >> card & 1) == 0 || owners[card] == OWNER_IDLE);
    }
    return may;
}

static void admit(struct world *world, int number, enum daemon_state daemon)
{
    struct domain *domain = &world->domains[number];
    uint32_t was_old = domain->old;

    advance_claim(domain, CLAIM_ADMITTED);
    domain->narrow_claim = domain->narrow_xml;
    domain->daemon = daemon;
    domain->old = 0;
#ifdef WITHOUT_RENEWAL
    domain->old = world->hook.operation == HOOK_START && was_old;
#endif
    (void)was_old;
    domain->process = 0;
    domain->ended = 0;
    world->hook.admits = 1;
}

static void see_running(struct domain *domain)
{
#ifndef WITHOUT_LOOKING
    if (domain->qemu == NO_QEMU || (domain->claim == NO_CLAIM && !domain->file)) {
        return;
    }
#endif
    advance_claim(domain, CLAIM_SEEN);
    if (domain->claim == CLAIM_ENDED + 1) {
        return;
    }
    domain->narrow_claim = domain->narrow_qemu;
    domain->daemon = domain->old = 0;
    domain->process = domain->qemu != NO_QEMU;
}

/* What is void goes; what a status file supersedes becomes what the file says. */
static void sweep(struct world *world)
{
    for (int number = 0; number < DOMAINS; number++) {
        struct domain *domain = &world->domains[number];
        int verdict = world_judge(world, number);
        if (domain->claim != NO_CLAIM && verdict == CLAIM_VOID) {
            drop_claim(domain);
        }
#ifndef WITHOUT_FOLLOWING
        if (verdict == CLAIM_SUPERSEDED) {
            see_running(domain);
        }
#endif
    }
    if (world_judge_group(world) == CLAIM_VOID) {
        world->group = NO_GROUP;
    }
}

static void obey_tombstones(struct world *world)
{
    for (int number = 0; number < DOMAINS; number++) {
        struct domain *domain = &world->domains[number];
        if (domain->tombstone && domain->claim != NO_CLAIM) {
            advance_claim(domain, CLAIM_STOPPED);
        }
        domain->tombstone = 0;
    }
}

/* The hook has the lock, and has written its intent: the tombstones are gone, and so are
 * void claims. */
static struct world decide(const struct world *before, struct hook hook, enum daemon_state daemon)
{
    struct world world = *before;
    world.hook = hook;
    struct domain *domain = &world.domains[world.hook.domain];
    int number = (int)world.hook.domain;
    enum operation operation = (enum operation)world.hook.operation;

#ifdef WITHOUT_TOMBSTONES_FIRST
    if (operation != HOOK_PREPARE) {
        obey_tombstones(&world);
    }
#else
    obey_tombstones(&world);
#endif
#ifndef WITHOUT_ORPHANS_GIVING_UP
    if (world.hook.orphan) {
        operation = OTHER_HOOK;
    }
#endif
    if (operation == HOOK_PREPARE || operation == HOOK_START) {
        if (may_have(&world, number, sets_of_cards[number][domain->narrow_xml])) {
            admit(&world, number, daemon);
        }
    } else if (operation == HOOK_STARTED) {
        see_running(domain);
    } else if (operation == HOOK_STOPPED && domain->claim != NO_CLAIM) {
        advance_claim(domain, CLAIM_STOPPED);
        domain->ended = 1;
    } else if (operation == GROUP_APPLY || operation == GROUP_APPLY_BOUND) {
        if (may_have(&world, NOT_LEFT_OUT, GROUP_CARDS)) {
            world.group = operation == GROUP_APPLY ? APPLYING : APPLYING_BOUND;
            world.hook.admits = 1;
        }
    } else if (operation == GROUP_RELEASE) {
        world.group = NO_GROUP;
    }
    sweep(&world);
    world.hook.masks = required_masks(&world) & 0x3f;
    return world;
}

/* -- What may happen ------------------------------------------------------------------ */

struct visitor {
    world_visit *visit;
    void *context;
};

static void emit(const struct visitor *visitor, const struct world *next, const char *event)
{
    visitor->visit(visitor->context, next, event);
}

/* The hook has answered, or was killed. */
static struct world hook_ended(const struct world *before, bool answered)
{
    struct world world = *before;
    struct domain *domain = &world.domains[world.hook.domain];
    bool admitted = answered && world.hook.admits;

    if (!world.hook.orphan) {
        switch (world.hook.operation) {
        case HOOK_PREPARE:
            domain->stage = admitted ? PREPARED : STOPPING;
            break;
        case HOOK_START:
            domain->stage = admitted ? CLEAR : STOPPING;
            break;
        case HOOK_STOPPED:
            domain->stage = OFF;
            break;
        default:
            break;
        }
    }
    if (world.group == APPLYING) {
        world.group = admitted ? APPLIED : LEFT;
    } else if (world.group == APPLYING_BOUND) {
        world.group = admitted ? BOUND : UNBOUND;
    }
    world.hook = (struct hook){0};
    return world;
}

static void hook_goes_on(const struct world *world, const struct visitor *visitor)
{
    unsigned reachable = register_bits(~world_held(world));
    struct world next = hook_ended(world, false);

    emit(visitor, &next, "the hook is killed");
    next = *world;
    if (world->hook.step == DECIDED) {
        next.registers |= next.hook.masks & reachable;
        next.hook.step = CUT;
        emit(visitor, &next, "the hook cuts");
        return;
    }
    next.registers = (next.registers & ~reachable) | (next.hook.masks & reachable);
    struct world killed = hook_ended(&next, false);
    emit(visitor, &killed, "the hook opens, and is killed");
    next = hook_ended(&next, true);
    emit(visitor, &next, "the hook opens, and answers");
}

static void take_lock(const struct world *world, const struct visitor *visitor, struct hook hook, const char *event)
{
    struct world next = decide(world, hook, DAEMON_UNKNOWN);
    emit(visitor, &next, event);
    next = decide(world, hook, hook.orphan ? DAEMON_GONE : DAEMON_LIVES);
    emit(visitor, &next, event);
}

static void hooks_of_domain(const struct world *world, int number, const struct visitor *visitor)
{
    const struct domain *domain = &world->domains[number];
    struct hook hook = {.domain = (uint32_t)number & 1};
    if (domain->stage == PREPARE) {
        hook.operation = HOOK_PREPARE;
        take_lock(world, visitor, hook, "prepare decides");
    } else if (domain->stage == START) {
        hook.operation = HOOK_START;
        take_lock(world, visitor, hook, "start decides");
    } else if (domain->stage == STOPPING) {
        hook.operation = HOOK_STOPPED;
        take_lock(world, visitor, hook, "stopped decides");
    } else if (domain->stage == UP && domain->qemu == HOLDS && world->daemon) {
        hook.operation = HOOK_STARTED;
        take_lock(world, visitor, hook, "started or reconnect decides");
    }
    if (domain->waiting != NOBODY) {
        static const enum operation operations[] = {NO_HOOK, HOOK_STARTED, HOOK_STOPPED, HOOK_PREPARE};
        struct world next = *world;
        next.domains[number].waiting = NOBODY;
        hook.operation = operations[domain->waiting];
        hook.orphan = domain->waiting != WAITING_STARTED; /* started may have come with an unknown daemon */
        take_lock(&next, visitor, hook, "a hook of the killed daemon decides");
    }
}

static void groups(const struct world *world, const struct visitor *visitor)
{
    if (world->group == NO_GROUP) {
        take_lock(world, visitor, (struct hook){.operation = GROUP_APPLY}, "apply decides");
        take_lock(world, visitor, (struct hook){.operation = GROUP_APPLY_BOUND}, "run decides");
    } else {
        take_lock(world, visitor, (struct hook){.operation = GROUP_RELEASE}, "release of the group decides");
    }
}

static void move(const struct world *world, int number, enum stage stage, const struct visitor *visitor,
                 const char *event)
{
    struct world next = *world;
    next.domains[number].stage = stage;
    emit(visitor, &next, event);
}

static void start_qemu(const struct world *world, int number, const struct visitor *visitor)
{
    struct world next = *world;
    struct domain *domain = &next.domains[number];
    domain->stage = UP;
    domain->qemu = BORN;
    domain->narrow_qemu = domain->narrow_xml;
    domain->file = 1;
    emit(visitor, &next, "the status file is written, and QEMU runs");
}

static void libvirt_acts(const struct world *world, int number, const struct visitor *visitor)
{
    const struct domain *domain = &world->domains[number];
    struct world next = *world;
    switch (domain->stage) {
    case OFF:
        next.domains[number].narrow_xml = 0;
        move(&next, number, PREPARE, visitor, "prepare is called, wide");
        next.domains[number].narrow_xml = 1;
        move(&next, number, PREPARE, visitor, "prepare is called, narrow");
        break;
    case PREPARE:
    case START:
        if (world->hook.operation == NO_HOOK || world->hook.domain != (uint32_t)number) {
            move(world, number, STOPPING, visitor, "the hook is killed before it has the lock");
        }
        break;
    case PREPARED:
        move(world, number, START, visitor, "start is called");
        move(world, number, STOPPING, visitor, "libvirt gives up");
        break;
    case CLEAR:
        start_qemu(world, number, visitor);
        move(world, number, STOPPING, visitor, "libvirt gives up");
        break;
    case UP:
        if (domain->qemu == NO_QEMU) {
            move(world, number, STOPPING, visitor, "libvirt sees that QEMU is gone");
        } else if (domain->qemu == HOLDS && !domain->narrow_qemu) {
            next.domains[number].narrow_qemu = 1;
            next.domains[number].file = 1;
            emit(visitor, &next, "a card is unplugged");
        }
        break;
    case STOPPING:
        move(world, number, OFF, visitor, "stopped and release are never called");
        next.domains[number].tombstone = 1;
        next.domains[number].ended = domain->claim != NO_CLAIM;
        move(&next, number, OFF, visitor, "stopped leaves a tombstone");
        next = *world;
        drop_claim(&next.domains[number]);
        move(&next, number, OFF, visitor, "stopped unlinks the claim without the lock");
        break;
    default:
        break;
    }
}

static void qemu_acts(const struct world *world, int number, const struct visitor *visitor)
{
    const struct domain *domain = &world->domains[number];
    struct world next = *world;
    if (domain->qemu == NO_QEMU) {
        return;
    }
    if (domain->qemu == BORN && (world_held(world) & world_qemu_cards(world, number)) == 0) {
        next.domains[number].qemu = HOLDS;
        emit(visitor, &next, "QEMU opens its cards");
    }
    next.domains[number].qemu = NO_QEMU;
    next.domains[number].narrow_qemu = next.domains[number].file = next.domains[number].process = 0;
    emit(visitor, &next, "QEMU dies");
    if (domain->qemu == HOLDS && domain->file) {
        next = *world;
        next.domains[number].file = 0;
        emit(visitor, &next, "the status file vanishes");
    }
}

static void time_passes(const struct world *world, const struct visitor *visitor)
{
    for (int number = 0; number < DOMAINS; number++) {
        const struct domain *domain = &world->domains[number];
        bool at_gate = world->hook.operation == HOOK_START && world->hook.domain == (uint32_t)number &&
                       !world->hook.orphan;
        if (domain->claim == CLAIM_STARTING + 1 && !domain->old && domain->stage != CLEAR && !at_gate) {
            struct world next = *world;
            next.domains[number].old = 1;
            emit(visitor, &next, "start_timeout passes");
        }
        if (domain->qemu == HOLDS && !domain->file && domain->stage == UP && world->daemon) {
            struct world next = *world;
            next.domains[number].file = 1;
            emit(visitor, &next, "the status file is written again");
        }
    }
}

/* What the hooks of the domain that wait for the lock become. */
static enum waiting left_waiting(const struct domain *domain)
{
    if (domain->stage == UP && domain->qemu == HOLDS) {
        return WAITING_STARTED;
    }
#ifdef WITHOUT_ORPHANS_GIVING_UP
    if (domain->stage == STOPPING) {
        return WAITING_STOPPED;
    }
    if (domain->stage == PREPARE) {
        return WAITING_PREPARE;
    }
#endif
    return NOBODY;
}

static void daemon_is_killed(const struct world *world, const struct visitor *visitor)
{
    /* Hooks that wait for the lock may die with the daemon, or not. */
    for (int waits = 0; waits < 2; waits++) {
        struct world next = *world;
        bool any = false;
        next.daemon = 0;
        next.hook.orphan = world->hook.operation >= HOOK_PREPARE && world->hook.operation <= HOOK_STOPPED;
        for (int number = 0; number < DOMAINS; number++) {
            struct domain *domain = &next.domains[number];
            if (waits && left_waiting(domain) != NOBODY) {
                domain->waiting = left_waiting(domain);
                any = true;
            }
            domain->daemon = domain->daemon == DAEMON_LIVES ? DAEMON_GONE : domain->daemon;
            domain->stage = domain->stage == UP ? UP : OFF;
        }
        if (!waits || any) {
            emit(visitor, &next, waits ? "the daemon is killed, its hooks wait on" : "the daemon is killed");
        }
    }
}

static void daemon_starts(const struct world *world, const struct visitor *visitor)
{
    struct world next = *world;
    next.daemon = 1;
    for (int number = 0; number < DOMAINS; number++) {
        struct domain *domain = &next.domains[number];
        if (domain->stage == UP && !domain->file) {
            domain->stage = domain->qemu == NO_QEMU ? STOPPING : OFF;
        }
    }
    emit(visitor, &next, "the daemon starts again");
}

void world_successors(const struct scope *scope, const struct world *world, bool only_time, world_visit *visit,
                      void *context)
{
    const struct visitor visitor = {visit, context};

    time_passes(world, &visitor);
    if (world->hook.operation != NO_HOOK) {
        hook_goes_on(world, &visitor);
    } else {
        take_lock(world, &visitor, (struct hook){.operation = OTHER_HOOK}, "a hook of another VM decides");
    }
    if (only_time) {
        return;
    }
    for (int number = scope->domain_a ? A : B; number < DOMAINS; number++) {
        if (world->hook.operation == NO_HOOK) {
            hooks_of_domain(world, number, &visitor);
        }
        if (world->daemon) {
            libvirt_acts(world, number, &visitor);
        }
        qemu_acts(world, number, &visitor);
    }
    if (scope->group && world->hook.operation == NO_HOOK) {
        groups(world, &visitor);
    }
    if (world->group == BOUND) {
        struct world next = *world;
        next.group = UNBOUND;
        emit(&visitor, &next, "the group's process ends");
    }
    (world->daemon ? daemon_is_killed : daemon_starts)(world, &visitor);
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
    printf("    daemon %u group %u registers 0x%02x hook %u of %u step %u admits %u orphan %u masks 0x%02x\n",
           world->daemon, world->group, world->registers, world->hook.operation, world->hook.domain, world->hook.step,
           world->hook.admits, world->hook.orphan, world->hook.masks);
}
