/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation
 *
 * A card that no driver has enabled may have its memory decoding off; its BARs
 * then read all ones and swallow writes.  sysfs's `enable` switches it on.  In
 * the kernel (drivers/pci/pci-sysfs.c, enable_store) that file is a count of
 * users, not a switch:
 *
 * - "1" adds one.  Only the step from 0 to 1 touches the card, so with a count
 *   above 0 it could not help.
 * - "0" takes one away.  The kernel then clears bus mastering and leaves
 *   decoding on, which is harmless.
 * - While any driver is bound, vfio-pci too, both are refused with EBUSY.
 *
 * So it is written only when no driver is bound and the count is 0, and the
 * one is taken back right after the access.  Before the "1" a note goes to the
 * ledger, after the "0" it is taken away: a count that a killed hook left would
 * later look like a process that holds the card.
 */
#include "registers/decoding.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/paths.h"
#include "host/sysfs.h"

enum { CONFIG_COMMAND = 4, CONFIG_HEAD_SIZE = 6, COMMAND_MEMORY = 0x2 };

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
    CLEANUP_FD int fd = open(path, O_WRONLY | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0 || write(fd, value, 2) != 2) {
        return error_set_errno(err, STATUS_HARDWARE, errno, "cannot write %c to enable of %s", value[0], text);
    }
    return 0;
}

static void stays_off(struct decoding *decoding, const char *format, ...) PRINTF_LIKE(2, 3);
static void stays_off(struct decoding *decoding, const char *format, ...)
{
    va_list arguments;

    decoding->off = true;
    va_start(arguments, format);
    vsnprintf(decoding->why, sizeof decoding->why, format, arguments);
    va_end(arguments);
}

/* With the note in place; takes it away again if nothing was switched. */
static void switch_on(const struct registers *registers, struct bdf bdf, struct decoding *decoding)
{
    struct error err;
    struct error unused;

    if (ledger_note_enabled(registers->ledger, bdf, &err) != 0) {
        stays_off(decoding, "memory decoding is off and is not switched on without a note in the ledger: %s", err.text);
        return;
    }
    decoding->switched_on = decoding_switch(bdf, true, &err) == 0;
    if (decoding->switched_on) {
        return;
    }
    stays_off(decoding, "memory decoding is off and cannot be switched on: %s", err.text);
    if (ledger_forget_enabled(registers->ledger, bdf, &unused) != 0) {
        return; /* registers_recover finds the note and a count of 0 */
    }
}

void decoding_begin(const struct registers *registers, struct bdf bdf, struct decoding *decoding)
{
    struct config_head head;
    struct pci_state state;

    *decoding = (struct decoding){0};
    if (!config_head_read(bdf, &head) || (head.command & COMMAND_MEMORY) != 0) {
        return;
    }
    if (!registers->may_write || registers->ledger == NULL || registers->ledger->lockfd == -1) {
        stays_off(decoding, "memory decoding is off");
        return;
    }
    sysfs_read_state(bdf, &state);
    if (state.driver[0] != '\0') {
        decoding->held = true;
        stays_off(decoding, "memory decoding is off and cannot be switched on while driver %s is bound", state.driver);
    } else if (state.enable > 0) {
        stays_off(decoding, "memory decoding is off although the card is enabled (enable is %d)", state.enable);
    } else {
        switch_on(registers, bdf, decoding);
    }
}

void decoding_end(const struct registers *registers, struct bdf bdf, const struct decoding *decoding)
{
    struct error unused;

    if (!decoding->switched_on || decoding_switch(bdf, false, &unused) != 0) {
        return; /* a note that stays is registers_recover's matter */
    }
    if (ledger_forget_enabled(registers->ledger, bdf, &unused) != 0) {
        return; /* likewise, with a count of 0 */
    }
}
