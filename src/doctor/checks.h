/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "doctor/examination.h"

/* One group of checks each; each adds its findings to the report. */
void check_hook(struct examination *examination);
void check_settings(struct examination *examination);
void check_cards(struct examination *examination);
void check_iommu_groups(struct examination *examination);
void check_iommu(struct examination *examination);
void check_ppudbg(struct examination *examination);
void check_security(struct examination *examination);
void check_ledger(struct examination *examination);
void check_libvirt(struct examination *examination);

/* Parts of these that concern a domain before its start. */
void check_virtual_functions(struct examination *examination);
void check_group_members(struct examination *examination);

/* False if libvirt's daemon is confined by AppArmor, and its hook may not start the
 * program PATH. */
bool security_lets_hook_run(const char *path);

#define NEEDS_ROOT "needs root to look: run icn-hook doctor as root"
