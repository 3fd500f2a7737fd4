/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A topology that lacks a link is dangerous: what is not in it is never cut.  The
 * tool sees only open links, so nobody may own a card while it looks, cards without
 * owner may not be isolated, and links that the present file has and the tool did not
 * see are reported.
 */
#include "engine/generation.h"

#include "base/memory.h"
#include "base/paths.h"
#include "core/mask.h"
#include "engine/inspection.h"
#include "host/topology_file.h"
#include "registers/ppudbg.h"

static int check_idle(const struct inspection *inspection, struct error *err)
{
    const struct machine *machine = inspection->machine;
    char bdf[BDF_TEXT_SIZE];
    const struct error *doubt = snapshot_doubt(inspection->snapshot, "");
    if (machine->settings.idle == IDLE_ISOLATE) {
        return error_set(err, STATUS_INVALID,
                         "with idle = isolate links are cut, and ppudbg sees no links that are cut; set idle = restore "
                         "in [policy], run icn-hook reset, and then this");
    }
    if (doubt) {
        return error_set(err, STATUS_CONFLICT, "%s; it may hide a VM whose links are cut, which ppudbg would not see",
                         doubt->text);
    }
    if (inspection->snapshot->claim_count > 0) {
        const struct claim *claim = &inspection->snapshot->claims[0];
        const struct tenant *tenant = &inspection->snapshot->tenants[claim->tenant];
        return error_set(err, STATUS_CONFLICT,
                         "%s '%s' has the card %s; %s it first: ppudbg sees no links that are cut",
                         tenant->manual ? "the group" : "VM", tenant->name, bdf_format(machine->card[claim->ppu], bdf),
                         tenant->manual ? "release" : "stop");
    }
    for (int ppu = 0; ppu < machine->topology.ppu_count; ppu++) {
        if (inspection->owners[ppu] == OWNER_UNKNOWN) {
            return error_set(
                err, STATUS_CONFLICT,
                "the card %s is held open by a process that is no libvirt VM; end it first: ppudbg sees no "
                "links that are cut",
                bdf_format(machine->card[ppu], bdf));
        }
    }
    return 0;
}

static void warn_of_leftovers(const struct snapshot *snapshot, struct text_list *warnings)
{
    for (size_t i = 0; i < snapshot->tenant_count; i++) {
        text_list_add(warnings,
                      "links of '%s', which is gone, may still be cut and missing in this topology; run icn-hook reset "
                      "and generate it again",
                      snapshot->tenants[i].name);
    }
}

static void warn_of_missing_links(const struct machine *machine, struct generation *generation)
{
    CLEANUP_FREE char *path = paths_resolve("%s", machine->settings.topology);
    CLEANUP_FREE struct topology *present = memory_alloc(1, sizeof *present);
    struct error ignored;
    if (topology_file_load(path, present, &ignored) < 0) {
        return;
    }
    for (int ppu = 0; ppu < present->ppu_count; ppu++) {
        bool is_there = ppu < generation->topology.ppu_count;
        uint32_t missing = topology_links(present, ppu) & ~(is_there ? topology_links(&generation->topology, ppu) : 0);
        for (int link = 0; link < LINK_MAX; link++) {
            if ((missing >> link & 1) != 0) {
                text_list_add(&generation->warnings,
                              "ppudbg did not see PPU %d link %d -> PPU %d, which %s had: was it cut?", ppu, link,
                              present->peer[ppu][link], path);
            }
        }
    }
}

static void warn_of_numbers(const struct machine *machine, struct generation *generation)
{
    if (machine->topology.ppu_count != generation->topology.ppu_count) {
        text_list_add(&generation->warnings, "ppudbg tells of %d cards, but %d match %s",
                      generation->topology.ppu_count, machine->topology.ppu_count, machine->settings.match);
    }
}

/* Several cards without a link are not joined by ICN, or it could not be seen. */
static int check_links(const struct topology *topology, struct error *err)
{
    uint32_t links = 0;
    for (int ppu = 0; ppu < topology->ppu_count; ppu++) {
        links |= topology_links(topology, ppu);
    }
    if (links == 0 && topology->ppu_count > 1) {
        return error_set(err, STATUS_INVALID,
                         "ppudbg --topo_read shows %d cards and no link: all links are cut, or the vendor's driver has "
                         "not initialised them",
                         topology->ppu_count);
    }
    return 0;
}

static int generate(const struct inspection *inspection, struct generation *generation, struct error *err)
{
    const struct settings *settings = &inspection->machine->settings;
    if (check_idle(inspection, err) < 0 || ppudbg_read_topology(settings, &generation->text, err) < 0 ||
        topology_file_parse(generation->text.data, generation->text.length, "output of ppudbg --topo_read",
                            &generation->topology, err) < 0 ||
        check_links(&generation->topology, err) < 0) {
        return -1;
    }
    warn_of_leftovers(inspection->snapshot, &generation->warnings);
    warn_of_numbers(inspection->machine, generation);
    warn_of_missing_links(inspection->machine, generation);
    return 0;
}

int generation_make(struct machine *machine, struct generation *generation, struct error *err)
{
    struct inspection inspection;
    struct generation made = {0};
    if (machine_survey_without_topology(machine, err) < 0 || inspection_open(&inspection, machine, err) < 0) {
        return -1;
    }
    int result = generate(&inspection, &made, err);
    inspection_close(&inspection);
    if (result < 0) {
        generation_free(&made);
        return -1;
    }
    *generation = made;
    return 0;
}

void generation_free(struct generation *generation)
{
    buffer_free(&generation->text);
    text_list_free(&generation->warnings);
}
