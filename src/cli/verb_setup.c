/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/verbs.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"
#include "cli/commands.h"
#include "cli/json.h"
#include "cli/output.h"
#include "cli/table.h"
#include "doctor/examination.h"
#include "engine/setup.h"

static const char *const setup_changes[] = {
    [SETUP_SAME] = "unchanged", [SETUP_NEW] = "new", [SETUP_DIFFERENT] = "different"};

/* What a person has to do before VMs can have cards. */
static void list_next_steps(const struct setup *setup, const struct setup_request *request, struct text_list *steps)
{
    bool is_different = false;
    for (int i = 0; i < SETUP_FILE_COUNT; i++) {
        is_different |= request->dry_run && setup->files[i].change == SETUP_DIFFERENT;
    }
    if (request->dry_run) {
        text_list_add(steps, "run icn-hook setup%s without --dry-run: nothing has been written",
                      is_different ? " --force" : "");
    }
    text_list_add(steps, "run icn-hook confirm: it tries on the cards whether ids, links and [registers] are right");
    if (!doctor_finds_hook()) {
        text_list_add(steps, "put the hook in its place (hook-place install): libvirt does not call icn-hook yet");
    }
    text_list_add(steps, "run icn-hook doctor: it checks the rest of this host");
}

static void setup_print_json(const struct setup *setup, const struct setup_request *request,
                             const struct text_list *steps)
{
    struct json_object *object = json_object_new_object();
    json_put_text(object, "schema", "icn-hook/setup/1");
    json_put_bool(object, "dry_run", request->dry_run);
    struct json_object *ppus = json_put_array(object, "ppus");
    for (int ppu = 0; ppu < setup->wiring.topology.ppu_count; ppu++) {
        struct json_object *entry = json_object_new_object();
        char bdf[BDF_TEXT_SIZE];
        json_put_number(entry, "ppu", ppu);
        json_put_text(entry, "bdf", bdf_format(setup->wiring.card[ppu], bdf));
        json_put_text(entry, "source", setup_source_text(setup->wiring.source[ppu]));
        json_object_array_add(ppus, entry);
    }
    json_put_number(object, "links", wiring_count_links(&setup->wiring));
    json_put_number(object, "external", wiring_count_external(&setup->wiring));
    struct json_object *written = json_put_array(object, "written");
    struct json_object *files = json_put_array(object, "files");
    for (int i = 0; i < SETUP_FILE_COUNT; i++) {
        const struct setup_output *file = &setup->files[i];
        struct json_object *entry = json_object_new_object();
        json_put_text(entry, "path", file->path);
        json_put_text(entry, "change", setup_changes[file->change]);
        json_put_text(entry, "text", file->text);
        json_object_array_add(files, entry);
        if (file->is_written) {
            json_object_array_add(written, json_object_new_string(file->path));
        }
    }
    json_put_list(object, "warnings", &setup->warnings);
    json_put_list(object, "next", steps);
    json_print(object);
}

static void setup_print_cards(const struct setup *setup, const struct options *options)
{
    const struct wiring *wiring = &setup->wiring;
    struct output output;
    struct table table;
    output_open(&output, options);
    table_open(&table, 4);
    table.right[0] = true;
    table_add(&table, COLOUR_BOLD, "PPU");
    table_add(&table, COLOUR_BOLD, "CARD");
    table_add(&table, COLOUR_BOLD, "ID FROM");
    table_add(&table, COLOUR_BOLD, "LINKS");
    for (int ppu = 0; ppu < wiring->topology.ppu_count; ppu++) {
        char bdf[BDF_TEXT_SIZE];
        table_add(&table, COLOUR_PLAIN, "%d", ppu);
        table_add(&table, COLOUR_PLAIN, "%s", bdf_format(wiring->card[ppu], bdf));
        table_add(&table, COLOUR_PLAIN, "%s", setup_source_text(wiring->source[ppu]));
        table_add(&table, COLOUR_PLAIN, "%s", "");
        for (int link = 0; link < LINK_MAX; link++) {
            char text[32];
            int peer = wiring->topology.peer[ppu][link];
            if (peer >= 0) {
                snprintf(text, sizeof text, "%d:%d ", link, peer);
                table_append(&table, COLOUR_PLAIN, text);
            } else if (((wiring->listed[ppu] | wiring->links) >> link & 1) != 0) {
                snprintf(text, sizeof text, "%d:ext ", link);
                table_append(&table, COLOUR_MAGENTA, text);
            }
        }
    }
    table_print(&table, &output);
    table_free(&table);
    printf("LINKS: index:PPU at the other end; ext: external, cut while the card has an owner\n"
           "%d cards, %d links between them, %d external\n",
           wiring->topology.ppu_count, wiring_count_links(wiring), wiring_count_external(wiring));
}

static void setup_print_text(const struct setup *setup, const struct setup_request *request,
                             const struct options *options, const struct text_list *steps)
{
    setup_print_cards(setup, options);
    for (size_t i = 0; i < setup->warnings.count; i++) {
        printf("warning: %s\n", setup->warnings.items[i]);
    }
    for (int i = 0; i < SETUP_FILE_COUNT; i++) {
        const struct setup_output *file = &setup->files[i];
        if (request->dry_run) {
            printf("\n%s (%s):\n%s", file->path, setup_changes[file->change], file->text);
        } else {
            printf("%s: %s\n", file->path, file->is_written ? "written" : "unchanged");
        }
    }
    puts("\nWhat is left to do:");
    for (size_t i = 0; i < steps->count; i++) {
        printf("  %zu. %s\n", i + 1, steps->items[i]);
    }
}

int verb_setup(const struct options *options, struct error *err)
{
    const struct setup_request request = {
        .config = options->config,
        .from = options->from,
        .topology = options->topology,
        .map = options->map,
        .ids_by_address = options->ids_by_address,
        .force = options->force,
        .dry_run = options->dry_run,
    };
    if (request.from && request.topology) {
        return command_usage_error(err, "setup takes --from or --topology, not both");
    }
    if (request.map && request.ids_by_address) {
        return command_usage_error(err, "setup takes --map or --ids-by-address, not both");
    }
    if (request.topology && !request.map && !request.ids_by_address) {
        return command_usage_error(err, "setup --topology needs --map FILE, or --ids-by-address if the ids follow the "
                                        "addresses");
    }
    struct setup *setup = memory_alloc(1, sizeof *setup);
    struct text_list steps = {0};
    int result = setup_run(&request, setup, err);
    if (!request.dry_run) {
        verb_log_result(
            "setup", EVENT_SETUP, NULL, result < 0 ? err : NULL, "%s %s, %s %s: %d cards, %d links, %d external",
            setup->files[SETUP_TOPOLOGY].path ? setup->files[SETUP_TOPOLOGY].path : "",
            setup->files[SETUP_TOPOLOGY].is_written ? "written" : "unchanged",
            setup->files[SETUP_CARDS].path ? setup->files[SETUP_CARDS].path : "",
            setup->files[SETUP_CARDS].is_written ? "written" : "unchanged", setup->wiring.topology.ppu_count,
            wiring_count_links(&setup->wiring), wiring_count_external(&setup->wiring));
    }
    if (result == 0) {
        list_next_steps(setup, &request, &steps);
        if (options->json) {
            setup_print_json(setup, &request, &steps);
        } else {
            setup_print_text(setup, &request, options, &steps);
        }
        text_list_free(&steps);
    }
    setup_free(setup);
    free(setup);
    return result;
}
