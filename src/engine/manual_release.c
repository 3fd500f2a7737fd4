/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>
#include <string.h>

#include "engine/manual_steps.h"

/* One whose end was not completed may be ended again. */
static const struct tenant *find_group(const struct snapshot *snapshot, const char *name)
{
    const struct tenant *ended = NULL;
    for (size_t i = 0; i < snapshot->tenant_count; i++) {
        const struct tenant *tenant = &snapshot->tenants[i];
        if (tenant->manual && strcmp(tenant->name, name) == 0) {
            if (tenant->alive) {
                return tenant;
            }
            ended = tenant;
        }
    }
    return ended;
}

static bool is_vm(const struct snapshot *snapshot, const char *name)
{
    for (size_t i = 0; i < snapshot->tenant_count; i++) {
        if (!snapshot->tenants[i].manual && strcmp(snapshot->tenants[i].name, name) == 0) {
            return true;
        }
    }
    for (size_t i = 0; i < snapshot->running.count; i++) {
        if (strcmp(snapshot->running.domains[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

static int refuse_unknown(const struct snapshot *snapshot, const char *name, struct error *err)
{
    char known[1024] = "";
    size_t used = 0;
    if (is_vm(snapshot, name)) {
        return error_set(err, STATUS_INVALID, "'%s' is a VM of libvirt; stop it with virsh", name);
    }
    for (size_t i = 0; i < snapshot->tenant_count && used < sizeof known; i++) {
        if (snapshot->tenants[i].manual && snapshot->tenants[i].alive) {
            used += (size_t)snprintf(known + used, sizeof known - used, "%s'%s'", used > 0 ? ", " : "",
                                     snapshot->tenants[i].name);
        }
    }
    return error_set(err, STATUS_INVALID, "there is no group '%s'; %s%s", name,
                     used > 0 ? "there are: " : "nothing is isolated by hand", known);
}

/* Its links would come back under a VMM that runs. */
static int check_unused(const struct snapshot *snapshot, const struct manual_party *group, struct error *err)
{
    for (size_t i = 0; i < group->ppu_count; i++) {
        char card[CARD_TEXT_SIZE];
        if (snapshot->cards[group->ppus[i]].held) {
            return error_set(
                err, STATUS_CONFLICT,
                "%s of the group '%s' is held open through vfio; end its VM first (fuser /dev/vfio/* names "
                "the process)",
                machine_card_text(snapshot->machine, group->ppus[i], card), group->name);
        }
    }
    return 0;
}

static void add_group(struct manual_report *report, const struct snapshot *snapshot, const struct tenant *tenant)
{
    struct manual_party *group = manual_add_party(&report->groups, tenant->name, tenant->uuid);
    for (int ppu = 0; ppu < snapshot->machine->topology.ppu_count; ppu++) {
        for (size_t i = 0; i < tenant->entry->card_count; i++) {
            if (tenant->entry->cards[i].owned &&
                machine_ppu_at(snapshot->machine, tenant->entry->cards[i].bdf) == ppu) {
                manual_add_card(group, ppu);
            }
        }
    }
}

static int release(struct session *session, const char *name, bool dry_run, struct manual_report *report,
                   struct error *err)
{
    const struct tenant *tenant = find_group(session->snapshot, name);
    if (!tenant) {
        return refuse_unknown(session->snapshot, name, err);
    }
    add_group(report, session->snapshot, tenant);
    const struct manual_party *group = &report->groups.items[0];
    if (check_unused(session->snapshot, group, err) < 0) {
        return -1;
    }
    if (!dry_run) {
        return manual_end(session, group->uuid, report, err);
    }
    session_decide(session, INTENT_STOP, group->uuid, group->name, NULL);
    manual_add_writes(report, session, true);
    return 0;
}

int manual_release(struct machine *machine, const char *name, bool dry_run, struct manual_report *report,
                   struct error *err)
{
    struct session session = SESSION_CLOSED;
    int result = manual_open(&session, machine, dry_run, report, err);
    if (result == 0) {
        result = release(&session, name, dry_run, report, err);
    }
    session_close(&session);
    return result;
}
