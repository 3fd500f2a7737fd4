/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/view.h"

#include <inttypes.h>
#include <stdio.h>

#include "core/mask.h"
#include "doctor/examination.h"
#include "engine/link_state.h"

static bool pair_leaks(const struct view *view, int a, int b)
{
    for (int link = 0; link < LINK_MAX; link++) {
        if (view->machine->topology.peer[a][link] == b &&
            link_leaks(view->inspection.snapshot, view->inspection.owners, a, link)) {
            return true;
        }
    }
    return false;
}

/* Calls VISIT for every pair of cards between which a link leaks, A below B. */
static void each_leak(const struct view *view, void (*visit)(void *context, int a, int b), void *context)
{
    for (int a = 0; a < view->machine->topology.ppu_count; a++) {
        for (int b = a + 1; b < view->machine->topology.ppu_count; b++) {
            if (pair_leaks(view, a, b)) {
                visit(context, a, b);
            }
        }
    }
}

static void put_leak(void *context, int a, int b)
{
    struct json_object *entry = json_object_new_object();
    json_put_number(entry, "a", a);
    json_put_number(entry, "b", b);
    json_object_array_add(context, entry);
}

void view_put_leaks(const struct view *view, struct json_object *object)
{
    each_leak(view, put_leak, json_put_array(object, "leaks"));
}

static void report_leak(void *context, int a, int b)
{
    struct view *view = context;
    char card_a[CARD_TEXT_SIZE];
    char card_b[CARD_TEXT_SIZE];
    char owner_a[OWNER_TEXT_SIZE];
    char owner_b[OWNER_TEXT_SIZE];
    view->leaks++;
    text_list_add(&view->findings, "LEAK: a link between %s and %s is open on both sides; owners: %s / %s; stop the VM",
                  machine_card_text(view->machine, a, card_a), machine_card_text(view->machine, b, card_b),
                  snapshot_owner_text(view->inspection.snapshot, a, owner_a),
                  snapshot_owner_text(view->inspection.snapshot, b, owner_b));
}

static void report_card(struct view *view, int ppu)
{
    const struct card *card = &view->inspection.snapshot->cards[ppu];
    char text[CARD_TEXT_SIZE];
    machine_card_text(view->machine, ppu, text);
    if (!view->machine->mapped[ppu]) {
        text_list_add(&view->findings, "PPU %d has no card: no line of [map] names it", ppu);
    } else if (!card->state.present) {
        text_list_add(&view->findings, "%s is not on the PCI bus", text);
    } else if (card->reading.kind != READING_FINE) {
        text_list_add(&view->findings, "%s: %s", text, card->reading.why);
    } else if (inspection_drifts(&view->inspection, ppu)) {
        view->drifts++;
        text_list_add(&view->findings, "%s lacks cuts: mask 0x%08" PRIx32 ", required 0x%08" PRIx32, text,
                      card->reading.mask, inspection_required(&view->inspection, ppu));
    }
}

/* Only when it is asked for: a daemon may take its time. */
static void report_differences(struct view *view, const char *uri)
{
    struct error err;
    int count;
    if (cross_check(uri, view->machine, &view->inspection, &view->findings, &count, &err) < 0) {
        text_list_add(&view->findings, "%s; nothing was compared with libvirt", err.text);
    }
}

int view_open(struct view *view, const struct options *options, struct error *err)
{
    *view = (struct view){.inspection = INSPECTION_CLOSED};
    if (machine_open(options->config, &view->machine, err) < 0 || machine_survey(view->machine, err) < 0 ||
        inspection_open(&view->inspection, view->machine, err) < 0) {
        view_close(view);
        return -1;
    }
    snapshot_read_all(view->inspection.snapshot, &view->inspection.registers);
    const struct text_list *seen = &view->inspection.snapshot->findings;
    for (size_t i = 0; i < seen->count; i++) {
        text_list_add(&view->findings, "%s", seen->items[i]);
    }
    view->in_doubt = snapshot_doubt(view->inspection.snapshot, "");
    each_leak(view, report_leak, view);
    for (int ppu = 0; ppu < view->machine->topology.ppu_count; ppu++) {
        report_card(view, ppu);
    }
    if (options->connect) {
        report_differences(view, options->connect);
    }
    return 0;
}

void view_close(struct view *view)
{
    inspection_close(&view->inspection);
    machine_close(view->machine);
    text_list_free(&view->findings);
}

bool view_is_fine(const struct view *view)
{
    return view->leaks == 0 && view->drifts == 0 && !view->in_doubt;
}

void card_cells_add_place_titles(struct table *table)
{
    static const char *const titles[PLACE_CELLS] = {"ADDRESS", "DRIVER", "NUMA", "GROUP"};
    for (size_t i = 0; i < PLACE_CELLS; i++) {
        table_add(table, COLOUR_BOLD, "%s", titles[i]);
    }
}

static void add_known_number(struct table *table, int number)
{
    if (number < 0) {
        table_add(table, COLOUR_PLAIN, "-");
    } else {
        table_add(table, COLOUR_PLAIN, "%d", number);
    }
}

void card_cells_add_place(struct table *table, const struct view *view, int ppu)
{
    const struct pci_state *state = &view->inspection.snapshot->cards[ppu].state;
    bool is_mapped = view->machine->mapped[ppu];
    bool is_present = is_mapped && state->present;
    char bdf[BDF_TEXT_SIZE];
    table_add(table, COLOUR_PLAIN, "%s", is_mapped ? bdf_format(view->machine->card[ppu], bdf) : "-");
    if (is_present) {
        table_add(table, COLOUR_PLAIN, "%s", state->driver[0] ? state->driver : "-");
    } else {
        table_add(table, COLOUR_RED, "%s", is_mapped ? "ABSENT" : "NO CARD");
    }
    add_known_number(table, is_present ? state->numa_node : UNKNOWN_NUMBER);
    add_known_number(table, is_present ? state->iommu_group : UNKNOWN_NUMBER);
}

void card_cells_add_owner(struct table *table, const struct view *view, int ppu)
{
    const struct inspection *inspection = &view->inspection;
    char owner[OWNER_TEXT_SIZE];
    table_add(table, inspection->owners[ppu] == OWNER_IDLE ? COLOUR_PLAIN : COLOUR_BOLD, "%s",
              snapshot_owner_text(inspection->snapshot, ppu, owner));
}
