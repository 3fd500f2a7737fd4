/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation.  The kernel hands out IOMMU groups, not cards: everything
 * in a card's group goes with it or must rest.  A group is viable if each of its
 * functions is bound to a vfio driver, to none, or to a bridge driver
 * (drivers/vfio, vfio_dev_viable).  What the kernel itself says is asked of
 * /dev/vfio/GROUP, and only while no VM has or is about to get a card of the
 * group: the group can be opened by one process only, so looking at the wrong
 * moment would fail that VM's start.  The state's shared lock keeps starts of VMs
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
#include "core/ownership.h"
#include "doctor/checks.h"
#include "doctor/facts.h"
#include "host/process.h"

#define GROUPS "/sys/kernel/iommu_groups"

/* The kernel makes an entry for every IOMMU that it uses: dmar0, ivhd0, smmu3.… */
static int count_entries(const char *directory)
{
    CLEANUP_FREE char *path = paths_resolve("%s", directory);
    DIR *opened = opendir(path);
    const struct dirent *entry;
    int count = 0;
    while (opened && (entry = readdir(opened))) {
        count += entry->d_name[0] != '.';
    }
    if (opened) {
        closedir(opened);
    }
    return count;
}

static bool module_is_available(const char *list, const char *release)
{
    CLEANUP_FREE char *text = fact_text("/lib/modules/%s/%s", release, list);
    return text && (strstr(text, "/vfio-pci.ko") || strstr(text, "/vfio_pci.ko"));
}

void check_iommu(struct examination *examination)
{
    struct report *report = &examination->report;
    int count = count_entries("/sys/class/iommu");
    if (count > 0) {
        report_pass(report, CHECK_IOMMU_ON, "the kernel uses %d IOMMU%s", count, count > 1 ? "s" : "");
    } else {
        report_add(report, CHECK_IOMMU_ON, RESULT_FAIL,
                   "switch it on in the firmware; on Intel also boot with intel_iommu=on", "the kernel uses no IOMMU");
    }
    CLEANUP_FREE char *release = fact_text(PATH_PROC "/sys/kernel/osrelease");
    if (fact_exists("/sys/module/vfio_pci") || fact_exists(PATH_SYSFS_PCI "/drivers/vfio-pci")) {
        report_pass(report, CHECK_IOMMU_VFIO, "vfio-pci is loaded");
    } else if (release &&
               (module_is_available("modules.dep", release) || module_is_available("modules.builtin", release))) {
        report_pass(report, CHECK_IOMMU_VFIO, "vfio-pci is available");
    } else {
        report_add(report, CHECK_IOMMU_VFIO, RESULT_FAIL, "install the kernel's modules; modprobe vfio-pci",
                   "vfio-pci is neither loaded nor installed");
    }
    /* Two switches that make groups or interrupts look safer than they are. */
    CLEANUP_FREE char *unsafe = fact_text("/sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts");
    CLEANUP_FREE char *command_line = fact_text(PATH_PROC "/cmdline");
    bool overrides = command_line && strstr(command_line, "pcie_acs_override");
    if (unsafe && unsafe[0] == 'Y') {
        report_add(report, CHECK_IOMMU_SAFE, RESULT_WARN, "take allow_unsafe_interrupts=1 out of modprobe.d",
                   "vfio lets guests forge interrupts (allow_unsafe_interrupts)");
    }
    if (overrides) {
        report_add(report, CHECK_IOMMU_SAFE, RESULT_WARN, "boot without pcie_acs_override",
                   "IOMMU groups are split by force (pcie_acs_override)");
    }
    if (!overrides && !(unsafe && unsafe[0] == 'Y')) {
        report_pass(report, CHECK_IOMMU_SAFE, "neither pcie_acs_override nor allow_unsafe_interrupts is set");
    }
}

/* The kernel leaves bridges out of account by the type of their header; their class does not matter
 * (drivers/vfio, vfio_dev_driver_allowed).  What cannot be read is no bridge. */
static bool is_bridge(const char *name)
{
    enum { HEADER_TYPE = 0x0e, MULTIFUNCTION = 0x80 };
    unsigned char header[HEADER_TYPE + 1] = {0};
    CLEANUP_FREE char *path = paths_resolve(PATH_PCI_DEVICES "/%s/config", name);
    CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool is_read = fd >= 0 && pread(fd, header, sizeof header, 0) == (ssize_t)sizeof header;
    return is_read && header[HEADER_TYPE] != 0xff && (header[HEADER_TYPE] & ~MULTIFUNCTION) != 0;
}

/* One function that shares the group of card PPU. */
static void judge_member(struct card_findings *findings, const struct examination *examination, int ppu,
                         const char *name)
{
    struct bdf function;
    struct pci_state state;
    if (!bdf_parse(name, &function) || bdf_compare(function, examination->machine->card[ppu]) == 0 ||
        card_function_is_taken(examination, function)) {
        return;
    }
    if (is_bridge(name)) {
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
    } else if (examination->cards) {
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
    card_findings_report(&findings, examination, CHECK_CARDS_ALONE,
                         examination->cards ? "all that is in their IOMMU groups is passed"
                                            : "nothing else in their IOMMU groups blocks passthrough");
}

static enum group_answer ask_group(int group)
{
    CLEANUP_FREE char *path = paths_resolve("/dev/vfio/%d", group);
    struct vfio_group_status status = {.argsz = sizeof status};
    CLEANUP_FD int fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 && (errno == EACCES || errno == EPERM)) {
        return GROUP_FORBIDDEN;
    }
    if (fd < 0) {
        return errno == EBUSY ? GROUP_BUSY : GROUP_NOT_ASKED;
    }
    if (ioctl(fd, VFIO_GROUP_GET_STATUS, &status) < 0) {
        return GROUP_NOT_ASKED;
    }
    return status.flags & VFIO_GROUP_FLAGS_VIABLE ? GROUP_VIABLE : GROUP_UNVIABLE;
}

static bool group_is_idle(const struct examination *examination, int group)
{
    const struct owners *owners = &examination->session.owners;
    for (int ppu = 0; ppu < examination->machine->topology.ppu_count; ppu++) {
        if (card_at(examination, ppu)->state.iommu_group == group &&
            (owners->of[ppu] != OWNER_IDLE || owners->held[ppu])) {
            return false;
        }
    }
    return true;
}

void iommu_groups_ask(struct examination *examination)
{
    for (int ppu = 0; ppu < examination->machine->topology.ppu_count; ppu++) {
        int group = card_at(examination, ppu)->state.iommu_group;
        if (card_is_looked_at(examination, ppu) && group >= 0 && group_is_idle(examination, group)) {
            examination->groups[ppu] = ask_group(group);
        }
    }
}

static void add_group_holder(struct card_findings *findings, int ppu, const struct examination *examination)
{
    char command[PROCESS_COMMAND_SIZE];
    pid_t pid;
    if (process_holder_of(card_at(examination, ppu)->state.iommu_group, examination->machine->card[ppu], &pid,
                          command)) {
        card_findings_add(findings, ppu, RESULT_WARN, "end it, if it should not have the card",
                          "its IOMMU group is held open by process %ld (%s)", (long)pid, command);
    } else {
        card_findings_add(findings, ppu, RESULT_WARN, NAME_HOLDER, "its IOMMU group is held open by a process");
    }
}

void check_iommu_groups(struct examination *examination)
{
    if (!examination->is_looked_at || card_count(examination) == 0) {
        return;
    }
    struct card_findings findings = {0};
    for (int ppu = 0; ppu < examination->machine->topology.ppu_count; ppu++) {
        if (card_is_looked_at(examination, ppu) && card_at(examination, ppu)->state.iommu_group < 0) {
            card_findings_add(&findings, ppu, RESULT_FAIL,
                              "switch the IOMMU on in the firmware; on Intel also boot with intel_iommu=on",
                              "in no IOMMU group");
        }
    }
    card_findings_report(&findings, examination, CHECK_CARDS_GROUP, "each in an IOMMU group");
    check_group_members(examination);
    for (int ppu = 0; ppu < examination->machine->topology.ppu_count; ppu++) {
        if (!card_is_looked_at(examination, ppu)) {
            continue;
        }
        if (examination->groups[ppu] == GROUP_FORBIDDEN) {
            card_findings_add(&findings, ppu, RESULT_WARN, NEEDS_ROOT, "its IOMMU group viable or not");
        } else if (examination->groups[ppu] == GROUP_BUSY) {
            add_group_holder(&findings, ppu, examination);
        } else if (examination->groups[ppu] == GROUP_UNVIABLE) {
            card_findings_add(&findings, ppu, RESULT_FAIL, "bind all that is in the group to vfio-pci",
                              "its IOMMU group %d is not viable, says the kernel",
                              card_at(examination, ppu)->state.iommu_group);
        }
    }
    card_findings_report(&findings, examination, CHECK_CARDS_VIABLE, "every IOMMU group offered by vfio is viable");
}
