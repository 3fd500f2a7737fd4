/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/paths.h"
#include "doctor/checks.h"
#include "doctor/facts.h"
#include "engine/link_state.h"

#define GROUP "cards"

static void check_present(struct examination *examination)
{
    struct card_findings findings = {0};
    for (int ppu = 0; ppu < examination->machine->topology.ppu_count; ppu++) {
        if (card_concerns(examination, ppu) && !card_at(examination, ppu)->state.present) {
            card_findings_add(&findings, ppu, RESULT_FAIL, "check that it is plugged in and powered, or correct [map]",
                              "not on the PCI bus");
        }
    }
    card_findings_report(&findings, examination, GROUP, "present", "%d on the PCI bus", card_count(examination));
}

/* "vfio-pci 2, none 6", in the order of the cards. */
static void check_drivers(struct examination *examination)
{
    char text[256] = "";
    int count = examination->machine->topology.ppu_count;
    for (int ppu = 0; ppu < count; ppu++) {
        const char *driver = card_at(examination, ppu)->state.driver;
        int same = 0;
        bool was_counted = false;
        for (int other = 0; other < count && card_is_looked_at(examination, ppu); other++) {
            bool is_same =
                card_is_looked_at(examination, other) && strcmp(card_at(examination, other)->state.driver, driver) == 0;
            was_counted |= is_same && other < ppu;
            same += is_same;
        }
        if (same > 0 && !was_counted) {
            size_t used = strlen(text);
            snprintf(text + used, sizeof text - used, "%s%s %d", used > 0 ? ", " : "", driver[0] ? driver : "none",
                     same);
        }
    }
    if (text[0]) {
        report_pass(&examination->report, GROUP, "driver", "drivers: %s", text);
    }
}

static void judge_reading(struct card_findings *findings, const struct card *card, int ppu)
{
    switch (card->reading.kind) {
    case READING_FINE:
        return;
    case READING_UNVERIFIABLE:
        /* What QEMU has open nobody else can read. */
        if (!card->held) {
            card_findings_add(findings, ppu, RESULT_WARN,
                              "it is read when a VM starts; --probe CARD tries an idle card", "%s", card->reading.why);
        }
        return;
    case READING_GONE:
        card_findings_add(findings, ppu, RESULT_FAIL, "no VM can take it before it answers", "%s", card->reading.why);
        return;
    case READING_FAILED:
        if (strstr(card->reading.why, "(this needs root)")) {
            card_findings_add(findings, ppu, RESULT_WARN, NEEDS_ROOT, "%s", "its registers");
        } else {
            card_findings_add(findings, ppu, RESULT_FAIL, "compare [registers] with the hardware's description", "%s",
                              card->reading.why);
        }
        return;
    }
}

static void check_registers(struct examination *examination)
{
    struct card_findings findings = {0};
    int read = 0;
    int held = 0;
    if (!examination->inspection.registers.backend->reads_back) {
        report_add(&examination->report, GROUP, "registers", RESULT_WARN,
                   "set backend = mmio if the registers are known",
                   "backend ppudbg cannot read single registers: nothing is verified");
        return;
    }
    for (int ppu = 0; ppu < examination->machine->topology.ppu_count; ppu++) {
        const struct card *card = card_at(examination, ppu);
        if (card_is_looked_at(examination, ppu)) {
            read += card->reading.kind == READING_FINE;
            held += card->held;
            judge_reading(&findings, card, ppu);
        }
    }
    card_findings_report(&findings, examination, GROUP, "registers",
                         held > 0 ? "%d registers answer, %d in use" : "%d registers answer", read, held);
}

static bool leaks(const struct examination *examination, int ppu)
{
    bool leak = false;
    for (int link = 0; link < LINK_MAX; link++) {
        leak |= link_leaks(examination->inspection.snapshot, examination->inspection.owners, ppu, link);
    }
    return leak;
}

static void cards_check_links(struct examination *examination)
{
    struct card_findings findings = {0};
    for (int ppu = 0; ppu < examination->machine->topology.ppu_count; ppu++) {
        if (!card_is_looked_at(examination, ppu)) {
            continue;
        }
        if (leaks(examination, ppu)) {
            card_findings_add(&findings, ppu, RESULT_FAIL, "stop the VM; icn-hook check names the links",
                              "a link leads out of its VM");
        } else if (inspection_drifts(&examination->inspection, ppu)) {
            card_findings_add(&findings, ppu, RESULT_FAIL, "icn-hook check names the masks; restart the VM",
                              "lacks cuts");
        }
    }
    card_findings_report(&findings, examination, GROUP, "links", "no link that must be cut is known to be open");
}

/* sriov_numvfs is the kernel's count; virtfnN links are the functions themselves. */
static int virtual_functions(const struct examination *examination, int ppu)
{
    char bdf[BDF_TEXT_SIZE];
    struct bdf *functions = NULL;
    size_t links = 0;
    struct bdf card = examination->machine->card[ppu];
    char *text = fact_text(PATH_PCI_DEVICES "/%s/sriov_numvfs", bdf_format(card, bdf));
    int count = text ? (int)strtol(text, NULL, 10) : 0;
    sysfs_virtual_functions(card, &functions, &links);
    free(functions);
    free(text);
    return count > (int)links ? count : (int)links;
}

void check_virtual_functions(struct examination *examination)
{
    struct card_findings findings = {0};
    for (int ppu = 0; ppu < examination->machine->topology.ppu_count; ppu++) {
        int count = card_is_looked_at(examination, ppu) ? virtual_functions(examination, ppu) : 0;
        if (count > 0) {
            card_findings_add(&findings, ppu, RESULT_WARN,
                              "echo 0 into its sriov_numvfs before it is passed as a whole",
                              "%d virtual functions are enabled", count);
        }
    }
    card_findings_report(&findings, examination, GROUP, "sriov", "no virtual functions are enabled");
}

void check_cards(struct examination *examination)
{
    if (!examination->is_inspected || card_count(examination) == 0) {
        return;
    }
    check_present(examination);
    check_drivers(examination);
    check_registers(examination);
    cards_check_links(examination);
    check_virtual_functions(examination);
}
