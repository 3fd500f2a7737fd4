/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/setup.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/paths.h"
#include "engine/session.h"
#include "engine/setup_sources.h"
#include "host/topology_file.h"

enum { FILE_LIMIT = 4 << 20 };

static const char not_meanwhile[] = "the ids and links that it was started with must not change";

/* An owned text that is put together piece by piece. */
struct setup_text {
    char *data;
    size_t length;
    FILE *stream;
};

static FILE *text_open(struct setup_text *text)
{
    text->stream = open_memstream(&text->data, &text->length);
    if (!text->stream) {
        memory_alloc(SIZE_MAX / 2, 1); /* says that memory is short, and ends the program */
    }
    return text->stream;
}

static char *text_close(struct setup_text *text)
{
    fclose(text->stream);
    return text->data;
}

const char *setup_source_text(enum id_source source)
{
    static const char *const texts[] = {
        [ID_FROM_PPU_SMI] = "ppu-smi", [ID_FROM_FILE] = "file", [ID_FROM_ADDRESS] = "address"};
    return texts[source];
}

/* A topology that a file or ppudbg gave stays as it was written there: it may name neighbours that this host does not
 * have. */
static char *format_topology(const struct wiring_sources *sources, const struct wiring *wiring)
{
    struct setup_text text;
    FILE *stream = text_open(&text);
    if (sources->topology_name && !sources->remotes_name) {
        fwrite(sources->topology_text.data, 1, sources->topology_text.length, stream);
        return text_close(&text);
    }
    for (int ppu = 0; ppu < wiring->topology.ppu_count; ppu++) {
        fprintf(stream, "==========device%d==========\nppuid: %d\n", ppu, ppu);
        for (int link = 0; link < LINK_MAX; link++) {
            if (wiring->topology.peer[ppu][link] >= 0) {
                fprintf(stream, "link[%d]: nbrPpuid:%d\n", link, wiring->topology.peer[ppu][link]);
            }
        }
    }
    return text_close(&text);
}

/* Links between two cards that have more than one: which ends belong together. */
static void format_joins(const struct wiring *wiring, FILE *stream)
{
    bool any = false;
    for (int ppu = 0; ppu < wiring->topology.ppu_count; ppu++) {
        for (int link = 0; link < LINK_MAX; link++) {
            int peer = wiring->topology.peer[ppu][link];
            int parallel = 0;
            for (int other = 0; other < LINK_MAX; other++) {
                parallel += wiring->topology.peer[ppu][other] == peer;
            }
            if (peer > ppu && parallel > 1 && wiring->peer_link[ppu][link] >= 0) {
                fprintf(stream, "%s%d.%d = %d.%d\n", any ? "" : "\n[links]\n", ppu, link, peer,
                        wiring->peer_link[ppu][link]);
                any = true;
            }
        }
    }
}

/* A serial number that several cards have tells none of them apart. */
static bool is_unique(char (*serials)[PCI_SERIAL_SIZE], int count, int ppu)
{
    for (int other = 0; other < count; other++) {
        if (other != ppu && strcmp(serials[other], serials[ppu]) == 0) {
            return false;
        }
    }
    return serials[ppu][0] != '\0';
}

/* What pins the cards beside their addresses.  A card that cannot be read this time would stay without it for ever. */
static int read_pins(const struct wiring *wiring, char (*paths)[PCI_PATH_SIZE], char (*serials)[PCI_SERIAL_SIZE],
                     struct error *err)
{
    for (int ppu = 0; ppu < wiring->topology.ppu_count; ppu++) {
        char bdf[BDF_TEXT_SIZE];
        if (pci_card_path(wiring->card[ppu], paths[ppu]) < 0 || pci_card_serial(wiring->card[ppu], serials[ppu]) < 0) {
            return error_set(err, STATUS_HARDWARE,
                             "PPU %d (%s): its place on the bus or its serial number cannot be read; run this as root, "
                             "and see with lspci -vv -s %s whether the card answers",
                             ppu, bdf_format(wiring->card[ppu], bdf), bdf);
        }
    }
    return 0;
}

static int format_cards(const struct wiring *wiring, char **content, struct error *err)
{
    size_t count = (size_t)wiring->topology.ppu_count;
    CLEANUP_FREE char(*paths)[PCI_PATH_SIZE] = memory_alloc(count, sizeof *paths);
    CLEANUP_FREE char(*serials)[PCI_SERIAL_SIZE] = memory_alloc(count, sizeof *serials);
    struct setup_text text;
    if (read_pins(wiring, paths, serials, err) < 0) {
        return -1;
    }
    FILE *stream = text_open(&text);
    fprintf(stream,
            "# Written by icn-hook setup: which card has which id, and which register bits are links.\n[map]\n");
    for (int ppu = 0; ppu < (int)count; ppu++) {
        char bdf[BDF_TEXT_SIZE];
        bool is_pinned = is_unique(serials, (int)count, ppu);
        fprintf(stream, "%d = %s%s%s%s%s\n", ppu, bdf_format(wiring->card[ppu], bdf), paths[ppu][0] ? " path=" : "",
                paths[ppu], is_pinned ? " serial=" : "", is_pinned ? serials[ppu] : "");
    }
    format_joins(wiring, stream);
    if (wiring->links != 0) {
        fprintf(stream, "\n[registers]\nlinks = 0x%" PRIx32 "\n", wiring->links);
    }
    *content = text_close(&text);
    return 0;
}

/* What is at the path of FILE now, compared with its text. */
static int compare_file(struct setup_output *file, int which, const struct wiring *wiring, struct error *err)
{
    struct buffer present = {0};
    bool missing = false;
    file->change = SETUP_DIFFERENT;
    if (file_read(file->path, FILE_LIMIT, &present, &missing, err) < 0) {
        file->change = SETUP_NEW;
        return missing ? 0 : -1;
    }
    if (present.length == strlen(file->text) && memcmp(present.data, file->text, present.length) == 0) {
        file->change = SETUP_SAME;
    } else if (which == SETUP_CARDS && strcmp(present.data, setup_files_barrier) == 0) {
        file->change = SETUP_NEW;
    } else if (which == SETUP_TOPOLOGY) {
        CLEANUP_FREE struct topology *topology = memory_alloc(1, sizeof *topology);
        struct error unused;
        if (topology_file_parse(present.data, present.length, file->path, topology, &unused) == 0 &&
            topology->ppu_count == wiring->topology.ppu_count &&
            memcmp(topology->peer, wiring->topology.peer, sizeof topology->peer) == 0) {
            file->change = SETUP_SAME;
        }
    }
    buffer_free(&present);
    return 0;
}

/* A link is followed to the file that is to be replaced. */
static char *resolve_target(char *path)
{
    char *target = realpath(path, NULL);
    if (target) {
        free(path);
    }
    return target ? target : path;
}

/* Together with the rest of the configuration the new drop-in must be valid. */
static int try_configuration(const char *config, const struct setup *setup, struct error *err)
{
    struct settings settings;
    if (settings_load_with(config, SETUP_DROP_IN, setup->files[SETUP_CARDS].text, &settings, err) < 0) {
        return error_append(err, "; setup would write %s: correct the other file", setup->files[SETUP_CARDS].path);
    }
    settings_free(&settings);
    return 0;
}

static int make_texts(const struct setup_request *request, const struct machine *machine, struct setup *setup,
                      struct error *err)
{
    struct wiring_sources *sources = memory_alloc(1, sizeof *sources);
    int result = setup_gather(request, machine, sources, err);
    if (result == 0) {
        result = wiring_make(sources, &setup->wiring, &setup->warnings, err);
    }
    if (result == 0) {
        CLEANUP_FREE char *config = request->config ? memory_copy_text(request->config) : paths_resolve(PATH_SETTINGS);
        setup->files[SETUP_TOPOLOGY].path = resolve_target(paths_resolve("%s", machine->settings.topology));
        setup->files[SETUP_TOPOLOGY].text = format_topology(sources, &setup->wiring);
        setup->files[SETUP_CARDS].path = resolve_target(text_join(config, ".d/" SETUP_DROP_IN));
        result = format_cards(&setup->wiring, &setup->files[SETUP_CARDS].text, err);
        if (result == 0) {
            result = try_configuration(config, setup, err);
        }
    }
    wiring_sources_free(sources);
    free(sources);
    return result;
}

/* Opens a session although there is no map yet: the cards are numbered by their order only for as long as it lasts. */
static int look_at_owners(const struct setup_request *request, enum session_access access, struct session *session,
                          struct error *err)
{
    struct machine *machine = NULL;
    *session = (struct session){.state = STATE_CLOSED};
    if (machine_open_without(request->config, SETUP_DROP_IN, &machine, err) < 0) {
        return -1;
    }
    if (machine_survey_without_topology(machine, err) < 0) {
        machine_close(machine);
        return -1;
    }
    if (session_open(session, machine, access, err) < 0) {
        return -1;
    }
    return session_require_idle(session, not_meanwhile, err);
}

static bool same_cards(const struct machine *a, const struct machine *b)
{
    return a->topology.ppu_count == b->topology.ppu_count &&
           memcmp(a->card, b->card, (size_t)a->topology.ppu_count * sizeof a->card[0]) == 0;
}

/* The last part, with the lock of the state. */
static int replace_files(const struct setup_request *request, const struct session *session,
                         const struct machine *before, struct setup *setup, struct error *err)
{
    struct setup_file files[SETUP_FILE_COUNT];
    if (!same_cards(before, session->machine)) {
        return error_set(err, STATUS_CONFLICT, "the cards on the bus changed while setup looked at them; run it again");
    }
    for (int i = 0; i < SETUP_FILE_COUNT; i++) {
        struct setup_output *file = &setup->files[i];
        if (compare_file(file, i, &setup->wiring, err) < 0) {
            return -1;
        }
        files[i] = (struct setup_file){
            .path = file->path,
            .text = file->text,
            .is_there = access(file->path, F_OK) == 0,
            .is_changed = file->change != SETUP_SAME,
        };
    }
    for (int i = 0; i < SETUP_FILE_COUNT && !request->dry_run && !request->force; i++) {
        if (setup->files[i].change == SETUP_DIFFERENT) {
            return error_set(
                err, STATUS_INVALID,
                "%s says something different; compare it with icn-hook setup --dry-run, and replace it with "
                "--force",
                setup->files[i].path);
        }
    }
    if (request->dry_run) {
        return 0;
    }
    if (setup_files_write(&files[SETUP_TOPOLOGY], &files[SETUP_CARDS], err) < 0) {
        return -1;
    }
    for (int i = 0; i < SETUP_FILE_COUNT; i++) {
        setup->files[i].is_written = files[i].is_changed;
    }
    return 0;
}

/* A link that is cut looks to the vendor's tools like one that leads nowhere, and would be lost in the topology. */
static int require_nothing_cut(const struct state *state, struct error *err)
{
    for (size_t i = 0; i < state->card_count; i++) {
        const struct card_memory *card = &state->cards[i];
        uint32_t before = card->has_original ? card->original : 0;
        char bdf[BDF_TEXT_SIZE];
        if (card->has_written && (card->written & ~before) != 0) {
            return error_set(err, STATUS_CONFLICT,
                             "links of the card %s are still cut, and the vendor's tools see no links that are cut; "
                             "run icn-hook repair where there is a [map], else boot the host, or give outputs with "
                             "--from that were saved while all links were open",
                             bdf_format(card->bdf, bdf));
        }
    }
    return 0;
}

int setup_run(const struct setup_request *request, struct setup *setup, struct error *err)
{
    struct session before;
    struct session session = {.state = STATE_CLOSED};
    *setup = (struct setup){0};
    int result = look_at_owners(request, SESSION_LOOK, &before, err);
    if (result == 0 && !request->from && !request->topology) {
        result = require_nothing_cut(&before.state, err);
    }
    if (result == 0) {
        session_unlock(&before);
        result = make_texts(request, before.machine, setup, err);
    }
    if (result == 0) {
        result = look_at_owners(request, request->dry_run ? SESSION_LOOK : SESSION_CHANGE, &session, err);
    }
    if (result == 0) {
        result = replace_files(request, &session, before.machine, setup, err);
    }
    session_close(&session);
    session_close(&before);
    return result;
}

void setup_free(struct setup *setup)
{
    for (int i = 0; i < SETUP_FILE_COUNT; i++) {
        free(setup->files[i].path);
        free(setup->files[i].text);
    }
    text_list_free(&setup->warnings);
}
