/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <dirent.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "base/paths.h"
#include "doctor/checks.h"
#include "doctor/facts.h"

#define GROUP "iommu"

/* The kernel makes an entry for every IOMMU that it uses: dmar0, ivhd0, smmu3.… */
static int count_entries(const char *directory)
{
    CLEANUP_FREE char *path = paths_resolve("%s", directory);
    DIR *opened = opendir(path);
    const struct dirent *entry;
    int count = 0;
    while (opened && (entry = readdir(opened)) != NULL) {
        count += entry->d_name[0] != '.';
    }
    if (opened) {
        closedir(opened);
    }
    return count;
}

static void check_on(struct report *report)
{
    int count = count_entries("/sys/class/iommu");
    if (count > 0) {
        report_pass(report, GROUP, "on", "the kernel uses %d IOMMU%s", count, count > 1 ? "s" : "");
    } else {
        report_add(report, GROUP, "on", RESULT_FAIL,
                   "switch it on in the firmware; on Intel also boot with intel_iommu=on", "the kernel uses no IOMMU");
    }
}

static bool module_is_available(const char *list, const char *release)
{
    CLEANUP_FREE char *text = fact_text("/lib/modules/%s/%s", release, list);
    return text && (strstr(text, "/vfio-pci.ko") || strstr(text, "/vfio_pci.ko"));
}

static void check_module(struct report *report)
{
    CLEANUP_FREE char *release = fact_text(PATH_PROC "/sys/kernel/osrelease");
    if (fact_exists("/sys/module/vfio_pci") || fact_exists(PATH_SYSFS_PCI "/drivers/vfio-pci")) {
        report_pass(report, GROUP, "vfio", "vfio-pci is loaded");
    } else if (release &&
               (module_is_available("modules.dep", release) || module_is_available("modules.builtin", release))) {
        report_pass(report, GROUP, "vfio", "vfio-pci is available");
    } else {
        report_add(report, GROUP, "vfio", RESULT_FAIL, "install the kernel's modules; modprobe vfio-pci",
                   "vfio-pci is neither loaded nor installed");
    }
}

/* Two switches that make groups or interrupts look safer than they are. */
static void check_switches(struct report *report)
{
    CLEANUP_FREE char *unsafe = fact_text("/sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts");
    CLEANUP_FREE char *command_line = fact_text(PATH_PROC "/cmdline");
    bool overrides = command_line && strstr(command_line, "pcie_acs_override");
    if (unsafe && unsafe[0] == 'Y') {
        report_add(report, GROUP, "safe", RESULT_WARN, "take allow_unsafe_interrupts=1 out of modprobe.d",
                   "vfio lets guests forge interrupts (allow_unsafe_interrupts)");
    }
    if (overrides) {
        report_add(report, GROUP, "safe", RESULT_WARN, "boot without pcie_acs_override",
                   "IOMMU groups are split by force (pcie_acs_override)");
    }
    if (!overrides && !(unsafe && unsafe[0] == 'Y')) {
        report_pass(report, GROUP, "safe", "isolation between groups is not overridden");
    }
}

void check_iommu(struct examination *examination)
{
    check_on(&examination->report);
    check_module(&examination->report);
    check_switches(&examination->report);
}
