/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/machine.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/memory.h"
#include "base/paths.h"
#include "engine/identity.h"
#include "host/topology_file.h"

static char *settings_path(const char *config)
{
    return config ? memory_copy_text(config) : paths_resolve(PATH_SETTINGS);
}

/* WITHOUT: a drop-in that is not read, or NULL. */
static int open_settings(const char *config, const char *without, struct machine **machine, struct error *err)
{
    CLEANUP_FREE char *path = settings_path(config);
    const char *reason;
    struct machine *opened = memory_alloc(1, sizeof *opened);
    /* The usual file may be missing, and means the defaults; one that was asked for must be there. */
    if (config && access(config, F_OK) < 0) {
        error_set_errno(err, STATUS_INVALID, errno, "cannot open the configuration %s", config);
        goto failed;
    }
    int result = without ? settings_load_with(path, without, NULL, &opened->settings, err)
                         : settings_load(path, &opened->settings, err);
    if (result < 0) {
        error_set(err, err->status, "%s; correct the configuration", err->text);
        goto failed;
    }
    if (!pci_match_is_valid(opened->settings.match, &reason)) {
        error_set(err, STATUS_INVALID, "%s: [ppu] match = %s: %s; correct the configuration", path,
                  opened->settings.match, reason);
        goto failed;
    }
    if (pci_open(opened->settings.match, &opened->pci, err) < 0) {
        goto failed;
    }
    *machine = opened;
    return 0;
failed:
    machine_close(opened);
    return -1;
}

int machine_open(const char *config, struct machine **machine, struct error *err)
{
    return open_settings(config, NULL, machine, err);
}

int machine_open_without(const char *config, const char *drop_in, struct machine **machine, struct error *err)
{
    return open_settings(config, drop_in, machine, err);
}

bool machine_open_salvaged(const char *config, struct machine **machine)
{
    CLEANUP_FREE char *path = settings_path(config);
    const char *reason;
    struct error ignored;
    struct machine *opened = memory_alloc(1, sizeof *opened);
    settings_default(&opened->settings);
    if (!settings_salvage_match(path, opened->settings.match) || !pci_match_is_valid(opened->settings.match, &reason) ||
        pci_open(opened->settings.match, &opened->pci, &ignored) < 0) {
        machine_close(opened);
        return false;
    }
    *machine = opened;
    return true;
}

void machine_close(struct machine *machine)
{
    if (machine) {
        pci_close(machine->pci);
        settings_free(&machine->settings);
        free(machine);
    }
}

static int map_pinned(struct machine *machine, struct error *err)
{
    for (int i = 0; i < machine->settings.map_count; i++) {
        const struct settings_pin *pin = &machine->settings.map[i];
        char bdf[BDF_TEXT_SIZE];
        if (pin->ppu >= machine->topology.ppu_count) {
            return error_set(
                err, STATUS_INVALID, "[map] %d = %s: the topology %s has only the PPUs 0 to %d; correct one of the two",
                pin->ppu, bdf_format(pin->bdf, bdf), machine->settings.topology, machine->topology.ppu_count - 1);
        }
        machine->mapped[pin->ppu] = true;
        machine->card[pin->ppu] = pin->bdf;
    }
    return 0;
}

int machine_list_cards(const struct machine *machine, struct bdf **cards, size_t *count, struct error *err)
{
    return pci_list_matching(machine->pci, cards, count, err);
}

int machine_survey_without_topology(struct machine *machine, struct error *err)
{
    CLEANUP_FREE struct bdf *cards = NULL;
    size_t count;
    if (machine_list_cards(machine, &cards, &count, err) < 0) {
        return -1;
    }
    if (count > PPU_MAX) {
        return error_set(err, STATUS_INVALID, "%zu cards match %s, more than %d", count, machine->settings.match,
                         PPU_MAX);
    }
    topology_clear(&machine->topology, (int)count);
    for (size_t i = 0; i < count; i++) {
        machine->mapped[i] = true;
        machine->card[i] = cards[i];
    }
    return 0;
}

/* What the settings say of links beyond the topology: a bit of the register that is a link there is external, because
 * nobody knows where it leads; and [links] tells which ends belong together. */
static int apply_link_settings(struct machine *machine, struct error *err)
{
    struct topology *topology = &machine->topology;
    uint32_t bits = machine->settings.links;
    for (int ppu = 0; bits != LINKS_OF_TOPOLOGY && ppu < topology->ppu_count; ppu++) {
        uint32_t known = topology_links(topology, ppu);
        for (int link = 0; link < LINK_MAX; link++) {
            uint32_t bit = UINT32_C(1) << link;
            if ((known & ~bits & bit) != 0) {
                return error_set(err, STATUS_INVALID,
                                 "[registers] links = 0x%" PRIx32 ": the topology %s has link %d of PPU %d, whose bit "
                                 "is not among them; correct one of the two",
                                 bits, machine->settings.topology, link, ppu);
            }
            if ((bits & ~known & bit) != 0) {
                topology->peer[ppu][link] = EXTERNAL_PEER;
            }
        }
    }
    for (int i = 0; i < machine->settings.join_count; i++) {
        const struct settings_join *join = &machine->settings.joins[i];
        if (join->ppu >= topology->ppu_count || join->peer >= topology->ppu_count ||
            topology->peer[join->ppu][join->link] != join->peer ||
            topology->peer[join->peer][join->peer_link] != join->ppu) {
            return error_set(err, STATUS_INVALID,
                             "[links] %d.%d = %d.%d: in the topology %s these two are not ends of links between PPU %d "
                             "and PPU %d; correct one of the two",
                             join->ppu, join->link, join->peer, join->peer_link, machine->settings.topology, join->ppu,
                             join->peer);
        }
        topology->peer_link[join->ppu][join->link] = (int16_t)join->peer_link;
        topology->peer_link[join->peer][join->peer_link] = (int16_t)join->link;
    }
    return 0;
}

int machine_survey(struct machine *machine, struct error *err)
{
    CLEANUP_FREE char *path = paths_resolve("%s", machine->settings.topology);
    if (machine->settings.map_count == 0) {
        return error_set(err, STATUS_INVALID,
                         "no [map] in the configuration says which card is which PPU; run icn-hook setup");
    }
    struct error fault = {.status = STATUS_OK};
    if (identity_check_cards(machine, &fault) < 0) {
        if (!machine->is_lenient) {
            *err = fault;
            return -1;
        }
        machine->fault = fault;
    }
    if (topology_file_load(path, &machine->topology, err) < 0) {
        return error_set(err, err->status, "%s; correct the topology, or write it anew with ppudbg --topo_read",
                         err->text);
    }
    if (apply_link_settings(machine, err) < 0 || map_pinned(machine, err) < 0) {
        return -1;
    }
    machine->has_ids = true;
    log_message(LOG_LEVEL_INFO, "topology %s: %d PPUs, of which [map] pins %d", path, machine->topology.ppu_count,
                machine->settings.map_count);
    return 0;
}

bool machine_is_sure(const struct machine *machine, int ppu)
{
    return machine->fault.status == STATUS_OK || machine->pins[ppu] == PIN_FINE;
}

const char *machine_serial(const struct machine *machine, int ppu)
{
    for (int i = 0; i < machine->settings.map_count; i++) {
        const struct settings_pin *pin = &machine->settings.map[i];
        if (pin->ppu == ppu && machine->mapped[ppu] && bdf_compare(pin->bdf, machine->card[ppu]) == 0) {
            return pin->serial[0] ? pin->serial : NULL;
        }
    }
    return NULL;
}

int machine_ppu_at(const struct machine *machine, struct bdf card)
{
    for (int ppu = 0; ppu < machine->topology.ppu_count; ppu++) {
        if (machine->mapped[ppu] && bdf_compare(machine->card[ppu], card) == 0) {
            return ppu;
        }
    }
    return -1;
}

const char *machine_card_text(const struct machine *machine, int ppu, char text[CARD_TEXT_SIZE])
{
    char bdf[BDF_TEXT_SIZE] = "no card";
    if (machine->mapped[ppu]) {
        bdf_format(machine->card[ppu], bdf);
    }
    snprintf(text, CARD_TEXT_SIZE, "PPU %d (%s)", ppu, bdf);
    return text;
}

const char *machine_ids_text(const struct machine *machine, const bool set[], char text[IDS_TEXT_SIZE])
{
    int count = machine->topology.ppu_count;
    size_t used = 0;
    text[0] = '\0';
    for (int first = 0; first < count; first++) {
        int last = first;
        if (!set[first]) {
            continue;
        }
        while (last + 1 < count && set[last + 1]) {
            last++;
        }
        used += (size_t)snprintf(text + used, IDS_TEXT_SIZE - used, "%s%d", used > 0 ? "," : "", first);
        if (last > first) {
            used += (size_t)snprintf(text + used, IDS_TEXT_SIZE - used, "%s%d", last > first + 1 ? "-" : ",", last);
        }
        first = last;
    }
    return text;
}
