/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/paths.h"
#include "doctor/checks.h"
#include "doctor/facts.h"
#include "engine/links.h"

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
        report_pass(&examination->report, CHECK_CARDS_DRIVER, "drivers: %s", text);
    }
}

static void check_registers(struct examination *examination)
{
    struct card_findings findings = {0};
    int read = 0;
    int held = 0;
    for (int ppu = 0; ppu < examination->machine->topology.ppu_count; ppu++) {
        const struct reading *reading = &card_at(examination, ppu)->reading;
        bool is_held = examination->session.owners.held[ppu];
        if (!card_is_looked_at(examination, ppu)) {
            continue;
        }
        read += session_is_read(&examination->session, ppu);
        held += is_held;
        /* What QEMU has open nobody else can read. */
        if (reading->kind == READING_UNVERIFIABLE && !is_held) {
            card_findings_add(&findings, ppu, RESULT_WARN,
                              "it is read when a VM starts; --probe CARD tries an idle card", "%s", reading->why);
        } else if (reading->kind == READING_GONE) {
            card_findings_add(&findings, ppu, RESULT_FAIL, "no VM can take it before it answers", "%s", reading->why);
        } else if (reading->kind == READING_FAILED && strstr(reading->why, "(this needs root)")) {
            card_findings_add(&findings, ppu, RESULT_WARN, NEEDS_ROOT, "%s", "its registers");
        } else if (reading->kind == READING_FAILED) {
            /* What is to be done is part of it. */
            card_findings_add(&findings, ppu, RESULT_FAIL, "no VM can take it before that is corrected", "%s",
                              reading->why);
        }
    }
    if (read == 0 && findings.count == 0) {
        report_add(&examination->report, CHECK_CARDS_REGISTERS, RESULT_WARN,
                   "icn-hook check shows what was read back when their VMs started",
                   "no register can be read now: every card is in use, or absent");
        return;
    }
    card_findings_report(&findings, examination, CHECK_CARDS_REGISTERS,
                         held > 0 ? "registers that can be read: %d; cards in use: %d" : "%d registers can be read",
                         read, held);
}

/* Whether one of the card's links is judged so. */
static bool any_link(const struct examination *examination, int ppu, enum verdict verdict)
{
    for (int link = 0; link < LINK_MAX; link++) {
        if (examination->machine->topology.peer[ppu][link] != NO_PEER &&
            link_look(&examination->session, ppu, link).verdict == verdict) {
            return true;
        }
    }
    return false;
}

static void cards_check_links(struct examination *examination)
{
    struct card_findings findings = {0};
    struct coverage coverage = coverage_count(&examination->session);
    for (int ppu = 0; ppu < examination->machine->topology.ppu_count; ppu++) {
        if (card_is_looked_at(examination, ppu)) {
            /* The worst that is known of the card's links. */
            if (any_link(examination, ppu, VERDICT_LEAK)) {
                card_findings_add(&findings, ppu, RESULT_FAIL,
                                  "icn-hook repair; stop the VM if the link stays open (icn-hook check names it)",
                                  "an open link across a VM's boundary");
            } else if (links_missing(&examination->session, ppu) != 0) {
                card_findings_add(&findings, ppu, RESULT_FAIL, "icn-hook repair; icn-hook check names the masks",
                                  "cuts are missing");
            } else if (links_no_gate(&examination->session, ppu)) {
                card_findings_add(&findings, ppu, RESULT_WARN, "restart the VM to have its cuts verified",
                                  "not read back for its VM before QEMU opened it");
            } else if (any_link(examination, ppu, VERDICT_UNVERIFIED)) {
                card_findings_add(&findings, ppu, RESULT_WARN,
                                  "icn-hook check names them; restart the VM to have them verified",
                                  "links that must be cut, and nothing shows that they are");
            }
        }
    }
    card_findings_report(&findings, examination, CHECK_CARDS_LINKS,
                         coverage.required == 0 ? "no link has to be cut"
                                                : "links that must be cut: %d (proven %d, gated %d)",
                         coverage.required, coverage.proven, coverage.gated);
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
        /* A domain that takes a virtual function wants them enabled. */
        bool counts = card_is_looked_at(examination, ppu) &&
                      (!examination->cards || card_function_is_taken(examination, examination->machine->card[ppu]));
        int count = counts ? virtual_functions(examination, ppu) : 0;
        if (count > 0 && !examination->cards && card_at(examination, ppu)->reading.is_kept) {
            card_findings_add(
                &findings, ppu, RESULT_WARN,
                "set backend = ppudbg in [registers]; to pass it as a whole, echo 0 into its sriov_numvfs",
                "%d virtual functions are enabled, and no VM can take one: driver %s keeps the registers", count,
                card_at(examination, ppu)->state.driver);
        } else if (count > 0) {
            card_findings_add(&findings, ppu, RESULT_WARN,
                              "echo 0 into its sriov_numvfs before it is passed as a whole",
                              "%d virtual functions are enabled", count);
        }
    }
    card_findings_report(&findings, examination, CHECK_CARDS_SRIOV, "no virtual functions are enabled");
}

void check_cards(struct examination *examination)
{
    if (!examination->is_looked_at || card_count(examination) == 0) {
        return;
    }
    struct card_findings findings = {0};
    for (int ppu = 0; ppu < examination->machine->topology.ppu_count; ppu++) {
        if (card_concerns(examination, ppu) && !card_at(examination, ppu)->state.present) {
            card_findings_add(&findings, ppu, RESULT_FAIL, "check that it is plugged in and powered, or correct [map]",
                              "not on the PCI bus");
        }
    }
    card_findings_report(&findings, examination, CHECK_CARDS_PRESENT, "%d on the PCI bus", card_count(examination));
    check_drivers(examination);
    check_registers(examination);
    cards_check_links(examination);
    check_virtual_functions(examination);
}
