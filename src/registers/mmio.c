/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation
 *
 * The link config register lies in a BAR of the card.  A card is reached in four steps, each
 * of which can say that nothing can be known now: its BAR is memory and has an address (bar.c),
 * it is awake (power.c), its memory decoding is on (decoding.c), its BAR can be mapped (window.c).
 * What was found so before the read is not looked at again before the write: what has changed by
 * then shows in the mapping, or in a register that reads all ones (believe_ones).
 *
 * A write of a card's mask goes through two mappings: read, replace the bits that are links,
 * keep the others, write; then, through one of its own, read back and compare.  So what is
 * read back comes from the card.
 *
 * All ones is what nobody's answer looks like, and a value that the register can hold.  It is
 * believed only while all of this is so: configuration space answers, memory decoding is on,
 * the card is awake, and the link status register beside it reads something else (a wrong
 * BAR, a wrong stride or a dead controller gives all ones everywhere).  Of the link status
 * register they are believed likewise, with the link config register beside it.
 */

#include "base/memory.h"
#include "base/text.h"
#include "registers/backend.h"
#include "registers/bar.h"
#include "registers/decoding.h"
#include "registers/power.h"
#include "registers/window.h"

static const uint32_t ALL_ONES = UINT32_MAX;

/* The card between mmio_begin and mmio_end. */
struct mmio_card {
    const struct card_address *address;
    struct window_place place;
    uint64_t beside; /* the offset of the other register: the one that all ones are believed against */
};

enum mmio_register { LINK_CONFIG, LINK_STATUS };

static enum reading_kind mmio_begin(struct registers *registers, const struct card_address *address,
                                    enum mmio_register which, bool may_touch, struct mmio_card *card, struct error *err)
{
    const struct settings *settings = registers->settings;
    uint64_t config = (uint64_t)settings->link_config * settings->stride;
    uint64_t status = (uint64_t)settings->link_status * settings->stride;
    *card = (struct mmio_card){
        .address = address,
        .place = {.bdf = address->bdf, .bar = settings->bar, .offset = which == LINK_CONFIG ? config : status},
        .beside = which == LINK_CONFIG ? status : config,
    };
    const bool *answers = registers_answers(registers, address->bdf);
    if (answers && *answers) {
        return READING_FINE;
    }
    if (bar_check(address->bdf, settings->bar, err) < 0) {
        return READING_FAILED;
    }
    enum reading_kind kind = registers_awake(registers, address->bdf, may_touch, err);
    if (kind == READING_FINE) {
        kind = decoding_begin(registers, address->bdf, may_touch, &card->place.switched_on, err);
    }
    return kind == READING_FINE ? window_simulate(&card->place, address->state, err) : kind;
}

/* KIND: what the access came to. */
static void mmio_end(const struct registers *registers, const struct mmio_card *card, enum reading_kind kind)
{
    bool *answers = registers_answers(registers, card->address->bdf);
    if (answers) {
        *answers = kind == READING_FINE && !card->place.switched_on;
    }
    decoding_end(registers, card->address->bdf, card->place.switched_on);
}

static enum reading_kind load_from(const struct window_place *place, uint32_t *value, struct error *err)
{
    CLEANUP_WINDOW struct window window = {0};
    enum reading_kind kind = window_open(&window, place, false, err);
    return kind == READING_FINE ? window_load(&window, value, err) : kind;
}

/* The register reads all ones: READING_FINE if that is its value. */
static enum reading_kind believe_ones(const struct mmio_card *card, struct error *err)
{
    struct window_place beside = card->place;
    struct config_head head;
    uint32_t value = 0;
    if (!config_head_read(card->place.bdf, &head) || head.vendor == CONFIG_NOBODY) {
        error_set(err, STATUS_HARDWARE,
                  "the register reads all ones: the card is off the bus or powered down; reset it or replace it");
        return READING_GONE;
    }
    if ((head.command & COMMAND_MEMORY) == 0) {
        error_set(err, STATUS_HARDWARE,
                  "the register reads all ones: memory decoding does not come on; reset the card or replace it");
        return READING_FAILED;
    }
    if (!power_is_steady(card->place.bdf)) {
        error_set(err, STATUS_HARDWARE, "the register reads all ones: the card fell asleep meanwhile");
        return READING_UNVERIFIABLE;
    }
    beside.offset = card->beside;
    enum reading_kind kind = load_from(&beside, &value, err);
    if (kind == READING_FINE && value == ALL_ONES) {
        error_set(err, STATUS_HARDWARE,
                  "all registers read all ones, though the card is on the bus; check bar, link_config, link_status and "
                  "stride in [registers], or reset the card");
        return READING_FAILED;
    }
    return kind;
}

static enum reading_kind load(const struct mmio_card *card, uint32_t *value, struct error *err)
{
    enum reading_kind kind = load_from(&card->place, value, err);
    return kind == READING_FINE && *value == ALL_ONES ? believe_ones(card, err) : kind;
}

/* VALUE is the register's, whole: 0 if it could not be read. */
static void read_register(struct registers *registers, const struct card_address *address, enum mmio_register which,
                          bool may_touch, struct reading *reading, uint32_t *value)
{
    struct mmio_card card;
    struct error err;
    *value = 0;
    *reading = (struct reading){.kind = mmio_begin(registers, address, which, may_touch, &card, &err)};
    if (reading->kind == READING_FINE) {
        reading->kind = load(&card, value, &err);
    }
    mmio_end(registers, &card, reading->kind);
    if (reading->kind != READING_FINE) {
        text_copy_line(reading->why, sizeof reading->why, err.text);
        reading->is_kept = reading->kind == READING_UNVERIFIABLE && window_has_host_driver(address->bdf);
    }
}

static void mmio_read(struct registers *registers, const struct card_address *address, bool may_touch,
                      struct reading *reading)
{
    uint32_t value;
    read_register(registers, address, LINK_CONFIG, may_touch, reading, &value);
    if (reading->kind == READING_FINE) {
        reading->mask = (registers->settings->cut_bit == 1 ? value : ~value) & address->links;
    }
}

/* The polarity is a setting of the link config register alone: here bit set = link up. */
static void mmio_read_status(struct registers *registers, const struct card_address *address, bool may_touch,
                             struct reading *reading)
{
    uint32_t value;
    read_register(registers, address, LINK_STATUS, may_touch, reading, &value);
    if (reading->kind == READING_FINE) {
        reading->mask = value & address->links;
    }
}

/* Sets the bits that are links; *wanted is the whole value that was written. */
static enum reading_kind store_links(const struct registers *registers, const struct mmio_card *card, uint32_t mask,
                                     uint32_t *wanted, struct error *err)
{
    uint32_t links = card->address->links;
    uint32_t bits = registers->settings->cut_bit == 1 ? mask : ~mask;
    uint32_t value = 0;
    CLEANUP_WINDOW struct window window = {0};
    enum reading_kind kind = window_open(&window, &card->place, true, err);
    if (kind == READING_FINE) {
        kind = window_load(&window, &value, err);
    }
    if (kind == READING_FINE && value == ALL_ONES) {
        kind = believe_ones(card, err);
    }
    if (kind != READING_FINE) {
        return kind;
    }
    *wanted = (value & ~links) | (bits & links);
    return window_store(&window, *wanted, err);
}

static enum reading_kind store_and_verify(const struct registers *registers, const struct mmio_card *card,
                                          uint32_t mask, struct error *err)
{
    uint32_t wanted = 0;
    uint32_t value = 0;
    enum reading_kind kind = store_links(registers, card, mask, &wanted, err);
    if (kind != READING_FINE) {
        return kind;
    }
    if (load(card, &value, err) != READING_FINE) {
        return READING_FAILED; /* not to be put off: it may have been written */
    }
    if (((value ^ wanted) & card->address->links) != 0) {
        error_set(err, STATUS_HARDWARE, "register did not take the write (wrote 0x%08x, reads 0x%08x)", wanted, value);
        return READING_FAILED;
    }
    return READING_FINE;
}

/* READING_FINE only if the register took it; READING_UNVERIFIABLE only if nothing was changed. */
static enum reading_kind write_mask(struct registers *registers, const struct card_address *address, uint32_t mask,
                                    struct error *err)
{
    char text[BDF_TEXT_SIZE];
    struct mmio_card card;
    enum reading_kind kind = mmio_begin(registers, address, LINK_CONFIG, true, &card, err);
    if (kind == READING_FINE) {
        kind = store_and_verify(registers, &card, mask, err);
    }
    mmio_end(registers, &card, kind);
    if (kind != READING_FINE) {
        error_wrap(err, "PPU %d (%s)", address->ppu, bdf_format(address->bdf, text));
    }
    return kind;
}

/* What write_planned needs, and leaves for mmio_write_plan. */
struct mmio_writing {
    struct registers *registers;
    const struct writing *writing;
    struct text_list *warnings;
    struct error near_failure;
    bool passed_over[PPU_MAX];  /* a near end that could not be cut, which keep_going lets pass */
    bool out_of_reach[PPU_MAX]; /* another write that was not made, because the registers are held */
};

static enum apply_outcome write_planned(void *context, const struct plan_write *write)
{
    struct mmio_writing *mmio = context;
    const struct writing *writing = mmio->writing;
    struct error err;
    enum reading_kind kind = write_mask(mmio->registers, &writing->cards[write->ppu], write->to, &err);
    if (kind == READING_FINE) {
        return APPLY_DONE;
    }
    bool is_near_cut = write->role == ROLE_NEAR && plan_write_cuts(write);
    if (is_near_cut && kind == READING_UNVERIFIABLE && writing->may_defer) {
        return APPLY_DEFERRED;
    }
    if (is_near_cut && !writing->keep_going) {
        mmio->near_failure = err;
        return APPLY_FAILED;
    }
    text_list_add(mmio->warnings, "%s", err.text);
    mmio->passed_over[write->ppu] = is_near_cut;
    mmio->out_of_reach[write->ppu] = !is_near_cut && kind == READING_UNVERIFIABLE;
    return is_near_cut ? APPLY_DEFERRED : APPLY_FAILED;
}

static int mmio_write_plan(struct registers *registers, const struct writing *writing, enum apply_outcome outcomes[],
                           struct text_list *warnings, struct error *err)
{
    const struct plan *plan = writing->plan;
    struct mmio_writing mmio = {.registers = registers, .writing = writing, .warnings = warnings};
    CLEANUP_FREE struct bdf *bdfs = memory_alloc(plan->count, sizeof *bdfs);
    for (size_t i = 0; i < plan->count; i++) {
        bdfs[i] = writing->cards[plan->writes[i].ppu].bdf;
    }
    registers_wake(registers, bdfs, plan->count);
    bool is_cut = apply(plan, writing->may_defer || writing->keep_going, write_planned, &mmio, outcomes);
    for (size_t i = 0; i < plan->count; i++) {
        if (outcomes[i] == APPLY_DEFERRED && mmio.passed_over[plan->writes[i].ppu]) {
            outcomes[i] = APPLY_FAILED;
        } else if (outcomes[i] == APPLY_FAILED && mmio.out_of_reach[plan->writes[i].ppu]) {
            outcomes[i] = APPLY_DEFERRED;
        }
    }
    if (!is_cut) {
        *err = mmio.near_failure;
        return -1;
    }
    return 0;
}

const struct registers_backend registers_mmio = {
    .name = "mmio",
    .cuts_single_links = true,
    .read = mmio_read,
    .read_status = mmio_read_status,
    .write_plan = mmio_write_plan,
};
