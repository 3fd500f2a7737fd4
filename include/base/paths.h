/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>

/*
 * The one place that spells absolute paths.  ICN_SYSROOT in the environment
 * re-roots all of them, in hook mode and in every verb, so that a directory
 * tree is a simulated host (contract).
 */
#define PATH_PCI_DEVICES "/sys/bus/pci/devices"
#define PATH_MDEV_DEVICES "/sys/bus/mdev/devices"
#define PATH_SYSFS_PCI "/sys/bus/pci"
#define PATH_STATE "/run/icn-hook"
#define PATH_LIBRARY "/var/lib/icn-hook"
#define PATH_LIBVIRT_STATUS "/run/libvirt/qemu"
#define PATH_PROC "/proc"
#define PATH_BOOT_ID "/proc/sys/kernel/random/boot_id"
#define PATH_SETTINGS "/etc/icn-hook/icn-hook.conf"
#define PATH_TOPOLOGY "/etc/icn-hook/icn_topo.cfg"
#define PATH_LOGINUID "/proc/self/loginuid"
#define PATH_JOURNAL_SOCKET "/run/systemd/journal/socket"
#define PATH_SYSLOG_SOCKET "/dev/log"
#define PATH_SIMULATED_LOG "/var/log/icn-hook.log"

/* True when ICN_SYSROOT is set and not empty. */
bool paths_simulated(void);

/* The sysroot, without a trailing slash; "" on a real host. */
const char *paths_sysroot(void);

/* PATH (absolute, formatted) under the sysroot; a path that already lies under
 * the sysroot stays as it is.  Owned by the caller. */
char *paths_resolve(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The program TOOL (absolute) of the vendor under the sysroot.  A simulated host may name a stand-in
 * that lies outside its own tree.  Owned by the caller. */
char *paths_resolve_tool(const char *tool);
