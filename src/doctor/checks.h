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
void check_state(struct examination *examination);
void check_libvirt(struct examination *examination);

/* Asks the kernel about the cards' IOMMU groups; while the session is locked. */
void iommu_groups_ask(struct examination *examination);

/* Parts of these that concern a domain before its start. */
void check_virtual_functions(struct examination *examination);
void check_group_members(struct examination *examination);

/* What one check finds at each card.  A host may have 128 of them: the cards at
 * which nothing is wrong make one line together, and so do those that have the
 * very same thing wrong. */
struct card_findings {
    struct card_finding {
        int ppu;
        enum finding_result result;
        char *text;         /* owned */
        const char *remedy; /* static text, or NULL */
    } * items;
    size_t count;
};

/* The card is one that the examination is about. */
bool card_concerns(const struct examination *examination, int ppu);
/* … and is on the bus. */
bool card_is_looked_at(const struct examination *examination, int ppu);
/* The domain that the examination is about takes FUNCTION; false without one. */
bool card_function_is_taken(const struct examination *examination, struct bdf function);
const struct card *card_at(const struct examination *examination, int ppu);
/* How many these are. */
int card_count(const struct examination *examination);

void card_findings_add(struct card_findings *findings, int ppu, enum finding_result result, const char *remedy,
                       const char *format, ...) PRINTF_LIKE(5, 6);

/* Reports them, or, if there is none, PASS with the text (formatted).  Frees FINDINGS. */
void card_findings_report(struct card_findings *findings, struct examination *examination, enum check check,
                          const char *format, ...) PRINTF_LIKE(4, 5);

/* The daemon of libvirt that AppArmor confines so that its hook may not be, or start, the
 * program PATH; NULL: none. */
const char *security_confining_daemon(const char *path);

/* Where the first hook of ours is, on the host; owned; NULL: there is none, or it is hidden. */
char *hook_place(void);

/* Both places of vfio: groups, and devices through iommufd. */
#define NAME_HOLDER "fuser -v /dev/vfio/* /dev/vfio/devices/* as root names the process"
#define NEEDS_ROOT "needs root to look: run icn-hook doctor as root"
