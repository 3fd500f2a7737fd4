/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation.  A first session looks at the host: which cards have no owner, and which links are up before
 * anything is touched.  Then each link gets a session of its own, in which the lock is held, its cards are admitted
 * again, and one trial is made (confirm_trial.c).  In between anybody may start a VM: the links of its cards are left
 * out then.  At the end all that was seen is held against every single setting that may be wrong (suspects.c).
 */
#include "engine/confirm.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/memory.h"
#include "engine/confirm_private.h"
#include "engine/groups.h"
#include "engine/policy.h"
#include "engine/trail.h"

/* A call that waits for the lock gets it before it is taken for the next link. */
enum { TURN_NS = 10 * 1000000 };

/* Nobody has the card: 0, or an error that says who. */
static int confirm_admit(const struct session *session, int ppu, struct error *err)
{
    const struct applicant applicant = {.uuid = "", .by_hand = true};
    if (!session->machine->mapped[ppu]) {
        return error_set(err, STATUS_INVALID, "PPU %d has no card in [map]", ppu);
    }
    return policy_admit(session, &applicant, ppu, true, err);
}

/* Lets the session change every card without owner, and no other. */
static void take_scope(struct session *session)
{
    struct bdf to_wake[PPU_MAX];
    size_t count = 0;
    for (int ppu = 0; ppu < session->machine->topology.ppu_count; ppu++) {
        struct error ignored;
        bool is_idle = confirm_admit(session, ppu, &ignored) == 0;
        session->cards[ppu].reach = is_idle ? REACH_CHANGE : REACH_NONE;
        if (is_idle) {
            to_wake[count++] = session->machine->card[ppu];
        }
    }
    registers_wake(&session->registers, to_wake, count);
}

/* A backend that opens only all links of the machine at once cannot give a single card back. */
static int check_backend(const struct session *session, struct error *err)
{
    for (int ppu = 0; !session->registers.backend->cuts_single_links && ppu < session->machine->topology.ppu_count;
         ppu++) {
        char owner[OWNER_TEXT_SIZE];
        char card[CARD_TEXT_SIZE];
        if (session->owners.of[ppu] != OWNER_IDLE) {
            return error_set(
                err, STATUS_CONFLICT,
                "%s has the owner %s, and backend %s opens links only for all cards at once; confirm when no "
                "card is in use",
                machine_card_text(session->machine, ppu, card), owners_text(&session->owners, ppu, owner),
                session->registers.backend->name);
        }
    }
    return 0;
}

/* -- The links ------------------------------------------------------------------- */

static void list_entries(struct confirm *confirm, const bool wanted[])
{
    struct confirm_report *report = confirm->report;
    for (int ppu = 0; ppu < confirm->topology->ppu_count; ppu++) {
        for (int link = 0; link < LINK_MAX; link++) {
            int peer = confirm->topology->peer[ppu][link];
            if (peer == NO_PEER || (peer >= 0 && peer < ppu) || !(wanted[ppu] || (peer >= 0 && wanted[peer]))) {
                continue;
            }
            report->links = memory_grow(report->links, report->count + 1, sizeof *report->links);
            report->links[report->count++] = (struct confirm_link){.result = {.ppu = ppu,
                                                                              .link = link,
                                                                              .peer = peer < 0 ? EXTERNAL_END : peer,
                                                                              .verdict = CONFIRM_NO_WITNESS,
                                                                              .at = time(NULL)},
                                                                   .why = "it was not tried"};
        }
    }
}

/* One job for each link, at that of its ends whose card has had fewer; or one for each card. */
static struct job *list_jobs(const struct confirm *confirm, bool single_links, size_t *count)
{
    const struct confirm_report *report = confirm->report;
    CLEANUP_FREE int *had = memory_alloc((size_t)confirm->topology->ppu_count, sizeof *had);
    struct job *jobs = memory_alloc(report->count + 1, sizeof *jobs);
    *count = 0;
    for (size_t i = 0; i < report->count; i++) {
        const struct confirmed_link *link = &report->links[i].result;
        struct job job = {.ppu = link->ppu, .links = UINT32_C(1) << link->link};
        uint32_t ends = topology_far_ends(confirm->topology, link->ppu, link->link);
        if (!single_links) {
            if (had[link->ppu] > 0 || (link->peer != EXTERNAL_END && had[link->peer] > 0)) {
                continue;
            }
            job.links = topology_links(confirm->topology, link->ppu);
        } else if (link->peer != EXTERNAL_END && (ends & (ends - 1)) == 0 && had[link->peer] < had[link->ppu]) {
            job = (struct job){.ppu = link->peer, .links = ends};
        }
        had[job.ppu]++;
        jobs[(*count)++] = job;
    }
    return jobs;
}

/* The entries of a job that cannot be tried. */
static void leave_out(const struct confirm *confirm, const struct job *job, const char *why)
{
    for (int link = 0; link < LINK_MAX; link++) {
        struct confirm_link *entry =
            ((job->links >> link) & 1) != 0 ? confirm_find_link(confirm, job->ppu, link) : NULL;
        if (entry) {
            snprintf(entry->why, sizeof entry->why, "left out: %.480s", why);
        }
    }
}

/* -- The first look ---------------------------------------------------------------- */

static void find_strangers(struct confirm *confirm, const struct session *session)
{
    for (int ppu = 0; ppu < confirm->topology->ppu_count; ppu++) {
        uint32_t up = 0;
        for (enum witness witness = 0; witness < WITNESS_COUNT; witness++) {
            up |= confirm->found[ppu].up[witness];
        }
        uint32_t strangers = up & confirm->witnesses.indexes & ~topology_links(confirm->topology, ppu);
        for (int link = 0; link < LINK_MAX; link++) {
            char card[CARD_TEXT_SIZE];
            if (((strangers >> link) & 1) != 0) {
                text_list_add(&confirm->report->strangers, "link %d of %s is up, and the topology does not know it",
                              link, machine_card_text(session->machine, ppu, card));
            }
        }
    }
}

static void look_first(struct confirm *confirm, struct session *session)
{
    CLEANUP_FREE struct view *view = memory_alloc(1, sizeof *view);
    int count = confirm->topology->ppu_count;
    bool answers[WITNESS_COUNT] = {false};
    take_scope(session);
    witnesses_look(&confirm->witnesses, session, NULL, view);
    for (int ppu = 0; ppu < count; ppu++) {
        struct found *found = &confirm->found[ppu];
        session_read(session, ppu);
        found->is_read = session_is_read(session, ppu);
        found->mask = found->is_read ? session->cards[ppu].reading.mask : 0;
        for (enum witness witness = 0; witness < WITNESS_COUNT; witness++) {
            found->up[witness] = view->up[witness][ppu];
            confirm->witnesses.has_seen[witness] |= (view->up[witness][ppu] & confirm->witnesses.indexes) != 0;
            answers[witness] |= view->known[witness][ppu] != 0;
        }
    }
    confirm->witnesses.has_seen[WITNESS_PPUDBG] = true; /* it is asked about single links, and by name */
    for (enum witness witness = 0; witness < WITNESS_COUNT; witness++) {
        if (answers[witness] && !confirm->witnesses.has_seen[witness]) {
            text_list_add(&confirm->report->warnings, "%s reports no link of any card as up",
                          witness == WITNESS_STATUS ? "the link status register" : witness_text(witness));
        }
    }
    find_strangers(confirm, session);
}

static int choose_cards(const struct confirm *confirm, const struct machine *machine, bool wanted[], struct error *err)
{
    CLEANUP_FREE struct card_groups *groups = memory_alloc(1, sizeof *groups);
    if (confirm->options->list && card_groups_parse(machine, confirm->options->list, groups, err) < 0) {
        return -1;
    }
    for (int ppu = 0; ppu < machine->topology.ppu_count; ppu++) {
        wanted[ppu] = !confirm->options->list || groups->of[ppu] != IN_NO_GROUP;
    }
    return 0;
}

static int begin(struct confirm *confirm, struct session *session, struct error *err)
{
    const struct machine *machine = session->machine;
    const struct error *doubt = session_doubt(session, "");
    bool wanted[PPU_MAX];
    confirm->topology = memory_alloc(1, sizeof *confirm->topology);
    *confirm->topology = machine->topology;
    confirm->found = memory_alloc((size_t)machine->topology.ppu_count, sizeof *confirm->found);
    witnesses_open(&confirm->witnesses, machine, &confirm->report->warnings);
    confirm_made_for(machine, &confirm->made_for);
    if (doubt) {
        return error_set(err, STATUS_CONFLICT, "a card may belong to a VM: %s", doubt->text);
    }
    if (choose_cards(confirm, machine, wanted, err) < 0 || check_backend(session, err) < 0) {
        return -1;
    }
    for (size_t i = 0; i < session->notes.count; i++) {
        if (session->notes.items[i].severity != NOTE_INFO) {
            text_list_add(&confirm->report->warnings, "%s", session->notes.items[i].text);
        }
    }
    list_entries(confirm, wanted);
    look_first(confirm, session);
    return 0;
}

/* -- The run ----------------------------------------------------------------------- */

static bool is_made_for(const struct confirm *confirm, const struct machine *machine)
{
    struct text_list lines = {0};
    confirm_made_for(machine, &lines);
    bool same = lines.count == confirm->made_for.count;
    for (size_t i = 0; same && i < lines.count; i++) {
        same = strcmp(lines.items[i], confirm->made_for.items[i]) == 0;
    }
    text_list_free(&lines);
    return same;
}

/* All cards of the job are without owner. */
static int admit_job(const struct confirm *confirm, const struct session *session, const struct job *job,
                     struct error *err)
{
    const struct error *doubt = session_doubt(session, "");
    if (doubt) {
        *err = *doubt;
        return -1;
    }
    if (check_backend(session, err) < 0 || confirm_admit(session, job->ppu, err) < 0) {
        return -1;
    }
    for (int link = 0; link < LINK_MAX; link++) {
        int peer = ((job->links >> link) & 1) != 0 ? confirm->topology->peer[job->ppu][link] : NO_PEER;
        if (peer >= 0 && confirm_admit(session, peer, err) < 0) {
            return -1;
        }
    }
    return 0;
}

static int run_job(struct confirm *confirm, const struct job *job, struct error *err)
{
    struct session session;
    struct error why;
    int result = 0;
    bool is_started = session_start(&session, confirm->options->config, SESSION_CHANGE, &why) == 0;
    if (is_started && !is_made_for(confirm, session.machine)) {
        result = error_set(err, STATUS_INVALID, "the configuration has changed meanwhile; run icn-hook confirm again");
    } else if (!is_started || admit_job(confirm, &session, job, &why) < 0) {
        leave_out(confirm, job, why.text);
    } else {
        take_scope(&session);
        result = confirm_try(confirm, &session, job, err);
    }
    if (is_started && session.writing_count > 0) {
        const struct trail trail = {.event = EVENT_CONFIRMED, .what = "a link was tried"};
        trail_log(&session, &trail);
    }
    session_close(&session);
    nanosleep(&(struct timespec){.tv_nsec = TURN_NS}, NULL);
    return result;
}

static int run_jobs(struct confirm *confirm, bool single_links, struct error *err)
{
    const struct confirm_options *options = confirm->options;
    size_t count;
    CLEANUP_FREE struct job *jobs = list_jobs(confirm, single_links, &count);
    for (size_t i = 0; i < count; i++) {
        if (options->progress) {
            options->progress(options->context, i, count);
        }
        if (run_job(confirm, &jobs[i], err) < 0) {
            return -1;
        }
    }
    if (options->progress) {
        options->progress(options->context, count, count);
    }
    return 0;
}

/* -- All of it ---------------------------------------------------------------------- */

int confirm_host(const struct confirm_options *options, struct confirm_report *report, struct error *err)
{
    struct confirm confirm = {.options = options, .report = report};
    struct session session;
    *report = (struct confirm_report){0};
    int result = session_start(&session, options->config, SESSION_CHANGE, err);
    if (result == 0) {
        result = begin(&confirm, &session, err);
        session_unlock(&session);
    }
    if (result == 0) {
        result = run_jobs(&confirm, session.registers.backend->cuts_single_links, err);
    }
    if (result == 0) {
        struct error trouble;
        confirm_name_suspects(&confirm, session.machine);
        report->is_unsaved = confirm_save(&confirm, session.machine, &trouble) < 0;
        if (report->is_unsaved) {
            text_list_add(&report->warnings, "the result is not kept: %s", trouble.text);
        }
    }
    session_close(&session);
    witnesses_close(&confirm.witnesses);
    text_list_free(&confirm.made_for);
    free(confirm.topology);
    free(confirm.found);
    free(confirm.trials);
    free(confirm.sights);
    return result;
}
