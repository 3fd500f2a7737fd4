/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/paths.h"
#include "base/text.h"
#include "core/ownership.h"
#include "doctor/checks.h"
#include "doctor/facts.h"
#include "engine/confirm.h"
#include "host/topology_file.h"
#include "registers/ppudbg.h"

/* The topology by itself, then whether the cards have their ids. */
static void check_topology(struct examination *examination, const struct machine *machine)
{
    struct report *report = &examination->report;
    const char *path = machine->settings.topology;
    CLEANUP_FREE char *resolved = paths_resolve("%s", path);
    CLEANUP_FREE struct topology *topology = memory_alloc(1, sizeof *topology);
    struct error err = {.text = ""};
    if (topology_file_load(resolved, topology, &err) < 0) {
        report_add(report, CHECK_CONFIGURATION_TOPOLOGY, RESULT_FAIL,
                   "take it from a host of the same model, or write it with icn-hook setup", "%s", err.text);
    } else {
        report_pass(report, CHECK_CONFIGURATION_TOPOLOGY, "%s is valid", path);
    }
    const char *reason = examination->survey_error.text;
    bool is_said = err.text[0] && strncmp(reason, err.text, strlen(err.text)) == 0;
    if (!examination->is_surveyed && !is_said) {
        report_add(report, CHECK_CONFIGURATION_IDS, RESULT_FAIL, "until then no VM with cards can start", "%s", reason);
    }
}

/* Cards that match and have no id: no VM may take them. */
static void check_unpinned(struct examination *examination, const struct machine *machine)
{
    CLEANUP_FREE struct bdf *cards = NULL;
    size_t count = 0;
    struct error err;
    if (machine_list_cards(machine, &cards, &count, &err) < 0) {
        report_add(&examination->report, CHECK_CONFIGURATION_PINS, RESULT_WARN, NULL, "%s", err.text);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        char bdf[BDF_TEXT_SIZE];
        if (machine_ppu_at(machine, cards[i]) < 0) {
            report_add(&examination->report, CHECK_CONFIGURATION_PINS, RESULT_WARN, "give it its id in [map]",
                       "%s matches %s and has no id: no VM can take it", bdf_format(cards[i], bdf),
                       machine->settings.match);
        }
    }
}

static void settings_check_ids(struct examination *examination, const struct machine *machine)
{
    struct report *report = &examination->report;
    int mapped = 0;
    for (int ppu = 0; ppu < machine->topology.ppu_count; ppu++) {
        mapped += machine->mapped[ppu];
    }
    if (mapped < machine->topology.ppu_count) {
        report_add(report, CHECK_CONFIGURATION_IDS, RESULT_WARN, "add lines to [map]",
                   "[map] pins %d of the topology's %d ids", mapped, machine->topology.ppu_count);
    } else {
        report_pass(report, CHECK_CONFIGURATION_IDS, "[map] pins all %d ids of the topology", mapped);
    }
    check_unpinned(examination, machine);
}

static void check_confirmed(struct examination *examination, const struct machine *machine)
{
    struct confirmed confirmed;
    char why[512];
    enum confirmation state = confirmation_look(machine, &confirmed, why);
    confirmed_free(&confirmed);
    if (state == CONFIRMATION_FINE) {
        report_pass(&examination->report, CHECK_CONFIGURATION_CONFIRMED, "%s", why);
        return;
    }
    bool is_failure = state == CONFIRMATION_FAILED || machine->settings.require_confirmed;
    report_add(&examination->report, CHECK_CONFIGURATION_CONFIRMED, is_failure ? RESULT_FAIL : RESULT_WARN,
               machine->settings.require_confirmed
                   ? "[policy] require_confirmed = yes: until then VMs with cards may be "
                     "refused"
                   : NULL,
               "%s", why);
}

/* False: it is there, and others can change it. */
static bool settings_path_is_safe(struct examination *examination, const char *path, const char *mode)
{
    if (!fact_exists("%s", path) || fact_is_safe(path)) {
        return true;
    }
    char remedy[64];
    snprintf(remedy, sizeof remedy, "chown root: it, and chmod %s", mode);
    report_add(&examination->report, CHECK_CONFIGURATION_PROTECTED, RESULT_FAIL, remedy,
               "users other than root can change %s", path);
    return false;
}

/* Who writes the configuration decides which links are cut. */
static void check_protected(struct examination *examination)
{
    const char *config = examination->config ? examination->config : PATH_SETTINGS;
    const char *topology = examination->machine ? examination->machine->settings.topology : PATH_TOPOLOGY;
    CLEANUP_FREE char *drop_ins = text_join(config, ".d");
    CLEANUP_FREE char *resolved = paths_resolve("%s", drop_ins);
    struct text_list names = {0};
    struct error err;
    bool is_safe = settings_path_is_safe(examination, config, "0644");
    is_safe &= settings_path_is_safe(examination, drop_ins, "0755");
    bool is_listed = file_list(resolved, &names, NULL, &err) == 0;
    for (size_t i = 0; is_listed && i < names.count; i++) {
        CLEANUP_FREE char *beginning = text_join(drop_ins, "/");
        CLEANUP_FREE char *path = text_join(beginning, names.items[i]);
        is_safe &= settings_path_is_safe(examination, path, "0644");
    }
    if (is_listed) {
        text_list_free(&names);
    }
    is_safe &= settings_path_is_safe(examination, topology, "0644");
    if (is_safe) {
        report_pass(&examination->report, CHECK_CONFIGURATION_PROTECTED, "only root can change it");
    }
}

void check_settings(struct examination *examination)
{
    struct report *report = &examination->report;
    const char *path = examination->config ? examination->config : PATH_SETTINGS;
    if (!examination->machine) {
        report_add(report, CHECK_CONFIGURATION_SETTINGS, RESULT_FAIL,
                   "correct it; until then no VM with cards can start", "%s", examination->settings_error.text);
    } else if (fact_exists("%s", path)) {
        report_pass(report, CHECK_CONFIGURATION_SETTINGS, "%s is valid", path);
    } else {
        report_pass(report, CHECK_CONFIGURATION_SETTINGS, "no %s: the defaults hold", path);
    }
    check_protected(examination);
    if (examination->machine) {
        check_topology(examination, examination->machine);
    }
    if (examination->machine && examination->is_surveyed) {
        settings_check_ids(examination, examination->machine);
        check_confirmed(examination, examination->machine);
    }
}

/* The tool talks to the cards, so it is asked only while no VM has one. */
static void check_answer(struct examination *examination)
{
    struct report *report = &examination->report;
    struct buffer output = {0};
    bool any_owner = false;
    for (int ppu = 0; examination->is_looked_at && ppu < examination->machine->topology.ppu_count; ppu++) {
        any_owner |= examination->session.owners.of[ppu] != OWNER_IDLE;
    }
    struct error err;
    if (geteuid() != 0 && !paths_simulated()) {
        report_add(report, CHECK_PPUDBG_ANSWERS, RESULT_WARN, NEEDS_ROOT, "whether it answers");
    } else if (any_owner) {
        report_pass(report, CHECK_PPUDBG_ANSWERS, "not asked while a VM has cards");
    } else if (ppudbg_read_topology(&examination->machine->settings, &output, &err) == 0) {
        report_pass(report, CHECK_PPUDBG_ANSWERS, "ppudbg --topo_read answers");
        buffer_free(&output);
    } else {
        report_add(report, CHECK_PPUDBG_ANSWERS, RESULT_FAIL, "ppudbg --topo_read needs the vendor's driver", "%s",
                   err.text);
    }
}

/* Of interest if it is what writes the registers, or lies there ready for that. */
void check_ppudbg(struct examination *examination)
{
    struct report *report = &examination->report;
    if (!examination->machine) {
        return;
    }
    const char *name = examination->machine->settings.ppudbg_path;
    bool is_backend = examination->machine->settings.backend == BACKEND_PPUDBG;
    CLEANUP_FREE char *path = paths_resolve_tool(examination->machine->settings.ppudbg_path);
    if (access(path, F_OK) < 0) {
        if (is_backend) {
            report_add(report, CHECK_PPUDBG_INSTALLED, RESULT_FAIL, "install it, or set path in [ppudbg]",
                       "%s, which is to write the registers, is not there", name);
        }
        return;
    }
    if (access(path, X_OK) < 0) {
        report_add(report, CHECK_PPUDBG_INSTALLED, is_backend ? RESULT_FAIL : RESULT_WARN, "chmod 0755 it",
                   "%s cannot be executed", name);
        return;
    }
    report_pass(report, CHECK_PPUDBG_INSTALLED, "%s can be executed", name);
    if (fact_is_safe(path)) {
        report_pass(report, CHECK_PPUDBG_PROTECTED, "only root can change it");
    } else {
        report_add(report, CHECK_PPUDBG_PROTECTED, RESULT_FAIL, "chown root: it, and chmod 0755",
                   "users other than root can change what root runs");
    }
    if (is_backend) {
        check_answer(examination);
    }
}
