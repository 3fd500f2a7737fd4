/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation: one trial, within one lock.
 *
 * - Look: which ends are up before.
 * - Intent: the memory of the card says that the cut may be ours, and what the card had, so that the next call gives it
 *   back if this one is killed.
 * - Cut, and look again until what is seen is as expected, or the wait is over.
 * - Put back, and the memory is as before.
 * - Settle: wait until the ends that were up are up again.
 *
 * A link that reads as cut is left alone, unless idle = isolate cuts it: then it is opened for the trial.  If witnesses
 * see it up although it reads as cut, the settings are wrong; the end that reads as cut is opened and cut again,
 * because with the other cut_bit it goes down meanwhile.
 */
#include <string.h>
#include <time.h>

#include "base/file.h"
#include "base/memory.h"
#include "core/ownership.h"
#include "engine/confirm_private.h"

enum { PAUSE_MS = 20, PAUSE_MAX_MS = 250, MILLISECOND_NS = 1000000 };

int attempt_peer(const struct attempt *attempt, int link, uint32_t *ends)
{
    const struct topology *topology = &attempt->session->machine->topology;
    *ends = topology_far_ends(topology, attempt->job->ppu, link);
    return topology->peer[attempt->job->ppu][link];
}

static void read_card(struct attempt *attempt, int ppu)
{
    attempt->session->cards[ppu].was_read = false;
    session_read(attempt->session, ppu);
}

/* -- Looking ------------------------------------------------------------------- */

/* What is to be reported of a card in this trial: what differs from how it was found, or has changed. */
static void gather_sights(struct attempt *attempt)
{
    struct confirm *confirm = attempt->confirm;
    confirm->sight_count = attempt->first_sight;
    for (int ppu = 0; ppu < confirm->topology->ppu_count; ppu++) {
        for (enum witness witness = 0; witness < WITNESS_COUNT; witness++) {
            uint32_t up = attempt->before.up[witness][ppu] & attempt->now.known[witness][ppu];
            uint32_t down = up & ~attempt->now.up[witness][ppu];
            if (up != confirm->found[ppu].up[witness] || down != 0) {
                confirm->sights = memory_grow(confirm->sights, confirm->sight_count + 1, sizeof *confirm->sights);
                confirm->sights[confirm->sight_count++] = (struct sight){confirm->trial_count, witness, ppu, up, down};
            }
        }
    }
}

/* The ends of the job that some witness saw up before and sees down now, and those that one still sees up. */
static uint32_t fallen(const struct attempt *attempt, int ppu, uint32_t *stayed)
{
    uint32_t fell = 0;
    uint32_t still = 0;
    for (enum witness witness = 0; witness < WITNESS_COUNT; witness++) {
        uint32_t up = attempt->before.up[witness][ppu] & attempt->now.known[witness][ppu] & attempt->ends[ppu];
        fell |= up & ~attempt->now.up[witness][ppu];
        still |= up & attempt->now.up[witness][ppu];
    }
    *stayed = still;
    return fell;
}

static bool done_settled(struct attempt *attempt)
{
    for (int ppu = 0; ppu < attempt->confirm->topology->ppu_count; ppu++) {
        for (enum witness witness = 0; witness < WITNESS_COUNT; witness++) {
            uint32_t was_up = attempt->before.up[witness][ppu];
            if ((was_up & attempt->now.known[witness][ppu] & ~attempt->now.up[witness][ppu]) != 0) {
                return false;
            }
        }
    }
    return true;
}

static bool done_as_found(struct attempt *attempt)
{
    for (int ppu = 0; ppu < attempt->confirm->topology->ppu_count; ppu++) {
        for (enum witness witness = 0; witness < WITNESS_COUNT; witness++) {
            uint32_t found = attempt->confirm->found[ppu].up[witness] & attempt->ends[ppu];
            if ((found & attempt->now.known[witness][ppu] & ~attempt->now.up[witness][ppu]) != 0) {
                return false;
            }
        }
    }
    return true;
}

/* A link that was opened for the trial has come up, as far as anybody sees it. */
static bool done_up(struct attempt *attempt)
{
    for (int ppu = 0; ppu < attempt->confirm->topology->ppu_count; ppu++) {
        for (enum witness witness = 0; witness < WITNESS_COUNT; witness++) {
            if ((attempt->ends[ppu] & attempt->now.known[witness][ppu] & ~attempt->now.up[witness][ppu]) != 0) {
                return false;
            }
        }
    }
    return true;
}

static bool is_as_expected(struct attempt *attempt)
{
    const struct confirm *confirm = attempt->confirm;
    const struct observed observed = {.topology = confirm->topology, .found = confirm->found};
    /* A link that is up although it reads as cut is not expected; what then can happen is that it goes down. */
    const struct suspect world = {.kind = attempt->trial.opens ? SUSPECT_CUT_BIT : SUSPECT_NONE};
    gather_sights(attempt);
    return suspect_explains_trial(&observed, &world, &attempt->trial, confirm->sights + attempt->first_sight,
                                  confirm->sight_count - attempt->first_sight);
}

/* Before the trial a witness saw one end up and the other down: they are not one link, and what is joined to the first
 * may go down later than it. */
static bool ends_disagree(const struct attempt *attempt)
{
    for (enum witness witness = 0; witness < WITNESS_COUNT; witness++) {
        uint32_t any_up = 0;
        uint32_t any_down = 0;
        for (int ppu = 0; ppu < attempt->confirm->topology->ppu_count; ppu++) {
            uint32_t known = attempt->before.known[witness][ppu] & attempt->ends[ppu];
            any_up |= known & attempt->before.up[witness][ppu];
            any_down |= known & ~attempt->before.up[witness][ppu];
        }
        if (any_up != 0 && any_down != 0) {
            return true;
        }
    }
    return false;
}

static bool done_as_expected(struct attempt *attempt)
{
    return !ends_disagree(attempt) && is_as_expected(attempt);
}

typedef bool look_is_done(struct attempt *attempt);

/* Looks until it is DONE or the wait is over: false. */
static bool look_until(struct attempt *attempt, look_is_done *done)
{
    int64_t deadline = deadline_after_ms(attempt->confirm->options->wait_ms);
    long pause_ms = PAUSE_MS;
    for (;;) {
        witnesses_look(&attempt->confirm->witnesses, attempt->session, attempt->ends, &attempt->now);
        if (done(attempt)) {
            return true;
        }
        if (deadline_left_ms(deadline) == 0) {
            return false;
        }
        nanosleep(&(struct timespec){.tv_nsec = pause_ms * MILLISECOND_NS}, NULL);
        pause_ms = pause_ms * 2 > PAUSE_MAX_MS ? PAUSE_MAX_MS : pause_ms * 2;
    }
}

/* -- Writing ------------------------------------------------------------------- */

/* APPLY_DONE only if the register took it. */
static enum apply_outcome put(struct attempt *attempt, struct written *written, uint32_t mask, struct error *err)
{
    struct session *session = attempt->session;
    int count = session->machine->topology.ppu_count;
    CLEANUP_FREE struct card_address *addresses = memory_alloc((size_t)count, sizeof *addresses);
    CLEANUP_FREE bool *freed = memory_alloc((size_t)count, sizeof *freed);
    struct text_list warnings = {0};
    const struct writing writing = {
        .plan = session->plan, .cards = addresses, .owners = session->owners.of, .freed = freed, .ppu_count = count};
    for (int ppu = 0; ppu < count; ppu++) {
        addresses[ppu] = session_address(session, ppu);
        session->goals[ppu] = (struct plan_goal){.role = ROLE_NONE};
    }
    session->goals[written->ppu] = (struct plan_goal){.role = ROLE_FAR, .now = written->now, .want = mask};
    plan_build(session->plan, session->goals, count);
    int result =
        session->registers.backend->write_plan(&session->registers, &writing, session->outcomes, &warnings, err);
    enum apply_outcome outcome = APPLY_DONE;
    session_keep_writes(session);
    for (size_t i = 0; i < session->plan->count && outcome == APPLY_DONE; i++) {
        outcome = session->outcomes[i];
    }
    if (result == 0 && outcome != APPLY_DONE) {
        error_set(err, STATUS_HARDWARE, "%s", warnings.count > 0 ? warnings.items[0] : "the register was not written");
    }
    text_list_free(&warnings);
    written->now = outcome == APPLY_DONE ? mask : written->now;
    return outcome;
}

/* Every cut that may be ours, and what the card is to get back. */
static void remember(struct attempt *attempt, struct written *written, uint32_t cuts)
{
    struct session *session = attempt->session;
    struct card_memory *memory = state_remember(&session->state, session->machine->card[written->ppu]);
    written->memory = *memory;
    if (!memory->has_original) {
        memory->has_original = true;
        memory->original =
            written->before & ~mask_required(&session->machine->topology, session->owners.of, written->ppu);
    }
    memory->written = (memory->has_written ? memory->written : 0) | written->before | cuts;
    memory->has_written = true;
}

static void forget(const struct attempt *attempt, const struct written *written)
{
    struct session *session = attempt->session;
    struct card_memory *memory = state_remember(&session->state, session->machine->card[written->ppu]);
    memory->has_original = written->memory.has_original;
    memory->original = written->memory.original;
    memory->has_written = written->memory.has_written;
    memory->written = written->memory.written;
}

static struct written *add_written(struct attempt *attempt, int ppu)
{
    struct written *written = &attempt->written[attempt->written_count++];
    uint32_t mask = session_is_read(attempt->session, ppu) ? attempt->session->cards[ppu].reading.mask : 0;
    *written = (struct written){.ppu = ppu, .before = mask, .now = mask};
    return written;
}

/* Every card that was written to gets back what it had.  What one has now only it can say; if it does not, each link of
 * the trial is taken to be other than it was. */
static bool put_back(struct attempt *attempt)
{
    bool is_back = true;
    for (int i = 0; i < attempt->written_count; i++) {
        struct written *written = &attempt->written[i];
        struct error err;
        read_card(attempt, written->ppu);
        if (session_is_read(attempt->session, written->ppu)) {
            written->now = attempt->session->cards[written->ppu].reading.mask;
        } else if (attempt->session->registers.backend->cuts_single_links) {
            written->now = written->before ^ attempt->ends[written->ppu];
        }
        if (put(attempt, written, written->before, &err) == APPLY_DONE) {
            forget(attempt, written);
        } else {
            is_back = false;
            text_list_add(&attempt->confirm->report->warnings, "%s", err.text);
        }
    }
    return is_back;
}

/* -- The trial ------------------------------------------------------------------- */

/* The cuts of these links are ours alone, because of idle = isolate. */
static bool is_cut_by_policy(const struct session *session, int ppu, uint32_t links)
{
    const struct card_memory *memory = session_memory(session, ppu);
    return session->machine->settings.idle == IDLE_ISOLATE && memory && memory->has_original &&
           (memory->original & links) == 0;
}

/* Finds what is to be tried on one link by how it was found.  False: nothing. */
static bool begin_single_link(struct attempt *attempt, int link)
{
    struct session *session = attempt->session;
    int near = attempt->job->ppu;
    uint32_t ends;
    uint32_t stayed = 0;
    int peer = attempt_peer(attempt, link, &ends);
    uint32_t near_cut = session->cards[near].reading.mask & attempt->job->links;
    uint32_t far_cut = peer >= 0 && session_is_read(session, peer) ? session->cards[peer].reading.mask & ends : 0;
    fallen(attempt, near, &stayed);
    bool is_seen_up = stayed != 0;
    if (peer >= 0) {
        fallen(attempt, peer, &stayed);
        is_seen_up |= stayed != 0;
    }
    if (near_cut == 0 && (far_cut == 0 || far_cut != ends)) {
        add_written(attempt, near);
        return true;
    }
    if (is_seen_up) {
        attempt->trial.opens = true;
        attempt->trial.ppu = near_cut != 0 ? near : peer;
        attempt->trial.links = near_cut != 0 ? near_cut : far_cut;
        add_written(attempt, attempt->trial.ppu);
        return true;
    }
    if ((near_cut == 0 || is_cut_by_policy(session, near, near_cut)) &&
        (far_cut == 0 || is_cut_by_policy(session, peer, far_cut))) {
        add_written(attempt, near);
        if (far_cut != 0) {
            add_written(attempt, peer);
        }
        return true;
    }
    attempt_conclude(attempt, CONFIRM_NO_WITNESS,
                     "it is cut already, and not by a VM or by idle = isolate; open it, or see icn-hook repair");
    return false;
}

/* What a card's register cannot be written for: false.  One that is not where the settings say contradicts them. */
static bool can_begin(struct attempt *attempt)
{
    const struct card *card = &attempt->session->cards[attempt->job->ppu];
    bool is_unread = !session_is_read(attempt->session, attempt->job->ppu);
    if (!attempt->session->registers.backend->cuts_single_links || !is_unread) {
        return true;
    }
    attempt->trial.refused = card->reading.kind == READING_FAILED;
    attempt_conclude(attempt, attempt->trial.refused ? CONFIRM_CONTRADICTED : CONFIRM_NO_WITNESS, card->reading.why);
    return false;
}

/* Opens what idle = isolate has cut, then makes the trial's write. */
static enum apply_outcome write_trial(struct attempt *attempt, struct error *err)
{
    struct written *written = &attempt->written[0];
    enum apply_outcome outcome = APPLY_DONE;
    if (!attempt->trial.opens && ((written->before & attempt->trial.links) != 0 || attempt->written_count > 1)) {
        for (int i = 0; i < attempt->written_count && outcome == APPLY_DONE; i++) {
            struct written *card = &attempt->written[i];
            outcome = put(attempt, card, card->before & ~attempt->ends[card->ppu], err);
        }
        look_until(attempt, done_up);
        attempt->before = attempt->now;
    }
    if (outcome != APPLY_DONE) {
        return outcome;
    }
    return put(attempt, written,
               attempt->trial.opens ? written->now & ~attempt->trial.links : written->now | attempt->trial.links, err);
}

static int make_trial(struct attempt *attempt, struct error *err)
{
    struct confirm *confirm = attempt->confirm;
    struct session *session = attempt->session;
    bool was_open = (attempt->written[0].before & attempt->trial.links) == 0;
    struct error trouble;
    for (int i = 0; i < attempt->written_count; i++) {
        remember(attempt, &attempt->written[i], attempt->trial.opens ? 0 : attempt->ends[attempt->written[i].ppu]);
    }
    if (state_write_cards(&session->state, err) < 0) {
        return -1;
    }
    enum apply_outcome outcome = write_trial(attempt, &trouble);
    if (outcome == APPLY_DONE) {
        for (int ppu = 0; ppu < confirm->topology->ppu_count; ppu++) {
            if (attempt->ends[ppu] != 0) {
                read_card(attempt, ppu);
            }
        }
        look_until(attempt, done_as_expected);
        attempt_judge(attempt, is_as_expected(attempt));
    } else {
        attempt->trial.refused = outcome == APPLY_FAILED && session->registers.backend->cuts_single_links;
        attempt_conclude(attempt, attempt->trial.refused ? CONFIRM_CONTRADICTED : CONFIRM_NO_WITNESS, trouble.text);
    }
    bool is_back = put_back(attempt);
    if (!is_back) {
        attempt_conclude(attempt, CONFIRM_CONTRADICTED, "it did not open again; icn-hook repair tries once more");
    }
    if (state_write_cards(&session->state, &trouble) < 0) {
        text_list_add(&confirm->report->warnings, "%s", trouble.text);
    }
    if (outcome == APPLY_DONE && is_back && was_open && !look_until(attempt, done_settled)) {
        attempt_conclude(attempt, CONFIRM_CONTRADICTED, "it did not come up again after it was opened");
    }
    if (outcome == APPLY_DONE || attempt->trial.refused) {
        confirm->trials = memory_grow(confirm->trials, confirm->trial_count + 1, sizeof *confirm->trials);
        confirm->trials[confirm->trial_count++] = attempt->trial;
    } else {
        confirm->sight_count = attempt->first_sight;
    }
    return 0;
}

int confirm_try(struct confirm *confirm, struct session *session, const struct job *job, struct error *err)
{
    CLEANUP_FREE struct attempt *attempt = memory_alloc(1, sizeof *attempt);
    *attempt = (struct attempt){.confirm = confirm,
                                .session = session,
                                .job = job,
                                .trial = {.ppu = job->ppu, .links = job->links},
                                .first_sight = confirm->sight_count};
    attempt->ends[job->ppu] = job->links;
    read_card(attempt, job->ppu);
    for (int link = 0; link < LINK_MAX; link++) {
        uint32_t ends;
        int peer = has_link(job->links, link) ? attempt_peer(attempt, link, &ends) : NO_PEER;
        if (peer >= 0) {
            attempt->ends[peer] |= ends;
            read_card(attempt, peer);
        }
    }
    for (int ppu = 0; ppu < confirm->topology->ppu_count; ppu++) {
        attempt->was_read[ppu] = attempt->ends[ppu] != 0 && session_is_read(session, ppu);
        attempt->masks[ppu] = session->cards[ppu].reading.mask;
    }
    bool begins = can_begin(attempt);
    if (begins) {
        look_until(attempt, done_as_found);
        attempt->before = attempt->now;
        if (session->registers.backend->cuts_single_links) {
            begins = begin_single_link(attempt, __builtin_ctz(job->links));
        } else {
            add_written(attempt, job->ppu);
        }
    }
    if (!begins) {
        if (attempt->trial.refused) {
            confirm->trials = memory_grow(confirm->trials, confirm->trial_count + 1, sizeof *confirm->trials);
            confirm->trials[confirm->trial_count++] = attempt->trial;
        }
        return 0;
    }
    return make_trial(attempt, err);
}
