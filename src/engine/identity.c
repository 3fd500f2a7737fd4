/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation: which card is which PPU.
 *
 * Only [map] says so.  The vendor's ids follow no order, and addresses change when somebody adds a card: so what can be
 * seen to contradict [map] refuses every VM with PPUs (identity_check_cards).  A pinned card that is absent while
 * another that matches is not pinned has moved; a card that is only absent, or only not pinned, harms no other.
 *
 * What is in force is remembered for this boot (identity_settle), because the masks of running VMs were made by it.
 * While anybody owns a card it stays in force: ends and repairs go by it, but no link is opened and no VM is started,
 * until the configuration is changed back or nobody owns a card.
 */
#include "engine/identity.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

#define REMEDY "run icn-hook setup"
#define MOVED "the cards have moved since [map] was written: "

/* What the card at BDF shows of KIND, in TEXT; as pci_card_path. */
enum mark { MARK_PATH, MARK_SERIAL };
enum { MARK_SIZE = PIN_PATH_SIZE };

_Static_assert((int)MARK_SIZE >= (int)PCI_PATH_SIZE && (int)MARK_SIZE >= (int)PCI_SERIAL_SIZE, "a mark fits");

static const char *const mark_names[] = {[MARK_PATH] = "path", [MARK_SERIAL] = "serial"};

static int read_mark(enum mark mark, struct bdf bdf, char text[MARK_SIZE])
{
    return mark == MARK_PATH ? pci_card_path(bdf, text) : pci_card_serial(bdf, text);
}

static const char *pinned_mark(const struct settings_pin *pin, enum mark mark)
{
    return mark == MARK_PATH ? pin->path : pin->serial;
}

/* The card of CARDS that shows what PIN gives of MARK; NULL: none does. */
static const struct bdf *find_marked(const struct settings_pin *pin, enum mark mark, const struct bdf *cards,
                                     size_t count)
{
    for (size_t i = 0; pinned_mark(pin, mark)[0] && i < count; i++) {
        char text[MARK_SIZE];
        if (read_mark(mark, cards[i], text) == 0 && strcmp(text, pinned_mark(pin, mark)) == 0) {
            return &cards[i];
        }
    }
    return NULL;
}

/* Another card than the pinned one is at its address: it has SHOWN (NULL: none) for MARK. */
static int refuse_other_card(const struct machine *machine, const struct settings_pin *pin, enum mark mark,
                             const char *shown, struct error *err)
{
    CLEANUP_FREE struct bdf *cards = NULL;
    size_t count = 0;
    char bdf[BDF_TEXT_SIZE];
    char now[BDF_TEXT_SIZE];
    struct error ignored;
    const struct bdf *there =
        machine_list_cards(machine, &cards, &count, &ignored) == 0 ? find_marked(pin, mark, cards, count) : NULL;
    bdf_format(pin->bdf, bdf);
    if (there) {
        return error_set(err, STATUS_INVALID, MOVED "PPU %d was at %s and is at %s now (%s %s); " REMEDY, pin->ppu, bdf,
                         bdf_format(*there, now), mark_names[mark], pinned_mark(pin, mark));
    }
    return error_set(err, STATUS_INVALID, MOVED "PPU %d was at %s, where another card is now (%s %s, not %s); " REMEDY,
                     pin->ppu, bdf, mark_names[mark], shown ? shown : "none", pinned_mark(pin, mark));
}

/* A card that matches is at the pinned address: is it the pinned one? */
static int check_marks(struct machine *machine, const struct settings_pin *pin, struct error *err)
{
    static const enum mark marks[] = {MARK_PATH, MARK_SERIAL};
    for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++) {
        char text[MARK_SIZE];
        if (!pinned_mark(pin, marks[i])[0]) {
            continue;
        }
        int result = read_mark(marks[i], pin->bdf, text);
        if (result < 0) {
            machine->pins[pin->ppu] = PIN_UNSURE;
        } else if (result > 0 || strcmp(text, pinned_mark(pin, marks[i])) != 0) {
            return refuse_other_card(machine, pin, marks[i], result == 0 ? text : NULL, err);
        }
    }
    return 0;
}

static bool is_pinned(const struct machine *machine, struct bdf card)
{
    for (int i = 0; i < machine->settings.map_count; i++) {
        if (bdf_compare(machine->settings.map[i].bdf, card) == 0) {
            return true;
        }
    }
    return false;
}

/* ABSENT is pinned and not there: has it moved?  Only a card that is pinned nowhere can be it. */
static int check_absent(const struct machine *machine, const struct settings_pin *absent, struct error *err)
{
    CLEANUP_FREE struct bdf *cards = NULL;
    size_t count = 0;
    size_t unpinned = 0;
    char was[BDF_TEXT_SIZE];
    char is[BDF_TEXT_SIZE];
    if (machine_list_cards(machine, &cards, &count, err) < 0) {
        return -1;
    }
    for (size_t i = 0; i < count; i++) {
        if (!is_pinned(machine, cards[i])) {
            cards[unpinned++] = cards[i];
        }
    }
    bdf_format(absent->bdf, was);
    if (unpinned > 0) {
        const struct bdf *there = find_marked(absent, MARK_SERIAL, cards, unpinned);
        there = there ? there : find_marked(absent, MARK_PATH, cards, unpinned);
        if (there) {
            return error_set(err, STATUS_INVALID, MOVED "PPU %d was at %s and is at %s now; " REMEDY, absent->ppu, was,
                             bdf_format(*there, is));
        }
        return error_set(
            err, STATUS_INVALID,
            MOVED "PPU %d was at %s, where no card matches %s now, and %s is a card that is not in [map]; " REMEDY,
            absent->ppu, was, machine->settings.match, bdf_format(cards[0], is));
    }
    if (machine->finds_none) {
        return error_set(err, STATUS_INVALID,
                         "match = %s in [ppu] finds none of the %d cards in [map], not even %s; correct it, or see "
                         "lspci -D -nn for what became of the cards",
                         machine->settings.match, machine->settings.map_count, was);
    }
    return 0;
}

int identity_check_cards(struct machine *machine, struct error *err)
{
    const struct settings_pin *absent = NULL;
    int found = 0;
    bool is_unreadable = false;
    bool has_moved = false;
    struct error fault;
    for (int i = 0; i < machine->settings.map_count; i++) {
        const struct settings_pin *pin = &machine->settings.map[i];
        bool present;
        bool matches;
        if (pci_look_up(machine->pci, pin->bdf, &present, &matches, &fault) < 0) {
            machine->pins[pin->ppu] = PIN_UNSURE;
            if (!is_unreadable) {
                error_append(&fault, "; correct that, or take PPU %d out of [map]", pin->ppu);
                *err = fault;
            }
            is_unreadable = true;
            continue;
        }
        machine->pins[pin->ppu] = matches ? PIN_FINE : present ? PIN_OTHER_FUNCTION : PIN_ABSENT;
        found += matches;
        absent = absent || matches ? absent : pin;
    }
    machine->finds_none = found == 0;
    for (int i = 0; i < machine->settings.map_count; i++) {
        const struct settings_pin *pin = &machine->settings.map[i];
        if (machine->pins[pin->ppu] == PIN_FINE && check_marks(machine, pin, &fault) < 0) {
            machine->pins[pin->ppu] = PIN_UNSURE;
            if (!is_unreadable && !has_moved) {
                *err = fault;
            }
            has_moved = true;
        }
    }
    if (!is_unreadable && !has_moved && absent) {
        has_moved = check_absent(machine, absent, err) < 0;
    }
    /* Of cards that have moved only those are known that show more than their address. */
    for (int i = 0; has_moved && i < machine->settings.map_count; i++) {
        const struct settings_pin *pin = &machine->settings.map[i];
        if (machine->pins[pin->ppu] == PIN_FINE && !pin->path[0] && !pin->serial[0]) {
            machine->pins[pin->ppu] = PIN_UNSURE;
        }
    }
    return is_unreadable || has_moved ? -1 : 0;
}

/* What the configuration says. */
static struct boot_identity *identity_of(const struct machine *machine)
{
    const struct settings *settings = &machine->settings;
    struct boot_identity *identity = memory_alloc(1, sizeof *identity);
    const struct settings_pin *pins[PPU_MAX] = {NULL};
    identity->topology = machine->topology;
    identity->pins = memory_alloc((size_t)settings->map_count + 1, sizeof *identity->pins);
    for (int i = 0; i < settings->map_count; i++) {
        pins[settings->map[i].ppu] = &settings->map[i];
    }
    for (int ppu = 0; ppu < PPU_MAX; ppu++) {
        if (pins[ppu]) {
            identity->pins[identity->pin_count++] = *pins[ppu];
        }
    }
    return identity;
}

static void put_in_force(struct machine *machine, const struct boot_identity *identity)
{
    machine->topology = identity->topology;
    memset(machine->mapped, 0, sizeof machine->mapped);
    for (int i = 0; i < identity->pin_count; i++) {
        const struct settings_pin *pin = &identity->pins[i];
        bool present;
        bool matches;
        struct error ignored;
        bool is_known = pci_look_up(machine->pci, pin->bdf, &present, &matches, &ignored) == 0;
        machine->mapped[pin->ppu] = true;
        machine->card[pin->ppu] = pin->bdf;
        machine->pins[pin->ppu] = !is_known ? PIN_UNSURE
                                  : matches ? PIN_FINE
                                  : present ? PIN_OTHER_FUNCTION
                                            : PIN_ABSENT;
    }
}

/* A damaged file that nobody needs any more is replaced too. */
static void remember_identity(struct session *session, const struct boot_identity *identity, bool is_damaged)
{
    struct error err;
    if (state_write_identity(&session->state, identity, &err) < 0) {
        session->identity_doubt = err;
        notes_add(&session->notes, NOTE_ERROR, NOTE_IDENTITY, -1, NULL, "%s", err.text);
    } else if (is_damaged) {
        notes_add(&session->notes, NOTE_INFO, NOTE_CHANGE, -1, NULL,
                  "the damaged record of which card is which PPU is begun anew");
    }
}

/* The fault of a file that cannot be used; NULL: there is none. */
static const struct state_fault *find_identity_fault(const struct session *session)
{
    for (size_t i = 0; i < session->state.fault_count; i++) {
        if (session->state.faults[i].kind == FAULT_IDENTITY) {
            return &session->state.faults[i];
        }
    }
    return NULL;
}

void identity_settle(struct session *session, identity_gatherer *gather)
{
    struct machine *machine = session->machine;
    const struct boot_identity *known = session->state.identity;
    const struct state_fault *fault = find_identity_fault(session);
    char difference[IDENTITY_DIFFERENCE_SIZE];
    if (!machine->has_ids) {
        gather(session);
        return;
    }
    struct boot_identity *wanted = identity_of(machine);
    bool differs = known && boot_identity_differs(known, wanted, difference);
    if (differs) {
        put_in_force(machine, known);
        gather(session);
        if (session->owners.holding_count > 0) {
            session->has_old_identity = true;
            error_set(&session->identity_doubt, STATUS_INVALID,
                      "the configuration was changed while cards are in use: %s; change it back, or stop the VMs and "
                      "release the groups that have cards",
                      difference);
            notes_add(&session->notes, NOTE_ERROR, NOTE_IDENTITY, -1, NULL, "%s", session->identity_doubt.text);
            boot_identity_free(wanted);
            return;
        }
        put_in_force(machine, wanted);
    }
    gather(session);
    if (fault && session->owners.holding_count > 0) {
        session->identity_doubt = fault->error;
    } else if (session->access == SESSION_CHANGE && (!known || differs)) {
        remember_identity(session, wanted, fault);
    }
    boot_identity_free(wanted);
}
