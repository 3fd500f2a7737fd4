/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/setup_sources.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/paths.h"
#include "host/topology_file.h"
#include "registers/ppudbg.h"

enum { FILE_LIMIT = 4 << 20 };

static int ask_ppu_smi(const char *tool, int seconds, struct wiring_sources *sources, struct error *err)
{
    struct buffer output = {0};
    int result = ppu_smi_ask(tool, SMI_CARDS, seconds, &output, err);
    if (result == 0) {
        sources->query_name = memory_copy_text(ppu_smi_answer_name(SMI_CARDS));
        result = ppu_smi_parse_cards(output.data, output.length, sources->query_name, &sources->query, err);
        buffer_free(&output);
    }
    if (result == 0 && (result = ppu_smi_ask(tool, SMI_STATES, seconds, &output, err)) == 0) {
        sources->states_name = memory_copy_text(ppu_smi_answer_name(SMI_STATES));
        result = ppu_smi_parse_links(output.data, output.length, sources->states_name, &sources->states, err);
        buffer_free(&output);
    }
    if (result == 0 && (result = ppu_smi_ask(tool, SMI_REMOTES, seconds, &output, err)) == 0) {
        sources->remotes_name = memory_copy_text(ppu_smi_answer_name(SMI_REMOTES));
        result = ppu_smi_parse_links(output.data, output.length, sources->remotes_name, &sources->remotes, err);
        buffer_free(&output);
    }
    return result;
}

static int ask_tools(const struct settings *settings, struct wiring_sources *sources, struct error *err)
{
    CLEANUP_FREE char *ppu_smi = paths_resolve_tool(settings->ppu_smi_path);
    CLEANUP_FREE char *ppudbg = paths_resolve_tool(settings->ppudbg_path);
    if (access(ppu_smi, F_OK) == 0) {
        return ask_ppu_smi(ppu_smi, settings->ppu_smi_timeout, sources, err);
    }
    if (access(ppudbg, F_OK) < 0) {
        return error_set(
            err, STATUS_HARDWARE,
            "neither %s nor %s is on this host; save the outputs of the vendor's tools where its driver is "
            "loaded and give their directory with --from, or give a topology with --topology",
            settings->ppu_smi_path, settings->ppudbg_path);
    }
    if (ppudbg_read_topology(settings, &sources->topology_text, err) < 0) {
        return -1;
    }
    sources->topology_name = memory_copy_text("output of ppudbg --topo_read");
    return topology_file_parse(sources->topology_text.data, sources->topology_text.length, sources->topology_name,
                               &sources->topology, err);
}

/* 1: FROM has no such file. */
static int read_saved(const char *from, const char *file, char **name, struct buffer *content, struct error *err)
{
    bool missing = false;
    CLEANUP_FREE char *directory = text_join(from, "/");
    CLEANUP_FREE char *path = text_join(directory, file);
    if (file_read(path, FILE_LIMIT, content, &missing, err) < 0) {
        return missing ? 1 : -1;
    }
    *name = memory_copy_text(path);
    return 0;
}

static int read_saved_outputs(const char *from, struct wiring_sources *sources, struct error *err)
{
    struct buffer content = {0};
    int result = read_saved(from, "query.csv", &sources->query_name, &content, err);
    if (result == 0) {
        result = ppu_smi_parse_cards(content.data, content.length, sources->query_name, &sources->query, err);
        buffer_free(&content);
    }
    if (result >= 0 && (result = read_saved(from, "icn-s.txt", &sources->states_name, &content, err)) == 0) {
        result = ppu_smi_parse_links(content.data, content.length, sources->states_name, &sources->states, err);
        buffer_free(&content);
    }
    if (result >= 0 && (result = read_saved(from, "icn-r.txt", &sources->remotes_name, &content, err)) == 0) {
        result = ppu_smi_parse_links(content.data, content.length, sources->remotes_name, &sources->remotes, err);
        buffer_free(&content);
    }
    if (result >= 0) {
        result = read_saved(from, "topo.txt", &sources->topology_name, &sources->topology_text, err);
    }
    if (result == 0) {
        result = topology_file_parse(sources->topology_text.data, sources->topology_text.length, sources->topology_name,
                                     &sources->topology, err);
    }
    if (result >= 0 && !sources->query_name && !sources->states_name && !sources->remotes_name &&
        !sources->topology_name) {
        return error_set(err, STATUS_INVALID,
                         "%s has none of query.csv (ppu-smi --query-ppu=index,pci.bus_id,uuid,serial "
                         "--format=csv,noheader), icn-s.txt (ppu-smi icn -s), icn-r.txt (ppu-smi icn -r) and topo.txt "
                         "(ppudbg --topo_read)",
                         from);
    }
    return result < 0 ? -1 : 0;
}

int setup_gather(const struct setup_request *request, const struct machine *machine, struct wiring_sources *sources,
                 struct error *err)
{
    sources->match = machine->settings.match;
    sources->cards = machine->card;
    sources->card_count = (size_t)machine->topology.ppu_count;
    sources->ids_by_address = request->ids_by_address;
    if (request->map) {
        sources->map_name = request->map;
        if (settings_load_map(request->map, &sources->map, err) < 0) {
            return -1;
        }
    }
    if (request->topology) {
        sources->topology_name = memory_copy_text(request->topology);
        return file_read(request->topology, FILE_LIMIT, &sources->topology_text, NULL, err) < 0 ||
                       topology_file_parse(sources->topology_text.data, sources->topology_text.length,
                                           sources->topology_name, &sources->topology, err) < 0
                   ? -1
                   : 0;
    }
    if (request->from) {
        return read_saved_outputs(request->from, sources, err);
    }
    if (machine->settings.idle == IDLE_ISOLATE) {
        return error_set(
            err, STATUS_INVALID,
            "with idle = isolate links are cut, and the vendor's tools see no links that are cut; set idle "
            "= restore in [policy], run icn-hook reset, and then this; or give saved outputs with --from");
    }
    return ask_tools(&machine->settings, sources, err);
}
