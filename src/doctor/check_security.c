/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>

#include "base/memory.h"
#include "base/paths.h"
#include "base/text.h"
#include "doctor/checks.h"
#include "doctor/facts.h"

/* NULL: none. */
static const char *confined_daemon(void)
{
    struct daemon daemons[DAEMON_MAX];
    int count = daemon_find(daemons);
    for (int i = 0; i < count; i++) {
        CLEANUP_FREE char *label = fact_text(PATH_PROC "/%ld/attr/current", (long)daemons[i].pid);
        if (label && strstr(label, "(enforce)")) {
            return daemons[i].name;
        }
    }
    return NULL;
}

/* The profile of libvirtd and that of virtqemud (usr.sbin.libvirtd of Debian's libvirt
 * 9.0 and 11.3) run hooks within themselves, and let go of programs of these
 * directories: the engine, and with it ppudbg wherever it lies, is not confined.
 * Nothing else can be executed. */
const char *security_confining_daemon(const char *path)
{
    static const char *const directories[] = {"/bin/", "/sbin/", "/usr/bin/", "/usr/sbin/"};
    static const char hooks[] = "/etc/libvirt/hooks/";
    for (size_t i = 0; i < sizeof directories / sizeof directories[0]; i++) {
        size_t length = strlen(directories[i]);
        if (strncmp(path, directories[i], length) == 0 && !strchr(path + length, '/')) {
            return NULL;
        }
    }
    return strncmp(path, hooks, sizeof hooks - 1) == 0 ? NULL : confined_daemon();
}

/* A profile judges a link by what it leads to. */
static void check_apparmor(struct report *report)
{
    const char *daemon = confined_daemon();
    CLEANUP_FREE char *hook = hook_place();
    CLEANUP_FREE char *target = hook ? fact_target(hook) : NULL;
    if (target && security_confining_daemon(target)) {
        report_add(report, CHECK_SECURITY_APPARMOR, RESULT_FAIL,
                   "put a copy in its place: no VM can start before that, and libvirt says `Permission denied`",
                   "%s is a link to %s, and %s's AppArmor profile does not let that run", hook, target, daemon);
    } else if (daemon) {
        report_pass(report, CHECK_SECURITY_APPARMOR, "%s's AppArmor profile lets hooks run", daemon);
    }
}

/* The label that Fedora's policy has for files below /etc/libvirt/hooks; RHEL 9's has
 * none of its own, and does not confine the daemon. */
static void check_selinux(struct examination *examination)
{
    CLEANUP_FREE char *enforce = fact_text("/sys/fs/selinux/enforce");
    CLEANUP_FREE char *hook = hook_place();
    char label[256] = "";
    if (!enforce || enforce[0] != '1' || !hook) {
        return;
    }
    CLEANUP_FREE char *path = paths_resolve("%s", hook);
    ssize_t length = getxattr(path, "security.selinux", label, sizeof label - 1);
    if (length > 0 && strstr(label, "virt_hook")) {
        report_pass(&examination->report, CHECK_SECURITY_SELINUX, "SELinux is enforced, and the hook has its label");
    } else {
        CLEANUP_FREE char *remedy = text_join("restorecon -v ", hook);
        report_add(&examination->report, CHECK_SECURITY_SELINUX, RESULT_WARN, remedy,
                   "SELinux is enforced, and the hook is not labelled virt_hook_t");
    }
}

void check_security(struct examination *examination)
{
    struct report *report = &examination->report;
    /* kernel_lockdown(7): mapping a PCI resource is refused in both levels. */
    CLEANUP_FREE char *levels = fact_text("/sys/kernel/security/lockdown");
    bool is_locked = levels && (strstr(levels, "[integrity]") || strstr(levels, "[confidentiality]"));
    if (is_locked && examination->machine && examination->machine->settings.backend == BACKEND_MMIO) {
        report_add(report, CHECK_SECURITY_LOCKDOWN, RESULT_FAIL, "boot without lockdown (often: Secure Boot off)",
                   "the kernel is locked down: no register can be mapped");
    } else if (is_locked) {
        report_pass(report, CHECK_SECURITY_LOCKDOWN, "the kernel is locked down; no register is mapped here");
    } else {
        report_pass(report, CHECK_SECURITY_LOCKDOWN, "the kernel is not locked down");
    }
    /* With IO_STRICT_DEVMEM a BAR that a driver claimed cannot be mapped: masks of cards
     * in use stay unread, and a root process cannot rewrite them either. */
    CLEANUP_FREE char *release = fact_text(PATH_PROC "/sys/kernel/osrelease");
    CLEANUP_FREE char *command_line = fact_text(PATH_PROC "/cmdline");
    CLEANUP_FREE char *config = release ? fact_text("/boot/config-%s", release) : NULL;
    if (command_line && strstr(command_line, "iomem=relaxed")) {
        report_add(report, CHECK_SECURITY_DEVMEM, RESULT_WARN, "boot without iomem=relaxed",
                   "registers of cards in use are open to every root process");
    } else if (config && strstr(config, "\nCONFIG_IO_STRICT_DEVMEM=y")) {
        report_pass(report, CHECK_SECURITY_DEVMEM, "registers of cards in use are closed (IO_STRICT_DEVMEM)");
    } else {
        report_pass(report, CHECK_SECURITY_DEVMEM, "iomem=relaxed is not set");
    }
    check_apparmor(report);
    check_selinux(examination);
}
