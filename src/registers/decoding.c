/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation
 *
 * A card that no driver has enabled may have its memory decoding off; its BARs then read all
 * ones and swallow writes, so they are not touched.  sysfs's `enable` switches it on.  In the
 * kernel (drivers/pci/pci-sysfs.c, enable_store) that file is a count of users, not a switch:
 *
 * - "1" adds one.  Only the step from 0 to 1 touches the card, so with a count above 0 it
 *   could not help.
 * - "0" takes one away.  The kernel then clears bus mastering and leaves decoding on, which
 *   is harmless.
 * - While any driver is bound, vfio-pci too, both are refused with EBUSY.
 *
 * So it is written only when no driver is bound and the count is 0, and the one is taken back
 * right after the access.  Before the "1" a note goes to our state, after the "0" it is taken
 * away: a count that a killed hook left would later look like a process that holds the card.
 */
#include "registers/decoding.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/paths.h"
#include "host/sysfs.h"

enum { CONFIG_COMMAND = 4, CONFIG_HEAD_SIZE = 6 };

bool config_head_read(struct bdf bdf, struct config_head *head)
{
    char text[BDF_TEXT_SIZE];
    unsigned char bytes[CONFIG_HEAD_SIZE];
    CLEANUP_FREE char *path = paths_resolve("%s/%s/config", PATH_PCI_DEVICES, bdf_format(bdf, text));
    CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    /* No more than the head: reading further has side effects on some cards. */
    if (fd < 0 || pread(fd, bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes) {
        return false;
    }
    head->vendor = (uint16_t)(bytes[0] | bytes[1] << 8);
    head->command = (uint16_t)(bytes[CONFIG_COMMAND] | bytes[CONFIG_COMMAND + 1] << 8);
    return true;
}

int decoding_switch(struct bdf bdf, bool on, struct error *err)
{
    char text[BDF_TEXT_SIZE];
    const char *value = on ? "1\n" : "0\n";
    CLEANUP_FREE char *path = paths_resolve("%s/%s/enable", PATH_PCI_DEVICES, bdf_format(bdf, text));
    int number = file_write_word_at(AT_FDCWD, path, value);
    if (number < 0) {
        return error_set_errno(err, STATUS_HARDWARE, -number, "cannot write %c to enable of %s", value[0], text);
    }
    return 0;
}

/* With the note in place; takes it away again if nothing was switched. */
static enum reading_kind switch_on(const struct registers *registers, struct bdf bdf, bool *switched_on,
                                   struct error *err)
{
    struct error unused;
    if (state_note_enabled(registers->state, bdf, err) < 0) {
        error_wrap(err, "memory decoding is off and is not switched on without a note of it");
        return READING_FAILED;
    }
    if (decoding_switch(bdf, true, err) == 0) {
        *switched_on = true;
        return READING_FINE;
    }
    error_wrap(err, "memory decoding is off and cannot be switched on");
    if (state_forget_enabled(registers->state, bdf, &unused) < 0) {
        return READING_FAILED; /* registers_recover finds the note and a count of 0 */
    }
    return READING_FAILED;
}

enum reading_kind decoding_begin(const struct registers *registers, struct bdf bdf, bool may_touch, bool *switched_on,
                                 struct error *err)
{
    struct config_head head;
    struct pci_state card;
    *switched_on = false;
    if (!config_head_read(bdf, &head) || (head.command & COMMAND_MEMORY) != 0) {
        return READING_FINE;
    }
    if (!may_touch || !registers->may_write) {
        error_set(err, STATUS_HARDWARE, "memory decoding is off");
        return READING_UNVERIFIABLE;
    }
    sysfs_read_state(bdf, &card);
    if (card.driver[0] != '\0') {
        error_set(err, STATUS_HARDWARE, "memory decoding is off and cannot be switched on while driver %s is bound",
                  card.driver);
        return READING_UNVERIFIABLE;
    }
    if (card.enable > 0) {
        error_set(err, STATUS_HARDWARE, "memory decoding is off although the card is enabled (enable is %d)",
                  card.enable);
        return READING_FAILED;
    }
    if (!registers->state || registers->state->lockfd == -1) {
        error_set(err, STATUS_HARDWARE, "memory decoding is off");
        return READING_FAILED;
    }
    return switch_on(registers, bdf, switched_on, err);
}

void decoding_end(const struct registers *registers, struct bdf bdf, bool switched_on)
{
    struct error unused;
    if (!switched_on || decoding_switch(bdf, false, &unused) < 0) {
        return; /* a note that stays is registers_recover's matter */
    }
    if (state_forget_enabled(registers->state, bdf, &unused) < 0) {
        return; /* likewise, with a count of 0 */
    }
}
