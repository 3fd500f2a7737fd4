/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/manual_names.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "engine/manual_steps.h"

enum { NAME_LIMIT = 128 };

static bool has_these_cards(const struct snapshot *snapshot, const struct tenant *tenant,
                            const struct card_groups *groups, int group)
{
    for (int ppu = 0; ppu < snapshot->machine->topology.ppu_count; ppu++) {
        if (manual_owns(snapshot, tenant, ppu) != (groups->of[ppu] == group)) {
            return false;
        }
    }
    return true;
}

/* NAME may be NULL: any. */
static const struct tenant *find_existing(const struct snapshot *snapshot, const struct card_groups *groups, int group,
                                          const char *name)
{
    for (size_t i = 0; i < snapshot->tenant_count; i++) {
        const struct tenant *tenant = &snapshot->tenants[i];
        if (tenant->manual && tenant->alive && (!name || strcmp(tenant->name, name) == 0) &&
            has_these_cards(snapshot, tenant, groups, group)) {
            return tenant;
        }
    }
    return NULL;
}

static int check_text(const char *name, struct error *err)
{
    if (name[0] == '\0') {
        return error_set(err, STATUS_USAGE, "--name: a group's name must not be empty");
    }
    if (strlen(name) > NAME_LIMIT || !ledger_name_is_printable(name)) {
        return error_set(err, STATUS_USAGE, "--name '%.*s': a group's name is at most %d bytes of printable UTF-8",
                         NAME_LIMIT, name, NAME_LIMIT);
    }
    return 0;
}

/* Nobody who owns cards, and no group before this one, has the name. */
static int check_free(const struct snapshot *snapshot, const struct manual_identity identities[], int count,
                      const char *name, struct error *err)
{
    for (size_t i = 0; i < snapshot->tenant_count; i++) {
        const struct tenant *tenant = &snapshot->tenants[i];
        if (tenant->alive && strcmp(tenant->name, name) == 0) {
            return error_set(err, STATUS_INVALID, "there is a %s '%s' already; choose another name with --name",
                             tenant->manual ? "group" : "VM", name);
        }
    }
    for (int i = 0; i < count; i++) {
        if (strcmp(identities[i].name, name) == 0) {
            return error_set(err, STATUS_INVALID, "two groups cannot both be called '%s'", name);
        }
    }
    return 0;
}

static int identify(const struct snapshot *snapshot, const struct card_groups *groups, int group, const char *given,
                    struct manual_identity identities[], struct error *err)
{
    char usual[sizeof "manual-2147483647"];
    struct manual_identity *identity = &identities[group];
    if (given && check_text(given, err) < 0) {
        return -1;
    }
    const struct tenant *existing = find_existing(snapshot, groups, group, given);
    snprintf(usual, sizeof usual, "manual-%d", card_groups_next(groups, group, -1));
    identity->name = memory_copy_text(existing ? existing->name : given ? given : usual);
    identity->existed = existing != NULL;
    if (existing) {
        memcpy(identity->uuid, existing->uuid, sizeof identity->uuid);
        return 0;
    }
    return text_make_uuid(identity->uuid) ? 0 : error_set(err, STATUS_HARDWARE, "cannot make a uuid");
}

int manual_identify(const struct snapshot *snapshot, const struct card_groups *groups, const char *const names[],
                    size_t name_count, struct manual_identity **identities, struct error *err)
{
    *identities = memory_alloc((size_t)groups->count, sizeof **identities);
    if (name_count > (size_t)groups->count) {
        return error_set(err, STATUS_USAGE, "%zu names for %d groups", name_count, groups->count);
    }
    for (int group = 0; group < groups->count; group++) {
        const char *given = (size_t)group < name_count ? names[group] : NULL;
        if (identify(snapshot, groups, group, given, *identities, err) < 0) {
            return -1;
        }
    }
    return 0;
}

int manual_check_names(const struct snapshot *snapshot, const struct manual_identity identities[], int count,
                       struct error *err)
{
    for (int i = 0; i < count; i++) {
        if (!identities[i].existed && check_free(snapshot, identities, i, identities[i].name, err) < 0) {
            return -1;
        }
    }
    return 0;
}

void manual_identities_free(struct manual_identity *identities, int count)
{
    for (int i = 0; identities && i < count; i++) {
        free(identities[i].name);
    }
    free(identities);
}
