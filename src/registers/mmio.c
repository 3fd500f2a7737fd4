/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation
 *
 * The link config register lies in a BAR of the card, which sysfs shows as the
 * file resourceN.  Every single access opens the file, maps the one page that
 * holds the register, reads or writes 32 little-endian bits, unmaps and closes:
 *
 * - a descriptor or mapping that stayed open would hold up the unbinding of the
 *   driver that libvirt does right after `prepare`;
 * - a write is verified through a mapping of its own, so that what is read back
 *   is what the card holds.
 *
 * A write of a card's mask is: read; replace the wired bits, keep the others;
 * write; read back; compare the wired bits.
 *
 * What stands in the way, and what it means (Debian's kernels, IO_STRICT_DEVMEM):
 *   mmap EINVAL, EBUSY   a host driver claimed the BAR or QEMU has the card open:
 *                        nothing can be said now, it may work later
 *   mmap EPERM           kernel lockdown: never works on this host as it is booted
 *   all ones             nothing answers: the card is off the bus, or its memory
 *                        decoding is off (decoding.c).  A card whose 32 links are
 *                        all wired can hold all ones rightly; it is believed if
 *                        its configuration space answers.
 *   D3hot                what is read means nothing: the card is woken first (power.c)
 *   SIGBUS               the card was removed between mapping and access
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/paths.h"
#include "registers/decoding.h"
#include "registers/registers.h"

static const uint32_t ALL_ONES = UINT32_MAX;

static uint64_t register_offset(const struct settings *settings)
{
    return (uint64_t)settings->link_config * settings->stride;
}

static enum reading_kind open_failed(int number, int bar, bool card_exists, struct error *err)
{
    if (number == ENOENT && !card_exists) {
        error_set(err, STATUS_HARDWARE, "the card is not in sysfs; check that it is plugged in and powered");
    } else if (number == ENOENT) {
        error_set(err, STATUS_HARDWARE, "resource%d is missing: the card has no such BAR; check bar in [registers]",
                  bar);
    } else if (number == EACCES || number == EPERM) {
        error_set_errno(err, STATUS_HARDWARE, number, "cannot open resource%d (this needs root)", bar);
    } else {
        error_set_errno(err, STATUS_HARDWARE, number, "cannot open resource%d", bar);
    }
    return READING_FAILED;
}

static enum reading_kind open_resource(struct bdf bdf, int bar, bool for_write, int *fd, struct error *err)
{
    char text[BDF_TEXT_SIZE];
    CLEANUP_FREE char *directory = paths_resolve("%s/%s", PATH_PCI_DEVICES, bdf_format(bdf, text));
    CLEANUP_FREE char *path = paths_resolve("%s/resource%d", directory, bar);
    int flags = (for_write ? O_RDWR : O_RDONLY) | O_SYNC | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
    int opened = open(path, flags);
    int number = errno;

    if (opened < 0) {
        return open_failed(number, bar, access(directory, F_OK) == 0, err);
    }
    *fd = opened;
    return READING_FINE;
}

static enum reading_kind check_size(int fd, int bar, uint64_t offset, struct error *err)
{
    struct stat status;

    if (fstat(fd, &status) != 0) {
        int number = errno;

        error_set_errno(err, STATUS_HARDWARE, number, "cannot examine resource%d", bar);
        return READING_FAILED;
    }
    if (!S_ISREG(status.st_mode)) {
        error_set(err, STATUS_HARDWARE, "resource%d is not a regular file", bar);
        return READING_FAILED;
    }
    if ((uint64_t)status.st_size < offset + sizeof(uint32_t)) {
        error_set(err, STATUS_HARDWARE,
                  "resource%d has %lld bytes, too few for the register at 0x%llx; check bar, link_config and stride in "
                  "[registers]",
                  bar, (long long)status.st_size, (unsigned long long)offset);
        return READING_FAILED;
    }
    return READING_FINE;
}

static enum reading_kind map_failed(int number, int bar, struct error *err)
{
    if (number == EINVAL || number == EBUSY) {
        error_set(err, STATUS_HARDWARE,
                  "resource%d cannot be mapped now: a driver or QEMU holds the card's registers (%s)", bar,
                  number == EINVAL ? "EINVAL" : "EBUSY");
        return READING_UNVERIFIABLE;
    }
    if (number == EPERM) {
        error_set(err, STATUS_HARDWARE,
                  "the kernel does not let resource%d be mapped: it is locked down (/sys/kernel/security/lockdown); "
                  "boot without lockdown or set backend = ppudbg",
                  bar);
    } else {
        error_set_errno(err, STATUS_HARDWARE, number, "cannot map resource%d", bar);
    }
    return READING_FAILED;
}

static sigjmp_buf bus_error;

static void on_bus_error(int number)
{
    (void)number;
    siglongjmp(bus_error, 1);
}

/* Writes *STORE (unless NULL), then reads: that pushes a posted write out to the
 * card.  False: the card has gone meanwhile. */
static bool touch(volatile uint32_t *word, const uint32_t *store, uint32_t *value)
{
    struct sigaction guard = {.sa_handler = on_bus_error};
    struct sigaction before;
    bool answered = false;

    sigaction(SIGBUS, &guard, &before);
    if (sigsetjmp(bus_error, 1) == 0) {
        if (store != NULL) {
            *word = htole32(*store);
        }
        *value = le32toh(*word);
        answered = true;
    }
    sigaction(SIGBUS, &before, NULL);
    return answered;
}

/* One access through a mapping of its own: see touch. */
static enum reading_kind access_register(const struct settings *settings, struct bdf bdf, const uint32_t *store,
                                         uint32_t *value, struct error *err)
{
    uint64_t offset = register_offset(settings);
    size_t page_size = (size_t)sysconf(_SC_PAGESIZE);
    size_t within = (size_t)(offset % page_size);
    CLEANUP_FD int fd = -1;
    enum reading_kind kind = open_resource(bdf, settings->bar, store != NULL, &fd, err);
    unsigned char *page;
    bool answered;

    if (kind == READING_FINE) {
        kind = check_size(fd, settings->bar, offset, err);
    }
    if (kind != READING_FINE) {
        return kind;
    }
    page = mmap(NULL, page_size, store != NULL ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, fd,
                (off_t)(offset - within));
    if (page == MAP_FAILED) {
        return map_failed(errno, settings->bar, err);
    }
    answered = touch((volatile uint32_t *)(void *)(page + within), store, value);
    munmap(page, page_size);
    if (!answered) {
        error_set(err, STATUS_HARDWARE, "resource%d: bus error, the card was removed during the access", settings->bar);
        return READING_FAILED;
    }
    return READING_FINE;
}

/* A value of all ones: is it the card's? */
static bool all_ones_are_real(const struct card_address *card)
{
    struct config_head head;

    return card->links == ALL_ONES && config_head_read(card->bdf, &head) && head.vendor != 0xffff;
}

/* Nobody answered, or it is not known whether. */
static enum reading_kind no_answer(const struct registers *registers, const struct decoding *decoding,
                                   struct error *err)
{
    if (decoding->off) {
        error_set(err, STATUS_HARDWARE, "%s", decoding->why);
        return decoding->held || !registers->may_write ? READING_UNVERIFIABLE : READING_FAILED;
    }
    error_set(err, STATUS_HARDWARE,
              "the register reads all ones: the card is off the bus or powered down; reset it or replace it");
    return READING_GONE;
}

static enum reading_kind load(const struct registers *registers, const struct card_address *card,
                              const struct decoding *decoding, uint32_t *value, struct error *err)
{
    uint32_t loaded = 0;
    enum reading_kind kind = access_register(registers->settings, card->bdf, NULL, &loaded, err);

    if (kind != READING_FINE) {
        return kind;
    }
    if (loaded == ALL_ONES && (decoding->off || !all_ones_are_real(card))) {
        return no_answer(registers, decoding, err);
    }
    *value = loaded;
    return READING_FINE;
}

static void mmio_read(struct registers *registers, const struct card_address *card, struct reading *reading)
{
    struct decoding decoding;
    struct error err;
    uint32_t value = 0;

    *reading = (struct reading){.kind = registers_wake(registers, card->bdf, &err)};
    if (reading->kind == READING_FINE) {
        decoding_begin(registers, card->bdf, &decoding);
        reading->kind = load(registers, card, &decoding, &value, &err);
        decoding_end(registers, card->bdf, &decoding);
    }
    if (reading->kind != READING_FINE) {
        snprintf(reading->why, sizeof reading->why, "%.*s", (int)sizeof reading->why - 1, err.text);
        return;
    }
    reading->mask = (registers->settings->cut_bit == 1 ? value : ~value) & card->links;
}

static enum reading_kind store_and_verify(const struct registers *registers, const struct card_address *card,
                                          const struct decoding *decoding, uint32_t mask, struct error *err)
{
    uint32_t bits = registers->settings->cut_bit == 1 ? mask : ~mask;
    uint32_t value = 0;
    uint32_t wanted;
    enum reading_kind kind = load(registers, card, decoding, &value, err);

    if (kind != READING_FINE) {
        return kind;
    }
    wanted = (value & ~card->links) | (bits & card->links);
    kind = access_register(registers->settings, card->bdf, &wanted, &value, err);
    if (kind == READING_FINE) {
        kind = load(registers, card, decoding, &value, err);
    }
    if (kind == READING_FINE && ((value ^ wanted) & card->links) != 0) {
        error_set(err, STATUS_HARDWARE, "register did not take the write (wrote 0x%08x, reads 0x%08x)", wanted, value);
        return READING_FAILED;
    }
    return kind;
}

static enum write_failure mmio_write(struct registers *registers, const struct card_address *card, uint32_t mask,
                                     struct error *err)
{
    char text[BDF_TEXT_SIZE];
    struct decoding decoding;
    enum reading_kind kind = registers_wake(registers, card->bdf, err);

    if (kind == READING_FINE) {
        decoding_begin(registers, card->bdf, &decoding);
        kind = store_and_verify(registers, card, &decoding, mask, err);
        decoding_end(registers, card->bdf, &decoding);
    }
    if (kind == READING_FINE) {
        return WRITE_FINE;
    }
    error_wrap(err, "PPU %d (%s)", card->ppu, bdf_format(card->bdf, text));
    return kind == READING_UNVERIFIABLE ? WRITE_HELD : WRITE_FAILED;
}

const struct registers_backend registers_mmio = {
    .name = "mmio",
    .reads_back = true,
    .read = mmio_read,
    .write = mmio_write,
};
