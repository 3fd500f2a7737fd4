/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <inttypes.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/paths.h"
#include "doctor/checks.h"
#include "engine/policy.h"

#define SWITCHED_OFF "the next start or stop of a VM with cards switches it off, or icn-hook repair"

static void check_faults(struct examination *examination)
{
    const struct state *state = &examination->session.state;
    for (size_t i = 0; i < state->fault_count; i++) {
        const struct state_fault *fault = &state->faults[i];
        if (fault->kind == FAULT_FOREIGN) {
            report_add(&examination->report, CHECK_STATE_SOUND, RESULT_WARN, "it is ignored", "%s", fault->error.text);
        } else if (fault->kind == FAULT_IDENTITY && fault->is_damaged) {
            report_add(&examination->report, CHECK_STATE_SOUND, RESULT_FAIL,
                       "stop the VMs and release the groups that have cards, then icn-hook repair", "%s",
                       fault->error.text);
        } else if (fault->is_damaged) {
            report_add(&examination->report, CHECK_STATE_SOUND, RESULT_FAIL, "icn-hook repair", "%s",
                       fault->error.text);
        } else {
            report_add(&examination->report, CHECK_STATE_SOUND, RESULT_FAIL,
                       "make it readable; until then other VMs with cards cannot start", "%s", fault->error.text);
        }
    }
    if (state->fault_count == 0) {
        report_pass(&examination->report, CHECK_STATE_SOUND, "every file can be used; claims: %zu", state->claim_count);
    }
}

/* Reports the session's notes with CODE; returns how many these are. */
static int state_report_notes(struct examination *examination, enum note_code code, enum check check,
                              const char *remedy)
{
    int count = 0;
    for (size_t i = 0; i < examination->session.notes.count; i++) {
        const struct note *note = &examination->session.notes.items[i];
        if (note->code == code) {
            count++;
            report_add(&examination->report, check, RESULT_WARN, remedy, "%s", note->text);
        }
    }
    return count;
}

/* Cards that have no id here: the claim is of another configuration. */
static void check_foreign(struct examination *examination)
{
    const struct state *state = &examination->session.state;
    int foreign = 0;
    for (size_t i = 0; i < state->claim_count; i++) {
        const struct claim *claim = &state->claims[i];
        for (size_t card = 0; card < claim->card_count; card++) {
            char bdf[BDF_TEXT_SIZE];
            if (machine_ppu_at(examination->machine, claim->cards[card].bdf) < 0) {
                foreign++;
                report_add(&examination->report, CHECK_STATE_OWN, RESULT_WARN,
                           "give the card its id back in [map], or stop that VM",
                           "the claim of %s '%s' names %s, which has no id", claim->is_group ? "group" : "VM",
                           claim->name, bdf_format(claim->cards[card].bdf, bdf));
            }
        }
    }
    if (foreign == 0) {
        report_pass(&examination->report, CHECK_STATE_OWN, "every claimed card is one of this host");
    }
}

static void check_holders(struct examination *examination)
{
    const struct owners *owners = &examination->session.owners;
    struct card_findings findings = {0};
    for (size_t i = 0; i < owners->holding_count; i++) {
        const struct holding *holding = &owners->holdings[i];
        const struct owner *owner = &owners->items[holding->owner];
        if (owner->kind != OWNER_KIND_STRANGER) {
            continue;
        }
        if (owner->pid != 0) {
            card_findings_add(&findings, holding->ppu, RESULT_WARN, "end it, if it should not have the card",
                              "open through vfio by process %ld (%s), which is not a known VM", (long)owner->pid,
                              owner->name);
        } else {
            card_findings_add(&findings, holding->ppu, RESULT_WARN, NAME_HOLDER,
                              "open through vfio by a process that is not a known VM");
        }
    }
    card_findings_report(&findings, examination, CHECK_STATE_HOLDERS, "no card is held open by an unknown process");
}

void check_state(struct examination *examination)
{
    if (!examination->is_surveyed) {
        return;
    }
    if (!examination->is_looked_at) {
        const struct error *err = &examination->session_error;
        CLEANUP_FREE char *path = paths_resolve(PATH_STATE);
        if (geteuid() != 0 && access(path, R_OK | X_OK) < 0) {
            report_add(&examination->report, CHECK_STATE_READABLE, RESULT_WARN, NEEDS_ROOT, "%s", err->text);
        } else {
            report_add(&examination->report, CHECK_STATE_READABLE, RESULT_FAIL,
                       "correct that; until then no VM with cards can start", "%s", err->text);
        }
        return;
    }
    check_faults(examination);
    if (examination->session.has_old_identity) {
        report_add(&examination->report, CHECK_STATE_IDENTITY, RESULT_FAIL, "until then no VM with cards can start",
                   "%s", examination->session.identity_doubt.text);
    } else {
        report_pass(&examination->report, CHECK_STATE_IDENTITY,
                    "the configuration has the ids and links that are in force");
    }
    /* Claims that nothing supports any more, or that are from the future, and ends that were noted of VMs that live. */
    int over = state_report_notes(examination, NOTE_CLAIM, CHECK_STATE_CURRENT, "icn-hook repair");
    over += state_report_notes(examination, NOTE_TOMBSTONE, CHECK_STATE_CURRENT, "see who called the hook for it");
    if (over == 0) {
        report_pass(&examination->report, CHECK_STATE_CURRENT, "no claim left over from a VM that has ended");
    }
    check_foreign(examination);
    struct card_findings findings = {0};
    for (int ppu = 0; ppu < examination->machine->topology.ppu_count; ppu++) {
        uint32_t owed;
        if (card_concerns(examination, ppu) && policy_owes(&examination->session, ppu, &owed)) {
            card_findings_add(&findings, ppu, RESULT_WARN,
                              "icn-hook repair; a driver that holds the card has to be unbound first",
                              "cuts by icn-hook that nothing needs any more; owed mask 0x%08" PRIx32, owed);
        }
    }
    card_findings_report(&findings, examination, CHECK_STATE_DEBTS, "no card is owed its links");
    check_holders(examination);
    /* A killed hook leaves a note of the card whose decoding it had switched on. */
    size_t count = 0;
    const struct bdf *functions = state_enabled_notes(&examination->session.state, &count);
    for (size_t i = 0; i < count; i++) {
        char bdf[BDF_TEXT_SIZE];
        report_add(&examination->report, CHECK_STATE_NOTES, RESULT_WARN, SWITCHED_OFF, "a killed hook left %s enabled",
                   bdf_format(functions[i], bdf));
    }
    state_report_notes(examination, NOTE_STATUS, CHECK_STATE_STATUS,
                       geteuid() == 0 ? "restart that VM, or libvirtd" : NEEDS_ROOT);
}
