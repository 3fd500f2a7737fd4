/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation.  When QEMU opens a card, vfio resets it, after the last
 * moment at which a hook can write its register.  So whether a cut holds at the
 * near end is decided by what that reset does to the register, and nothing but a
 * trial tells.  sysfs's `reset` runs the same method in the kernel
 * (drivers/pci/pci-sysfs.c, reset_store).
 *
 * The card is idle, and only cuts are made on the way, so nothing becomes live
 * that was not.  A reset may open links of the card, though: it is not tried while
 * a VM has a neighbour, whose guest might have opened its own end.
 *
 * An entry of a domain that has ended stands in the ledger meanwhile: any later
 * operation takes it for cards to be brought back, which is what a probe that was
 * killed needs.
 */
#include "doctor/probe.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/paths.h"
#include "base/text.h"
#include "doctor/facts.h"
#include "engine/session.h"

#define GROUP "probe"

/* Firmware may set its registers up again a while after the kernel is done. */
enum { SETTLE_MS = 300 };

struct probe {
    struct machine *machine;
    struct session session;
    struct report *report;
    int ppu;
    struct card_address address;
    uint32_t before; /* the mask that it had */
    char name[CARD_TEXT_SIZE];
    char uuid[UUID_SIZE];
};

static int probe_find_card(struct probe *probe, const char *card, struct error *err)
{
    uint64_t number;
    struct bdf bdf;
    if (text_parse_number(card, PPU_MAX - 1, &number)) {
        bool is_known = (int)number < probe->machine->topology.ppu_count && probe->machine->mapped[(int)number];
        probe->ppu = is_known ? (int)number : -1;
    } else if (bdf_parse(card, &bdf)) {
        probe->ppu = machine_ppu_at(probe->machine, bdf);
    } else {
        return error_set(err, STATUS_USAGE, "'%s' is neither a PPU's id nor a PCI address", card);
    }
    if (probe->ppu < 0) {
        return error_set(err, STATUS_INVALID, "no PPU of this host is '%s'; icn-hook status lists them", card);
    }
    machine_card_text(probe->machine, probe->ppu, probe->name);
    return 0;
}

/* What forbids to touch the card. */
static int admit(struct probe *probe, struct error *err)
{
    struct snapshot *snapshot = probe->session.snapshot;
    const struct card *card = &snapshot->cards[probe->ppu];
    const struct error *doubt = snapshot_doubt(snapshot, "");
    char owner[OWNER_TEXT_SIZE];
    int owners[PPU_MAX];
    snapshot_owners(snapshot, owners);
    if (doubt) {
        return error_set(err, STATUS_CONFLICT, "%s may belong to a VM: %s", probe->name, doubt->text);
    }
    if (owners[probe->ppu] != OWNER_IDLE || card->held) {
        return error_set(err, STATUS_CONFLICT, "%s is in use by %s; only an idle card can be tried", probe->name,
                         snapshot_owner_text(snapshot, probe->ppu, owner));
    }
    if (!card->state.present) {
        return error_set(err, STATUS_HARDWARE, "%s is not on the PCI bus", probe->name);
    }
    if (card->state.driver[0] && !card->state.on_vfio) {
        return error_set(err, STATUS_CONFLICT, "%s is in use by the driver %s; unbind it first", probe->name,
                         card->state.driver);
    }
    return 0;
}

static int open_probe(struct probe *probe, const char *config, const char *card, struct error *err)
{
    if (machine_open(config, &probe->machine, err) < 0 || machine_survey(probe->machine, err) < 0 ||
        probe_find_card(probe, card, err) < 0) {
        return -1;
    }
    if (probe->machine->settings.backend != BACKEND_MMIO) {
        return error_set(err, STATUS_INVALID, "backend ppudbg cannot read single registers; set backend = mmio");
    }
    if (geteuid() != 0 && !paths_simulated()) {
        return error_set(err, STATUS_HARDWARE, "to try a card needs root");
    }
    if (session_open(&probe->session, probe->machine, LEDGER_CHANGE, err) < 0 || admit(probe, err) < 0) {
        return -1;
    }
    probe->address = snapshot_address(probe->session.snapshot, probe->ppu);
    return 0;
}

static int read_mask(struct probe *probe, uint32_t *mask, struct error *err)
{
    struct reading reading;
    probe->session.registers.backend->read(&probe->session.registers, &probe->address, &reading);
    if (reading.kind != READING_FINE) {
        return error_set(err, STATUS_HARDWARE, "%s", reading.why);
    }
    *mask = reading.mask;
    return 0;
}

static bool write_mask(struct probe *probe, uint32_t mask, struct error *err)
{
    struct registers *registers = &probe->session.registers;
    return registers->backend->write(registers, &probe->address, mask, err) == WRITE_FINE;
}

/* The intent: what the card is to get back. */
static int note_intent(struct probe *probe, struct error *err)
{
    const struct snapshot *snapshot = probe->session.snapshot;
    const struct card *card = &snapshot->cards[probe->ppu];
    int owners[PPU_MAX];
    snapshot_owners(snapshot, owners);
    uint32_t original = probe->before & ~mask_required(&probe->machine->topology, owners, probe->ppu);
    struct ledger_card recorded = {.bdf = probe->address.bdf,
                                   .ppu = probe->ppu,
                                   .whole = true,
                                   .has_original = true,
                                   .original = card->has_original ? card->original : original};
    char name[] = "icn-hook doctor --probe";
    struct ledger_entry entry = {
        .name = name, .phase = PHASE_ENDED, .since = time(NULL), .cards = &recorded, .card_count = 1};
    if (!text_make_uuid(probe->uuid)) {
        return error_set(err, STATUS_HARDWARE, "cannot make a uuid");
    }
    memcpy(entry.uuid, probe->uuid, sizeof entry.uuid);
    return ledger_write(&probe->session.ledger, &entry, err);
}

static void fail(struct probe *probe, const char *check, const char *remedy, const char *text, const char *why)
{
    report_add(probe->report, GROUP, check, RESULT_FAIL, remedy, "%s %s%s%s", probe->name, text, why ? ": " : "",
               why ? why : "");
}

/* Does the register take a cut, and give it back? */
static void try_cut(struct probe *probe)
{
    static const char remedy[] = "compare [registers] with the hardware's description: bar, link_config, stride";
    struct error err;
    uint32_t open = probe->address.links & ~probe->before;
    if (open == 0) {
        report_add(probe->report, GROUP, "cut", RESULT_WARN, "set idle = restore, or try a card that has open links",
                   "%s has no open link to cut", probe->name);
        return;
    }
    if (!write_mask(probe, probe->before | (open & -open), &err)) {
        fail(probe, "cut", remedy, "does not take a cut", err.text);
    } else if (!write_mask(probe, probe->before, &err)) {
        fail(probe, "cut", remedy, "takes a cut and does not give it back", err.text);
    } else {
        report_pass(probe->report, GROUP, "cut", "%s takes a cut and gives it back", probe->name);
    }
}

static int reset_function(const struct probe *probe, struct error *err)
{
    char bdf[BDF_TEXT_SIZE];
    CLEANUP_FREE char *path = paths_resolve("%s/%s/reset", PATH_PCI_DEVICES, bdf_format(probe->address.bdf, bdf));
    CLEANUP_FD int fd = open(path, O_WRONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || write(fd, "1\n", 2) != 2) {
        return error_set_errno(err, STATUS_HARDWARE, errno, "cannot write to %s", path);
    }
    nanosleep(&(struct timespec){.tv_nsec = SETTLE_MS * 1000000L}, NULL);
    return 0;
}

static bool has_owned_neighbour(const struct probe *probe)
{
    int owners[PPU_MAX];
    snapshot_owners(probe->session.snapshot, owners);
    return mask_required(&probe->machine->topology, owners, probe->ppu) != 0;
}

static void judge_reset(struct probe *probe, const char *methods)
{
    char remedy[512];
    char method[128] = "";
    struct error err;
    uint32_t after = 0;
    if (methods) {
        snprintf(method, sizeof method, " (%s)", methods);
    }
    if (read_mask(probe, &after, &err) < 0) {
        fail(probe, "reset", "no VM can take it before it answers", "does not come back from a reset", err.text);
    } else if ((probe->address.links & ~after) == 0) {
        report_pass(probe->report, GROUP, "reset", "%s keeps its cuts over a reset%s", probe->name, method);
    } else {
        snprintf(remedy, sizeof remedy,
                 "no hook can hold the near end on this card: QEMU resets it; what remains: far ends of idle cards, "
                 "another reset_method%s",
                 method);
        report_add(probe->report, GROUP, "reset", RESULT_FAIL, remedy,
                   "%s loses cuts at a reset: 0x%08" PRIx32 " -> 0x%08" PRIx32, probe->name, probe->address.links,
                   after);
    }
}

/* Do cuts survive the reset that vfio makes? */
static void try_reset(struct probe *probe)
{
    char bdf[BDF_TEXT_SIZE];
    struct error err;
    bdf_format(probe->address.bdf, bdf);
    CLEANUP_FREE char *methods = fact_text("%s/%s/reset_method", PATH_PCI_DEVICES, bdf);
    if (!fact_exists("%s/%s/reset", PATH_PCI_DEVICES, bdf)) {
        report_add(probe->report, GROUP, "reset", RESULT_WARN, "vfio cannot reset it either; see its reset_method",
                   "%s has no reset method: not tried", probe->name);
    } else if (has_owned_neighbour(probe)) {
        report_add(probe->report, GROUP, "reset", RESULT_WARN, "try a card without links to a VM",
                   "%s is linked to a card that a VM has: no reset tried", probe->name);
    } else if (!write_mask(probe, probe->address.links, &err)) {
        fail(probe, "reset", NULL, "does not take cuts", err.text);
    } else if (reset_function(probe, &err) < 0) {
        report_add(probe->report, GROUP, "reset", RESULT_WARN, "see the kernel's log", "%s was not reset: %s",
                   probe->name, err.text);
    } else {
        judge_reset(probe, methods);
    }
}

/* The entry goes only when nothing is left to bring back. */
static void put_back(struct probe *probe)
{
    struct error err;
    if (!write_mask(probe, probe->before, &err)) {
        fail(probe, "back", "the next start or stop of a VM with cards tries again", "did not take its mask back",
             err.text);
    } else if (ledger_remove(&probe->session.ledger, probe->uuid, &err) < 0) {
        fail(probe, "back", NULL, "is as before, its ledger entry stays", err.text);
    } else {
        report_pass(probe->report, GROUP, "back", "%s has its mask 0x%08" PRIx32 " again", probe->name, probe->before);
    }
}

int probe_card(const char *config, const char *card, struct report *report, struct error *err)
{
    struct probe probe = {.report = report, .session = SESSION_CLOSED};
    int result = -1;
    if (open_probe(&probe, config, card, err) == 0 && read_mask(&probe, &probe.before, err) == 0 &&
        note_intent(&probe, err) == 0) {
        try_cut(&probe);
        try_reset(&probe);
        put_back(&probe);
        result = 0;
    }
    session_close(&probe.session);
    machine_close(probe.machine);
    return result;
}
