/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation.
 *
 * What may happen to the claims, step by step.  A hook gets the lock, obeys tombstones,
 * decides and writes its intent; it cuts; it opens and answers.  It may be killed between
 * any two of these, and everything else may happen there too.  It decides by the shipped
 * claim_judge, claim_next and mask_required.  The registers of held cards cannot be written.
 *
 * Taken for granted of libvirt and Linux:
 *   - libvirt writes the early status file before it lets QEMU open a card;
 *   - vfio gives a card to one process;
 *   - from the gate (start) to that status file less time passes than start_timeout, or
 *     the daemon is killed, which ends a start that has no QEMU yet;
 *   - a status file vanishes only while QEMU holds its cards.
 * And of the engine; each WITHOUT_ switch takes one of these rules away:
 *   - nobody is let through to a card that somebody holds or owns;
 *   - start begins the time to start in anew (WITHOUT_RENEWAL);
 *   - prepare obeys tombstones before it lets anybody through (WITHOUT_TOMBSTONES_FIRST);
 *   - started and reconnect report only a QEMU that lives (WITHOUT_LOOKING);
 *   - whoever has the lock writes into a superseded claim what the status file lists: the
 *     file may vanish later (WITHOUT_FOLLOWING);
 *   - a hook whose daemon is gone when it gets the lock works for nobody: its domain may have
 *     been started anew (WITHOUT_ORPHANS_GIVING_UP).
 */
#include "world.h"

#include <string.h>

#include "core/ownership.h"

const struct world first_world = {.daemon = 1};

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

static void admit(struct world *world, int number, bool narrow, enum daemon_state daemon)
{
    struct domain *domain = &world->domains[number];
    uint32_t was_old = domain->old;
    advance_claim(domain, CLAIM_ADMITTED);
    domain->narrow_claim = narrow;
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
        world->group_claim = 0;
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
        bool narrow = domain->narrow_xml || hook.orphan; /* the XML may have been another one then */
        if (may_have(&world, number, world_cards(number, narrow))) {
            admit(&world, number, narrow, daemon);
        }
    } else if (operation == HOOK_STARTED) {
        see_running(domain);
    } else if (operation == HOOK_STOPPED && domain->claim != NO_CLAIM) {
        advance_claim(domain, CLAIM_STOPPED);
        domain->ended = 1;
    } else if (operation == GROUP_APPLY || operation == GROUP_APPLY_BOUND) {
        if (may_have(&world, NOT_LEFT_OUT, GROUP_CARDS)) {
            world.group = operation == GROUP_APPLY ? APPLYING : APPLYING_BOUND;
            world.group_claim = 1;
            world.hook.admits = 1;
        }
    } else if (operation == GROUP_RELEASE) {
        world.group = NO_GROUP;
        world.group_claim = 0;
    }
    sweep(&world);
    world.hook.masks = world_required_masks(&world) & 0x3f;
    return world;
}

/* -- What may happen ------------------------------------------------------------------ */

struct visitor {
    world_visit *visit;
    void *context;
};

/* What does not matter any more is 0. */
static void emit(const struct visitor *visitor, const struct world *next, const char *event)
{
    struct world world = *next;
    for (int number = 0; number < DOMAINS; number++) {
        struct domain *domain = &world.domains[number];
        if (domain->stage == OFF || domain->stage == UP || domain->stage == STOPPING) {
            domain->narrow_xml = 0;
        }
    }
    if (world.group == UNBOUND && !world.group_claim) {
        world.group = NO_GROUP;
    }
    visitor->visit(visitor->context, &world, event);
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
    unsigned reachable = world_register_bits(~world_held(world));
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
    struct world known = decide(world, hook, hook.orphan ? DAEMON_GONE : DAEMON_LIVES);
    struct world unknown = decide(world, hook, DAEMON_UNKNOWN);
    emit(visitor, &known, event);
    if (memcmp(&known, &unknown, sizeof known) != 0) {
        emit(visitor, &unknown, event);
    }
}

/* A hook that waits for the lock may be killed like one that has not been called yet, so it
 * is called and has the lock in one step. */
static void hooks_of_domain(const struct world *world, int number, const struct visitor *visitor)
{
    struct world next = *world;
    struct domain *domain = &next.domains[number];
    struct hook hook = {.domain = (uint32_t)number & 1};
    if (domain->stage == STOPPING) {
        hook.operation = HOOK_STOPPED;
        take_lock(world, visitor, hook, "stopped decides");
    } else if (domain->stage == UP && domain->qemu == HOLDS && world->daemon) {
        hook.operation = HOOK_STARTED;
        take_lock(world, visitor, hook, "started or reconnect decides");
    } else if (domain->stage == OFF && world->daemon) {
        domain->stage = PREPARE;
        hook.operation = HOOK_PREPARE;
        take_lock(&next, visitor, hook, "prepare decides, wide");
        domain->narrow_xml = 1;
        take_lock(&next, visitor, hook, "prepare decides, narrow");
    } else if (domain->stage == PREPARED) {
        domain->stage = START;
        hook.operation = HOOK_START;
        take_lock(&next, visitor, hook, "start decides");
    }
}

static void hook_that_waited(const struct world *world, int number, const struct visitor *visitor)
{
    static const enum operation operations[] = {NO_HOOK, HOOK_STARTED, HOOK_STOPPED, HOOK_PREPARE};
    struct world next = *world;
    struct domain *domain = &next.domains[number];
    struct hook hook = {.domain = (uint32_t)number & 1, .operation = (uint32_t)operations[domain->waiting] & 0xf};
    /* Whether started gives up is left open: its daemon may have been unknown. */
    hook.orphan = domain->waiting != WAITING_STARTED;
    domain->waiting = NOBODY;
    if (hook.operation != NO_HOOK) {
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
    case PREPARED:
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
        bool at_gate =
            world->hook.operation == HOOK_START && world->hook.domain == (uint32_t)number && !world->hook.orphan;
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
    if (domain->stage == OFF) {
        return WAITING_PREPARE;
    }
#endif
    return NOBODY;
}

static void daemon_is_killed(const struct world *world, const struct visitor *visitor)
{
    /* Hooks that wait for the lock may die with the daemon, or one of them waits on. */
    for (int waits = -1; waits < DOMAINS; waits++) {
        struct world next = *world;
        next.daemon = 0;
        next.hook.orphan = world->hook.operation >= HOOK_PREPARE && world->hook.operation <= HOOK_STOPPED;
        if (waits >= 0) {
            enum waiting waiting = left_waiting(&world->domains[waits]);
            if (waiting == NOBODY) {
                continue;
            }
            next.domains[waits].waiting = (uint32_t)waiting & 3;
        }
        for (int number = 0; number < DOMAINS; number++) {
            struct domain *domain = &next.domains[number];
            domain->daemon = domain->daemon == DAEMON_LIVES ? DAEMON_GONE : domain->daemon;
            domain->stage = domain->stage == UP ? UP : OFF;
        }
        emit(visitor, &next, waits < 0 ? "the daemon is killed" : "the daemon is killed, a hook of it waits on");
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
            hook_that_waited(world, number, &visitor);
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
