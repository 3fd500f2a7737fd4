/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation.
 *
 * Three witnesses say who owns a card, and each sees what the others miss: our
 * ledger knows a start before QEMU exists; libvirt's status files know domains
 * that were started before we were installed, and hot-plugged cards; sysfs
 * knows that somebody holds a card open, whoever it is.
 *
 * A ledger entry is believed as long as anything keeps it alive: a status file
 * with a living QEMU, the libvirt daemon that started the domain, or one of its
 * cards being held open.  Otherwise it is stale: its cards are idle, and only
 * the registers' old values in it are of use.  That of a group isolated by hand is
 * believed until it is marked as ended, or the host boots: who uses the group is
 * not ours to know.
 */
#include "engine/snapshot.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/memory.h"
#include "core/mask.h"

static struct tenant *tenant_for(struct snapshot *snapshot, const char *uuid, const char *name)
{
    for (size_t i = 0; i < snapshot->tenant_count; i++) {
        if (strcmp(snapshot->tenants[i].uuid, uuid) == 0) {
            return &snapshot->tenants[i];
        }
    }
    struct tenant *tenant = &snapshot->tenants[snapshot->tenant_count++];
    memcpy(tenant->uuid, uuid, sizeof tenant->uuid);
    tenant->name = name[0] ? name : tenant->uuid;
    return tenant;
}

static void claim(struct snapshot *snapshot, const struct tenant *tenant, int ppu, bool whole)
{
    size_t index = (size_t)(tenant - snapshot->tenants);
    for (size_t i = 0; i < snapshot->claim_count; i++) {
        struct claim *known = &snapshot->claims[i];
        if (known->tenant == index && known->ppu == ppu) {
            known->whole |= whole;
            return;
        }
    }
    snapshot->claims = memory_grow(snapshot->claims, snapshot->claim_count + 1, sizeof *snapshot->claims);
    snapshot->claims[snapshot->claim_count++] = (struct claim){.tenant = index, .ppu = ppu, .whole = whole};
}

static bool function_is_held(struct bdf function)
{
    struct pci_state state;
    sysfs_read_state(function, &state);
    return pci_state_held(&state);
}

static void read_card(struct snapshot *snapshot, int ppu)
{
    struct card *card = &snapshot->cards[ppu];
    struct bdf bdf = snapshot->machine->card[ppu];
    CLEANUP_FREE struct bdf *virtual_functions = NULL;
    size_t count;
    sysfs_read_state(bdf, &card->state);
    card->held = pci_state_held(&card->state);
    sysfs_virtual_functions(bdf, &virtual_functions, &count);
    for (size_t i = 0; i < count && !card->held; i++) {
        card->held = function_is_held(virtual_functions[i]);
    }
}

/* Where a ledger entry's card stands in the present topology, or -1. */
static int entry_ppu(const struct snapshot *snapshot, const struct ledger_card *card)
{
    return machine_ppu_at(snapshot->machine, card->bdf);
}

static bool holds_a_card(const struct snapshot *snapshot, const struct ledger_entry *entry)
{
    for (size_t i = 0; i < entry->card_count; i++) {
        int ppu = entry_ppu(snapshot, &entry->cards[i]);
        if (entry->cards[i].owned && ppu >= 0 && snapshot->cards[ppu].held) {
            return true;
        }
    }
    return false;
}

static bool entry_is_alive(const struct snapshot *snapshot, const struct tenant *tenant)
{
    const struct ledger_entry *entry = tenant->entry;
    if (tenant->running) {
        return true;
    }
    if (entry->other_boot) {
        return false;
    }
    if (entry->manual) {
        return entry->phase != PHASE_ENDED;
    }
    if (entry->phase != PHASE_ENDED && process_is_alive(entry->caller)) {
        return true;
    }
    return holds_a_card(snapshot, entry);
}

static void add_running(struct snapshot *snapshot, const struct domain *domain)
{
    struct demand demand;
    struct error err;
    if (domain->uuid[0] == '\0') {
        return;
    }
    if (demand_resolve(snapshot->machine, domain, &demand, &snapshot->findings, &err) < 0) {
        text_list_add(&snapshot->findings, "VM %s: %s", domain->name, err.text);
        return;
    }
    if (demand_number(snapshot->machine, &demand, &err) < 0) {
        text_list_add(&snapshot->findings, "VM %s: %s", domain->name, err.text);
    }
    for (size_t i = 0; i < demand.count; i++) {
        if (demand.devices[i].ppu >= 0) {
            struct tenant *tenant = tenant_for(snapshot, domain->uuid, domain->name);
            tenant->running = true;
            tenant->alive = true;
            claim(snapshot, tenant, demand.devices[i].ppu, demand.devices[i].whole);
        }
    }
    demand_free(&demand);
}

static bool domain_runs(const struct snapshot *snapshot, const char *uuid)
{
    for (size_t i = 0; i < snapshot->running.count; i++) {
        if (strcmp(snapshot->running.domains[i].uuid, uuid) == 0) {
            return true;
        }
    }
    return false;
}

static void add_entry(struct snapshot *snapshot, const struct ledger_entry *entry)
{
    struct tenant *tenant = tenant_for(snapshot, entry->uuid, entry->name);
    tenant->entry = entry;
    tenant->manual = entry->manual;
    tenant->running = domain_runs(snapshot, entry->uuid);
    tenant->alive = entry_is_alive(snapshot, tenant);
    if (!tenant->alive && entry->phase != PHASE_ENDED) {
        text_list_add(&snapshot->findings,
                      tenant->manual
                          ? "the ledger's entry of the group %s is stale: it was isolated before the host booted"
                          : "the ledger's entry of VM %s is stale: neither VM nor its start is there any more",
                      tenant->name);
    }
    for (size_t i = 0; i < entry->card_count; i++) {
        const struct ledger_card *recorded = &entry->cards[i];
        int ppu = entry_ppu(snapshot, recorded);
        if (ppu < 0) {
            continue;
        }
        struct card *card = &snapshot->cards[ppu];
        bool still_its_own = tenant->alive && (entry->phase != PHASE_ENDED || card->held);
        if (recorded->owned && still_its_own) {
            claim(snapshot, tenant, ppu, recorded->whole);
        }
        if (recorded->has_original && !card->has_original) {
            card->has_original = true;
            card->original = recorded->original & topology_links(&snapshot->machine->topology, ppu);
        }
    }
}

static void find_unknown_holders(struct snapshot *snapshot)
{
    bool claimed[PPU_MAX] = {false};
    for (size_t i = 0; i < snapshot->claim_count; i++) {
        claimed[snapshot->claims[i].ppu] = true;
    }
    for (int ppu = 0; ppu < snapshot->machine->topology.ppu_count; ppu++) {
        char card[CARD_TEXT_SIZE];
        if (snapshot->cards[ppu].held && !claimed[ppu]) {
            snapshot->cards[ppu].unknown_holder = true;
            text_list_add(&snapshot->findings,
                          "%s is held open through vfio by a process that is no libvirt VM; fuser /dev/vfio/* names it",
                          machine_card_text(snapshot->machine, ppu, card));
        }
    }
}

static void log_tenants(const struct snapshot *snapshot)
{
    for (size_t i = 0; i < snapshot->tenant_count; i++) {
        const struct tenant *tenant = &snapshot->tenants[i];
        log_message(LOG_LEVEL_INFO, "%s %s (%s): %s, %s", tenant->manual ? "group" : "VM", tenant->name, tenant->uuid,
                    tenant->entry ? "in the ledger" : "not in the ledger",
                    tenant->running  ? "runs"
                    : !tenant->alive ? "is gone"
                    : tenant->manual ? "isolated by hand"
                                     : "is being started or stopped");
    }
}

int snapshot_take(struct machine *machine, const struct ledger *ledger, struct snapshot **snapshot, struct error *err)
{
    struct snapshot *taken = memory_alloc(1, sizeof *taken);
    taken->machine = machine;
    if (ledger_read(ledger, &taken->ledger, err) < 0 || running_domains_load(&taken->running, err) < 0) {
        snapshot_free(taken);
        return -1;
    }
    taken->tenants = memory_alloc(taken->ledger.entry_count + taken->running.count + 1, sizeof *taken->tenants);
    for (size_t i = 0; i < taken->running.warnings.count; i++) {
        text_list_add(&taken->findings, "%s", taken->running.warnings.items[i]);
    }
    for (size_t i = 0; i < taken->ledger.fault_count; i++) {
        text_list_add(&taken->findings, "%s", taken->ledger.faults[i].error.text);
    }
    for (int ppu = 0; ppu < machine->topology.ppu_count; ppu++) {
        if (machine->mapped[ppu]) {
            read_card(taken, ppu);
        }
    }
    for (size_t i = 0; i < taken->ledger.entry_count; i++) {
        add_entry(taken, &taken->ledger.entries[i]);
    }
    for (size_t i = 0; i < taken->running.count; i++) {
        add_running(taken, &taken->running.domains[i]);
    }
    find_unknown_holders(taken);
    log_tenants(taken);
    *snapshot = taken;
    return 0;
}

void snapshot_free(struct snapshot *snapshot)
{
    if (snapshot) {
        ledger_content_free(&snapshot->ledger);
        running_domains_free(&snapshot->running);
        text_list_free(&snapshot->findings);
        free(snapshot->tenants);
        free(snapshot->claims);
        free(snapshot);
    }
}

void snapshot_owners(const struct snapshot *snapshot, int owners[])
{
    int count = snapshot->machine->topology.ppu_count;
    for (int ppu = 0; ppu < count; ppu++) {
        owners[ppu] = OWNER_IDLE;
    }
    for (size_t i = 0; i < snapshot->claim_count; i++) {
        int *owner = &owners[snapshot->claims[i].ppu];
        *owner = *owner == OWNER_IDLE ? (int)snapshot->claims[i].tenant + 1 : OWNER_SHARED;
    }
    for (int ppu = 0; ppu < count; ppu++) {
        if (snapshot->cards[ppu].unknown_holder) {
            owners[ppu] = OWNER_UNKNOWN;
        }
    }
}

const struct tenant *snapshot_tenant(const struct snapshot *snapshot, const char *uuid)
{
    for (size_t i = 0; i < snapshot->tenant_count; i++) {
        if (strcmp(snapshot->tenants[i].uuid, uuid) == 0) {
            return &snapshot->tenants[i];
        }
    }
    return NULL;
}

const struct error *snapshot_doubt(const struct snapshot *snapshot, const char *uuid)
{
    for (size_t i = 0; i < snapshot->ledger.fault_count; i++) {
        const struct ledger_fault *fault = &snapshot->ledger.faults[i];
        bool is_entry = fault->uuid[0] != '\0';
        bool may_be_replaced = strcmp(fault->uuid, uuid) == 0 && fault->error.status == STATUS_INVALID;
        if (is_entry && !may_be_replaced && !domain_runs(snapshot, fault->uuid)) {
            return &fault->error;
        }
    }
    return NULL;
}

const char *snapshot_owner_text(const struct snapshot *snapshot, int ppu, char text[OWNER_TEXT_SIZE])
{
    size_t used = 0;
    snprintf(text, OWNER_TEXT_SIZE, "%s", snapshot->cards[ppu].unknown_holder ? "unknown" : "idle");
    for (size_t i = 0; i < snapshot->claim_count && used < OWNER_TEXT_SIZE; i++) {
        if (snapshot->claims[i].ppu == ppu) {
            used += (size_t)snprintf(text + used, OWNER_TEXT_SIZE - used, "%s%s", used > 0 ? ", " : "",
                                     snapshot->tenants[snapshot->claims[i].tenant].name);
        }
    }
    return text;
}

struct card_address snapshot_address(const struct snapshot *snapshot, int ppu)
{
    return (struct card_address){
        .ppu = ppu,
        .bdf = snapshot->machine->card[ppu],
        .links = topology_links(&snapshot->machine->topology, ppu),
    };
}

static void log_reading(const struct snapshot *snapshot, int ppu)
{
    const struct reading *reading = &snapshot->cards[ppu].reading;
    char card[CARD_TEXT_SIZE];
    machine_card_text(snapshot->machine, ppu, card);
    if (reading->kind == READING_FINE) {
        log_message(LOG_LEVEL_INFO, "%s: mask 0x%08x", card, reading->mask);
    } else {
        log_message(LOG_LEVEL_INFO, "%s: %s", card, reading->why);
    }
}

void snapshot_read(struct snapshot *snapshot, struct registers *registers, int ppu)
{
    struct card *card = &snapshot->cards[ppu];
    struct card_address address = snapshot_address(snapshot, ppu);
    if (!card->was_read) {
        registers->backend->read(registers, &address, &card->reading);
        card->was_read = true;
        log_reading(snapshot, ppu);
    }
}

void snapshot_read_all(struct snapshot *snapshot, struct registers *registers)
{
    for (int ppu = 0; ppu < snapshot->machine->topology.ppu_count; ppu++) {
        if (snapshot->machine->mapped[ppu] && snapshot->cards[ppu].state.present) {
            snapshot_read(snapshot, registers, ppu);
        }
    }
}
