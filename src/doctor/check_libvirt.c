/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>

#include "base/memory.h"
#include "base/paths.h"
#include "base/text.h"
#include "doctor/checks.h"
#include "engine/demand.h"
#include "hypervisor/libvirt.h"

#define GROUP "libvirt"

static bool claims(const struct snapshot *snapshot, const char *uuid, int ppu)
{
    for (size_t i = 0; i < snapshot->claim_count; i++) {
        const struct claim *claim = &snapshot->claims[i];
        if (claim->ppu == ppu && strcmp(snapshot->tenants[claim->tenant].uuid, uuid) == 0) {
            return true;
        }
    }
    return false;
}

/* Returns 1 if it takes PPUs, 0 if not. */
static int compare_domain(struct machine *machine, const struct snapshot *snapshot,
                          const struct libvirt_domain *reported, struct text_list *differences)
{
    struct domain domain;
    struct demand demand;
    struct text_list unused = {0};
    struct error err;
    int has_card = 0;
    if (domain_parse(reported->xml, strlen(reported->xml), reported->name, &domain, &err) < 0) {
        text_list_add(differences, "libvirt runs VM '%s', whose XML cannot be read: %s", reported->name, err.text);
        return 0;
    }
    if (demand_resolve(machine, &domain, &demand, &unused, &err) < 0) {
        text_list_add(differences, "libvirt runs VM '%s': %s", reported->name, err.text);
        domain_free(&domain);
        text_list_free(&unused);
        return 0;
    }
    if (demand_number(machine, &demand, &err) < 0) {
        text_list_add(differences, "libvirt runs VM '%s': %s", reported->name, err.text);
    }
    for (size_t i = 0; i < demand.count; i++) {
        char card[CARD_TEXT_SIZE];
        int ppu = demand.devices[i].ppu;
        if (ppu < 0) {
            continue;
        }
        has_card = 1;
        if (!claims(snapshot, reported->uuid, ppu)) {
            text_list_add(differences, "libvirt runs VM '%s' with %s, of which neither ledger nor status files know",
                          reported->name, machine_card_text(machine, ppu, card));
        }
    }
    demand_free(&demand);
    domain_free(&domain);
    text_list_free(&unused);
    return has_card;
}

static bool is_reported(const struct libvirt_domains *domains, const char *uuid)
{
    for (size_t i = 0; i < domains->count; i++) {
        if (strcmp(domains->items[i].uuid, uuid) == 0) {
            return true;
        }
    }
    return false;
}

/* One that is being started or stopped libvirt may report or not. */
static bool should_run(const struct tenant *tenant)
{
    return tenant->running || (tenant->alive && tenant->entry && tenant->entry->phase == PHASE_RUNNING);
}

int cross_check(const char *uri, struct machine *machine, const struct inspection *inspection,
                struct text_list *differences, int *count, struct error *err)
{
    const struct snapshot *snapshot = inspection->snapshot;
    struct libvirt_domains domains;
    if (libvirt_running(uri, &domains, err) < 0) {
        return -1;
    }
    *count = 0;
    for (size_t i = 0; i < domains.count; i++) {
        *count += compare_domain(machine, snapshot, &domains.items[i], differences);
    }
    for (size_t i = 0; i < snapshot->tenant_count; i++) {
        if (should_run(&snapshot->tenants[i]) && !is_reported(&domains, snapshot->tenants[i].uuid)) {
            text_list_add(differences, "VM '%s' runs with cards, as ledger or status files say, but not in libvirt",
                          snapshot->tenants[i].name);
        }
    }
    libvirt_domains_free(&domains);
    return 0;
}

/* A simulated host has no libvirt of its own: it must be named. */
void check_libvirt(struct examination *examination)
{
    struct report *report = &examination->report;
    struct text_list differences = {0};
    struct error err;
    int count = 0;
    const char *uri = examination->connect ? examination->connect : paths_simulated() ? NULL : LIBVIRT_USUAL_URI;
    if (!uri || !examination->is_inspected) {
        return;
    }
    if (cross_check(uri, examination->machine, &examination->inspection, &differences, &count, &err) < 0) {
        report_add(report, GROUP, "reachable", RESULT_WARN, "nothing was compared with libvirt", "%s", err.text);
        return;
    }
    report_pass(report, GROUP, "reachable", "%s answers; VMs with cards that run: %d", uri, count);
    for (size_t i = 0; i < differences.count; i++) {
        report_add(report, GROUP, "agrees", RESULT_WARN, "icn-hook status shows what is known; restart that VM", "%s",
                   differences.items[i]);
    }
    if (differences.count == 0) {
        report_pass(report, GROUP, "agrees", "libvirt and the ledger agree");
    }
    text_list_free(&differences);
}
