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
 * Meanwhile the memory of the card says that every cut may be ours: so any later
 * operation takes the cuts for a debt and gives the card back what it had, which is
 * what a probe that was killed needs.
 */
#include "doctor/probe.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/paths.h"
#include "base/text.h"
#include "core/ownership.h"
#include "doctor/facts.h"
#include "engine/session.h"
#include "engine/trail.h"

/* Firmware may set its registers up again a while after the kernel is done. */
enum { SETTLE_MS = 300 };

struct probe {
    struct session session;
    struct report *report;
    int ppu;
    struct card_address address;
    uint32_t before;           /* the mask that it had */
    uint32_t now;              /* the mask that it has, as far as it is known */
    struct card_memory memory; /* what was remembered of it; its evidence is not looked at */
    char name[CARD_TEXT_SIZE];
};

static int probe_find_card(struct probe *probe, const struct machine *machine, const char *card, struct error *err)
{
    uint64_t number;
    struct bdf bdf;
    if (text_parse_number(card, PPU_MAX - 1, &number)) {
        bool is_known = (int)number < machine->topology.ppu_count && machine->mapped[(int)number];
        probe->ppu = is_known ? (int)number : -1;
    } else if (bdf_parse(card, &bdf)) {
        probe->ppu = machine_ppu_at(machine, bdf);
    } else {
        return error_set(err, STATUS_USAGE, "'%s' is neither a PPU's id nor a PCI address", card);
    }
    if (probe->ppu < 0) {
        return error_set(err, STATUS_INVALID, "no PPU of this host is '%s'; icn-hook status lists them", card);
    }
    machine_card_text(machine, probe->ppu, probe->name);
    return 0;
}

/* What forbids to touch the card. */
static int probe_admit(const struct probe *probe, struct error *err)
{
    const struct session *session = &probe->session;
    const struct pci_state *state = &session->cards[probe->ppu].state;
    const struct error *doubt = session_doubt(session, "");
    char owner[OWNER_TEXT_SIZE];
    if (doubt) {
        return error_set(err, STATUS_CONFLICT, "%s may belong to a VM: %s", probe->name, doubt->text);
    }
    if (session->owners.of[probe->ppu] != OWNER_IDLE || session->owners.held[probe->ppu]) {
        return error_set(err, STATUS_CONFLICT, "%s is in use by %s; only an idle card can be tried", probe->name,
                         owners_text(&session->owners, probe->ppu, owner));
    }
    if (!state->present) {
        return error_set(err, STATUS_HARDWARE, "%s is not on the PCI bus", probe->name);
    }
    if (state->driver[0] && !state->on_vfio) {
        return error_set(err, STATUS_CONFLICT, "%s is in use by the driver %s; unbind it first", probe->name,
                         state->driver);
    }
    return 0;
}

static int probe_open(struct probe *probe, const char *config, const char *card, struct error *err)
{
    struct machine *machine = NULL;
    if (machine_open(config, &machine, err) < 0) {
        return -1;
    }
    int result = machine_survey(machine, err);
    if (result == 0) {
        result = probe_find_card(probe, machine, card, err);
    }
    if (result == 0 && geteuid() != 0 && !paths_simulated()) {
        result = error_set(err, STATUS_HARDWARE, "to try a card needs root");
    }
    if (result < 0) {
        machine_close(machine);
        return -1;
    }
    if (session_open(&probe->session, machine, SESSION_CHANGE, err) < 0 || probe_admit(probe, err) < 0) {
        return -1;
    }
    probe->address = session_address(&probe->session, probe->ppu);
    registers_wake(&probe->session.registers, &probe->address.bdf, 1);
    return 0;
}

static int probe_read(struct probe *probe, uint32_t *mask, struct error *err)
{
    struct card *card = &probe->session.cards[probe->ppu];
    card->reach = REACH_CHANGE;
    card->was_read = false;
    session_read(&probe->session, probe->ppu);
    if (card->reading.kind != READING_FINE) {
        return error_set(err, STATUS_HARDWARE, "%s", card->reading.why);
    }
    *mask = card->reading.mask;
    return 0;
}

/* 0 only if the register took the mask. */
static int probe_write(struct probe *probe, uint32_t mask, struct error *err)
{
    struct session *session = &probe->session;
    int count = session->machine->topology.ppu_count;
    CLEANUP_FREE struct card_address *addresses = memory_alloc((size_t)count, sizeof *addresses);
    struct text_list warnings = {0};
    const struct writing writing = {
        .plan = session->plan, .cards = addresses, .owners = session->owners.of, .ppu_count = count};
    addresses[probe->ppu] = probe->address;
    session->goals[probe->ppu] = (struct plan_goal){.role = ROLE_NEAR, .now = probe->now, .want = mask};
    plan_build(session->plan, session->goals, count);
    int result =
        session->registers.backend->write_plan(&session->registers, &writing, session->outcomes, &warnings, err);
    if (result == 0 && !session_wrote(session, probe->ppu)) {
        result = error_set(err, STATUS_HARDWARE, "%s",
                           warnings.count > 0 ? warnings.items[0] : "the register was not written");
    }
    text_list_free(&warnings);
    session_keep_writes(session);
    probe->now = result == 0 ? mask : probe->now;
    return result;
}

/* The intent: every cut may be ours, and what the card is to get back. */
static int probe_note_intent(struct probe *probe, struct error *err)
{
    struct session *session = &probe->session;
    struct card_memory *memory = state_remember(&session->state, probe->address.bdf);
    uint32_t required = mask_required(&session->machine->topology, session->owners.of, probe->ppu);
    probe->memory = *memory;
    if (!memory->has_original) {
        memory->has_original = true;
        memory->original = probe->before & ~required;
    }
    memory->has_written = true;
    memory->written = probe->address.links;
    return state_write_cards(&session->state, err);
}

/* Nothing is left to bring back. */
static int probe_forget_intent(struct probe *probe, struct error *err)
{
    struct card_memory *memory = state_remember(&probe->session.state, probe->address.bdf);
    memory->has_original = probe->memory.has_original;
    memory->original = probe->memory.original;
    memory->has_written = probe->memory.has_written;
    memory->written = probe->memory.written;
    return state_write_cards(&probe->session.state, err);
}

static void probe_fail(struct probe *probe, enum check check, const char *remedy, const char *text, const char *why)
{
    report_add(probe->report, check, RESULT_FAIL, remedy, "%s %s%s%s", probe->name, text, why ? ": " : "",
               why ? why : "");
}

/* Does the register take a cut, and give it back? */
static void try_cut(struct probe *probe)
{
    static const char remedy[] = "compare [registers] with the hardware's description: bar, link_config, stride";
    struct error err;
    uint32_t open = probe->address.links & ~probe->before;
    if (open == 0) {
        report_add(probe->report, CHECK_PROBE_CUT, RESULT_WARN, "set idle = restore, or try a card that has open links",
                   "%s has no open link to cut", probe->name);
        return;
    }
    if (probe_write(probe, probe->before | (open & -open), &err) < 0) {
        probe_fail(probe, CHECK_PROBE_CUT, remedy, "does not take a cut", err.text);
    } else if (probe_write(probe, probe->before, &err) < 0) {
        probe_fail(probe, CHECK_PROBE_CUT, remedy, "takes a cut and does not give it back", err.text);
    } else {
        report_pass(probe->report, CHECK_PROBE_CUT, "%s takes a cut and gives it back", probe->name);
    }
}

static int probe_reset(const struct probe *probe, struct error *err)
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

/* Do cuts survive the reset that vfio makes? */
static void try_reset(struct probe *probe)
{
    char bdf[BDF_TEXT_SIZE];
    struct error err;
    bdf_format(probe->address.bdf, bdf);
    CLEANUP_FREE char *methods = fact_text("%s/%s/reset_method", PATH_PCI_DEVICES, bdf);
    if (!fact_exists("%s/%s/reset", PATH_PCI_DEVICES, bdf)) {
        report_add(probe->report, CHECK_PROBE_RESET, RESULT_WARN, "vfio cannot reset it either; see its reset_method",
                   "%s has no reset method: not tried", probe->name);
    } else if (mask_required(&probe->session.machine->topology, probe->session.owners.of, probe->ppu) != 0) {
        report_add(probe->report, CHECK_PROBE_RESET, RESULT_WARN, "try a card without links to a VM",
                   "%s is linked to a card that a VM has: no reset tried", probe->name);
    } else if (probe_write(probe, probe->address.links, &err) < 0) {
        probe_fail(probe, CHECK_PROBE_RESET, NULL, "does not take cuts", err.text);
    } else if (probe_reset(probe, &err) < 0) {
        report_add(probe->report, CHECK_PROBE_RESET, RESULT_WARN, "see the kernel's log", "%s was not reset: %s",
                   probe->name, err.text);
    } else {
        char remedy[512];
        char method[128] = "";
        uint32_t after = 0;
        if (methods) {
            snprintf(method, sizeof method, " (%s)", methods);
        }
        if (probe_read(probe, &after, &err) < 0) {
            probe_fail(probe, CHECK_PROBE_RESET, "no VM can take it before it answers",
                       "does not come back from a reset", err.text);
        } else if ((probe->address.links & ~after) == 0) {
            report_pass(probe->report, CHECK_PROBE_RESET, "%s keeps its cuts over a reset%s", probe->name, method);
        } else {
            snprintf(
                remedy, sizeof remedy,
                "no hook can hold the near end on this card: QEMU resets it; what remains: far ends of idle cards, "
                "another reset_method%s",
                method);
            report_add(probe->report, CHECK_PROBE_RESET, RESULT_FAIL, remedy,
                       "%s loses cuts at a reset: 0x%08" PRIx32 " -> 0x%08" PRIx32, probe->name, probe->address.links,
                       after);
        }
    }
}

/* What the card has now only it can say; if it does not, each link is taken to be other than it was. */
static void probe_put_back(struct probe *probe)
{
    struct error err;
    if (probe_read(probe, &probe->now, &err) < 0) {
        probe->now = probe->address.links & ~probe->before;
    }
    if (probe_write(probe, probe->before, &err) < 0) {
        probe_fail(probe, CHECK_PROBE_BACK, "the next start or stop of a VM with cards tries again, or icn-hook repair",
                   "did not take its mask back", err.text);
    } else if (probe_forget_intent(probe, &err) < 0) {
        probe_fail(probe, CHECK_PROBE_BACK, "icn-hook repair", "is as before, but is still remembered as being tried",
                   err.text);
    } else {
        report_pass(probe->report, CHECK_PROBE_BACK, "%s has its mask 0x%08" PRIx32 " again", probe->name,
                    probe->before);
    }
}

int probe_card(const char *config, const char *card, struct report *report, struct error *err)
{
    struct probe probe = {.report = report, .session = {.state = STATE_CLOSED}};
    int result = -1;
    if (probe_open(&probe, config, card, err) == 0 && probe_read(&probe, &probe.before, err) == 0) {
        probe.now = probe.before;
        result = probe_note_intent(&probe, err);
    }
    if (result == 0) {
        try_cut(&probe);
        try_reset(&probe);
        probe_put_back(&probe);
        const struct trail trail = {.event = EVENT_PROBED, .what = "an idle card was tried"};
        trail_log(&probe.session, &trail);
    }
    session_close(&probe.session);
    return result;
}
