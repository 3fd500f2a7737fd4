/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/vm_cards.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"
#include "host/sysfs.h"

const char *via_text(enum via via)
{
    static const char *const texts[] = {
        [VIA_HOSTDEV] = "hostdev", [VIA_INTERFACE] = "interface", [VIA_NVME] = "nvme",
        [VIA_MDEV] = "mdev",       [VIA_VIRTUAL_FUNCTION] = "vf", [VIA_COMMANDLINE] = "commandline",
    };
    return texts[via];
}

/* The function that a device of the XML means.  False: not on this host. */
static bool find_function(const struct domain_device *device, const char *vm, struct vm_card *found,
                          struct notes *notes)
{
    static const enum via via_of_kind[] = {
        [DEVICE_HOSTDEV] = VIA_HOSTDEV, [DEVICE_INTERFACE] = VIA_INTERFACE,     [DEVICE_NVME] = VIA_NVME,
        [DEVICE_MDEV] = VIA_MDEV,       [DEVICE_COMMANDLINE] = VIA_COMMANDLINE,
    };
    char mdev_uuid[UUID_SIZE] = "";
    const char *uuid = device->mdev_uuid;
    found->via = via_of_kind[device->kind];
    found->function = device->bdf;
    found->unmanaged = device->unmanaged;
    if (device->sysfs_path) {
        if (!sysfs_resolve_path(device->sysfs_path, &found->function, mdev_uuid)) {
            notes_add(notes, NOTE_WARNING, NOTE_INPUT, -1, vm, "sysfsdev=%s leads to no PCI function of this host",
                      device->sysfs_path);
            return false;
        }
        uuid = mdev_uuid;
    }
    if (uuid[0] == '\0') {
        return true;
    }
    found->via = VIA_MDEV;
    if (!sysfs_mdev_parent(uuid, &found->function)) {
        notes_add(notes, NOTE_WARNING, NOTE_INPUT, -1, vm,
                  "the mediated device %s is not on a PCI function of this host", uuid);
        return false;
    }
    return true;
}

/* Fills in which card the function belongs to. */
static int resolve_card(struct machine *machine, struct vm_card *device, struct error *err)
{
    struct bdf physical;
    bool parent_present;
    device->card = device->function;
    device->whole = device->via != VIA_MDEV;
    device->ppu = -1;
    if (pci_look_up(machine->pci, device->function, &device->present, &device->is_ppu, err) < 0) {
        return -1;
    }
    if (!pci_physical_function(machine->pci, device->function, &physical)) {
        return 0;
    }
    device->is_ppu = false;
    if (pci_look_up(machine->pci, physical, &parent_present, &device->is_ppu, err) < 0) {
        return -1;
    }
    if (device->is_ppu) {
        device->card = physical;
        device->whole = false;
    }
    if (device->via == VIA_HOSTDEV || device->is_ppu) {
        device->via = VIA_VIRTUAL_FUNCTION;
    }
    return 0;
}

static bool is_listed(const struct vm_cards *cards, const struct vm_card *device)
{
    for (size_t i = 0; i < cards->count; i++) {
        if (bdf_compare(cards->items[i].card, device->card) == 0 && cards->items[i].whole == device->whole) {
            return true;
        }
    }
    return false;
}

int vm_cards_resolve(struct machine *machine, const struct domain *domain, struct vm_cards *cards, struct notes *notes,
                     struct error *err)
{
    struct vm_cards resolved = {.items = memory_alloc(domain->device_count + 1, sizeof *resolved.items)};
    for (size_t i = 0; i < domain->device_count; i++) {
        struct vm_card device = {0};
        if (!find_function(&domain->devices[i], domain->name, &device, notes)) {
            continue;
        }
        if (resolve_card(machine, &device, err) < 0) {
            vm_cards_free(&resolved);
            return -1;
        }
        if (!device.present) {
            char bdf[BDF_TEXT_SIZE];
            notes_add(notes, NOTE_WARNING, NOTE_INPUT, -1, domain->name, "the PCI function %s is not on this host",
                      bdf_format(device.function, bdf));
        }
        if (!is_listed(&resolved, &device)) {
            resolved.items[resolved.count++] = device;
            resolved.has_ppu |= device.is_ppu;
        }
    }
    *cards = resolved;
    return 0;
}

int vm_cards_number(const struct machine *machine, const char *vm, struct vm_cards *cards, struct error *err)
{
    int result = 0;
    for (size_t i = 0; i < cards->count; i++) {
        struct vm_card *device = &cards->items[i];
        char bdf[BDF_TEXT_SIZE];
        /* Another function may have got the address of a pinned card. */
        bool is_other = device->present && !device->is_ppu;
        device->ppu = is_other ? -1 : machine_ppu_at(machine, device->card);
        if (device->ppu >= 0) {
            device->is_ppu = true;
            cards->has_ppu = true;
        } else if (device->is_ppu && result == 0) {
            result = error_set(err, STATUS_INVALID,
                               "VM '%s': %s is a PPU but no [map] line says which; run icn-hook setup, or give the VM "
                               "another card",
                               vm, bdf_format(device->card, bdf));
        }
    }
    return result;
}

/* A device that only [map] shows to be a PPU: it is off the bus, or match finds no card at all. */
static bool takes_pinned_card(const struct machine *machine, const struct vm_cards *cards)
{
    for (size_t i = 0; i < cards->count; i++) {
        const struct vm_card *device = &cards->items[i];
        for (int pin = 0; pin < machine->settings.map_count; pin++) {
            if (bdf_compare(machine->settings.map[pin].bdf, device->card) == 0 &&
                (!device->present || machine->finds_none)) {
                return true;
            }
        }
    }
    return false;
}

int vm_cards_find(const char *config, const struct domain *domain, struct machine **machine, struct vm_cards *cards,
                  struct notes *notes, struct error *err)
{
    *machine = NULL;
    *cards = (struct vm_cards){0};
    if (domain->device_count == 0) {
        return 0;
    }
    if (machine_open(config, machine, err) < 0) {
        /* The settings are broken: VMs without PPUs pass all the same, if it can be told which functions are PPUs. */
        struct error ignored;
        bool passes = machine_open_salvaged(config, machine) &&
                      vm_cards_resolve(*machine, domain, cards, notes, &ignored) == 0 && !cards->has_ppu;
        return passes ? 0 : -1;
    }
    if (vm_cards_resolve(*machine, domain, cards, notes, err) < 0) {
        return -1;
    }
    /* A pinned card that is off the bus shows only by its address. */
    if (!cards->has_ppu && (*machine)->settings.map_count == 0) {
        return 0;
    }
    if (machine_survey(*machine, err) < 0) {
        return cards->has_ppu || takes_pinned_card(*machine, cards) ? -1 : 0;
    }
    if (vm_cards_number(*machine, domain->name, cards, err) < 0) {
        return -1;
    }
    return cards->has_ppu ? 1 : 0;
}

void vm_cards_free(struct vm_cards *cards)
{
    free(cards->items);
    *cards = (struct vm_cards){0};
}

void vm_cards_advise_links(const struct machine *machine, const bool set[], enum hint hint, struct notes *notes)
{
    int16_t part[PPU_MAX];
    bool members[PPU_MAX];
    char ids[IDS_TEXT_SIZE];
    char parts[2 * IDS_TEXT_SIZE] = ""; /* every id once, and what separates them */
    char remedy[96] = "";
    size_t used = 0;
    int cards = 0;
    int count = topology_parts(&machine->topology, set, part);
    if (count <= 1) {
        return;
    }
    for (int i = 0; i < count; i++) {
        for (int ppu = 0; ppu < machine->topology.ppu_count; ppu++) {
            members[ppu] = part[ppu] == i;
            cards += members[ppu];
        }
        used += (size_t)snprintf(parts + used, sizeof parts - used, "%s%s", i > 0 ? " | " : "",
                                 machine_ids_text(machine, members, ids));
    }
    if (hint == WITH_HINT) {
        snprintf(remedy, sizeof remedy, "; icn-hook suggest %d shows the idle PPUs that are joined best", cards);
    }
    notes_add(notes, NOTE_WARNING, NOTE_ADVICE, -1, NULL, "no link joins these PPUs of the VM with each other: %s%s",
              parts, remedy);
}
