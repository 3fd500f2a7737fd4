/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation.  The kernel hands out IOMMU groups, not cards: whatever is
 * in a card's group goes with it or must rest.  A group is viable if each of its
 * functions is bound to a vfio driver, to none, or to a bridge driver
 * (drivers/vfio, vfio_dev_viable).  What the kernel itself says is asked of
 * /dev/vfio/GROUP, and only while no VM has or is about to get a card of the
 * group: the group can be opened by one process only, so looking at the wrong
 * moment would fail that VM's start.  The ledger's shared lock keeps starts of VMs
 * with cards waiting meanwhile (there is a lock from the first such start on).
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/paths.h"
#include "core/mask.h"
#include "doctor/checks.h"
#include "doctor/facts.h"

#define GROUP "cards"
#define GROUPS "/sys/kernel/iommu_groups"

static void check_has_group(struct examination *examination)
{
    struct card_findings findings = {0};
    for (int ppu = 0; ppu < examination->machine->topology.ppu_count; ppu++) {
        if (card_is_looked_at(examination, ppu) && card_at(examination, ppu)->state.iommu_group < 0) {
            card_findings_add(&findings, ppu, RESULT_FAIL,
                              "switch the IOMMU on in the firmware; on Intel also boot with intel_iommu=on",
                              "in no IOMMU group");
        }
    }
    card_findings_report(&findings, examination, GROUP, "group", "each in an IOMMU group");
}

/* PCI class 0x06: bridges, which the kernel leaves out of account. */
static bool is_bridge(const char *function)
{
    CLEANUP_FREE char *class = fact_text(PATH_PCI_DEVICES "/%s/class", function);
    return class && strncmp(class, "0x06", 4) == 0;
}

/* One function that shares the group of card PPU. */
static void judge_member(struct card_findings *findings, const struct examination *examination, int ppu,
                         const char *name)
{
    struct bdf function;
    struct pci_state state;
    if (!bdf_parse(name, &function) || bdf_compare(function, examination->machine->card[ppu]) == 0 || is_bridge(name) ||
        card_function_is_taken(examination, function)) {
        return;
    }
    sysfs_read_state(function, &state);
    int group = card_at(examination, ppu)->state.iommu_group;
    int other = machine_ppu_at(examination->machine, function);
    if (other >= 0) {
        card_findings_add(findings, ppu, RESULT_WARN, "give both to the same VM, or move one to another slot",
                          "PPU %d is in its IOMMU group %d too", other, group);
    } else if (state.driver[0] != '\0' && !state.on_vfio) {
        card_findings_add(findings, ppu, RESULT_WARN, "bind it to vfio-pci, or pass it to the same VM",
                          "%s with driver %s is in its IOMMU group %d too", name, state.driver, group);
    } else if (examination->demand) {
        card_findings_add(findings, ppu, RESULT_WARN, "pass it to the same VM, and to no other",
                          "%s is in its IOMMU group %d too", name, group);
    }
}

void check_group_members(struct examination *examination)
{
    struct card_findings findings = {0};
    for (int ppu = 0; ppu < examination->machine->topology.ppu_count; ppu++) {
        if (!card_is_looked_at(examination, ppu) || card_at(examination, ppu)->state.iommu_group < 0) {
            continue;
        }
        CLEANUP_FREE char *path = paths_resolve(GROUPS "/%d/devices", card_at(examination, ppu)->state.iommu_group);
        struct dirent **names = NULL;
        int count = scandir(path, &names, NULL, alphasort);
        for (int i = 0; i < count; i++) {
            judge_member(&findings, examination, ppu, names[i]->d_name);
            free(names[i]);
        }
        free(names);
    }
    card_findings_report(&findings, examination, GROUP, "alone",
                         examination->demand ? "all that is in their IOMMU groups is passed"
                                             : "nothing in their IOMMU groups stands in the way");
}

static void ask_kernel(struct card_findings *findings, int ppu, int group)
{
    CLEANUP_FREE char *path = paths_resolve("/dev/vfio/%d", group);
    struct vfio_group_status status = {.argsz = sizeof status};
    CLEANUP_FD int fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        int number = errno;
        if (number == EACCES || number == EPERM) {
            card_findings_add(findings, ppu, RESULT_WARN, NEEDS_ROOT, "its IOMMU group viable or not");
        } else if (number == EBUSY) {
            card_findings_add(findings, ppu, RESULT_WARN, "fuser -v /dev/vfio/* names the process",
                              "its IOMMU group is held open by somebody");
        }
        return;
    }
    if (ioctl(fd, VFIO_GROUP_GET_STATUS, &status) == 0 && (status.flags & VFIO_GROUP_FLAGS_VIABLE) == 0) {
        card_findings_add(findings, ppu, RESULT_FAIL, "bind all that is in the group to vfio-pci",
                          "its IOMMU group %d is not viable, says the kernel", group);
    }
}

static bool group_is_idle(const struct examination *examination, int group)
{
    for (int ppu = 0; ppu < examination->machine->topology.ppu_count; ppu++) {
        if (card_at(examination, ppu)->state.iommu_group == group &&
            (examination->inspection.owners[ppu] != OWNER_IDLE || card_at(examination, ppu)->held)) {
            return false;
        }
    }
    return true;
}

static void check_viable(struct examination *examination)
{
    struct card_findings findings = {0};
    for (int ppu = 0; ppu < examination->machine->topology.ppu_count; ppu++) {
        int group = card_at(examination, ppu)->state.iommu_group;
        if (card_is_looked_at(examination, ppu) && group >= 0 && group_is_idle(examination, group)) {
            ask_kernel(&findings, ppu, group);
        }
    }
    card_findings_report(&findings, examination, GROUP, "viable", "no IOMMU group that vfio offers is unviable");
}

void check_iommu_groups(struct examination *examination)
{
    if (!examination->is_inspected || card_count(examination) == 0) {
        return;
    }
    check_has_group(examination);
    check_group_members(examination);
    check_viable(examination);
}
