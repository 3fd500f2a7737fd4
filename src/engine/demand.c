/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/demand.h"

#include <stdlib.h>

#include "base/memory.h"
#include "host/sysfs.h"

static const char *const via_texts[] = {
    [VIA_HOSTDEV] = "hostdev", [VIA_INTERFACE] = "interface", [VIA_NVME] = "nvme",
    [VIA_MDEV] = "mdev",       [VIA_VIRTUAL_FUNCTION] = "vf", [VIA_COMMANDLINE] = "commandline",
};

static const enum via via_of_kind[] = {
    [DEVICE_HOSTDEV] = VIA_HOSTDEV, [DEVICE_INTERFACE] = VIA_INTERFACE,     [DEVICE_NVME] = VIA_NVME,
    [DEVICE_MDEV] = VIA_MDEV,       [DEVICE_COMMANDLINE] = VIA_COMMANDLINE,
};

const char *via_text(enum via via)
{
    return via_texts[via];
}

/* The function that a device of the XML means.  False: not on this host. */
static bool find_function(const struct domain_device *device, struct demand_device *found, struct text_list *warnings)
{
    char mdev_uuid[UUID_SIZE] = "";
    const char *uuid = device->mdev_uuid;
    found->via = via_of_kind[device->kind];
    found->function = device->bdf;
    found->unmanaged = device->unmanaged;
    if (device->sysfs_path) {
        if (!sysfs_resolve_path(device->sysfs_path, &found->function, mdev_uuid)) {
            text_list_add(warnings, "sysfsdev=%s leads to no PCI function of this host", device->sysfs_path);
            return false;
        }
        uuid = mdev_uuid;
    }
    if (uuid[0] == '\0') {
        return true;
    }
    found->via = VIA_MDEV;
    if (!sysfs_mdev_parent(uuid, &found->function)) {
        text_list_add(warnings, "the mediated device %s is on no PCI function of this host", uuid);
        return false;
    }
    return true;
}

/* Fills in what card stands behind the function. */
static int find_card(struct machine *machine, struct demand_device *device, struct error *err)
{
    struct bdf physical;
    bool parent_present;
    device->card = device->function;
    device->whole = device->via != VIA_MDEV;
    device->ppu = -1;
    if (pci_look_up(machine->pci, device->function, &device->present, &device->is_ppu, err) < 0) {
        return -1;
    }
    if (!sysfs_physical_function(device->function, &physical)) {
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

static bool is_listed(const struct demand *demand, const struct demand_device *device)
{
    for (size_t i = 0; i < demand->count; i++) {
        if (bdf_compare(demand->devices[i].card, device->card) == 0 && demand->devices[i].whole == device->whole) {
            return true;
        }
    }
    return false;
}

int demand_resolve(struct machine *machine, const struct domain *domain, struct demand *demand,
                   struct text_list *warnings, struct error *err)
{
    struct demand resolved = {.devices = memory_alloc(domain->device_count + 1, sizeof *resolved.devices)};
    for (size_t i = 0; i < domain->device_count; i++) {
        struct demand_device device = {0};
        if (!find_function(&domain->devices[i], &device, warnings)) {
            continue;
        }
        if (find_card(machine, &device, err) < 0) {
            demand_free(&resolved);
            return -1;
        }
        if (!device.present) {
            char bdf[BDF_TEXT_SIZE];
            text_list_add(warnings, "the PCI function %s is not on this host", bdf_format(device.function, bdf));
        }
        if (!is_listed(&resolved, &device)) {
            resolved.devices[resolved.count++] = device;
            resolved.has_ppu |= device.is_ppu;
        }
    }
    *demand = resolved;
    return 0;
}

int demand_number(const struct machine *machine, struct demand *demand, struct error *err)
{
    for (size_t i = 0; i < demand->count; i++) {
        struct demand_device *device = &demand->devices[i];
        char bdf[BDF_TEXT_SIZE];
        device->ppu = machine_ppu_at(machine, device->card);
        if (device->is_ppu && device->ppu < 0) {
            return error_set(err, STATUS_INVALID,
                             "%s is a PPU but no [map] line says which; add one to the configuration, or give the VM "
                             "another card",
                             bdf_format(device->card, bdf));
        }
        if (device->ppu >= 0) {
            device->is_ppu = true;
            demand->has_ppu = true;
        }
    }
    return 0;
}

void demand_free(struct demand *demand)
{
    free(demand->devices);
    *demand = (struct demand){0};
}
