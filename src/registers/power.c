/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation
 *
 * vfio-pci lets a card that nobody has opened sleep in D3hot (its parameter
 * disable_idle_d3 is off by default; drivers/vfio/pci/vfio_pci_core.c).  That is
 * where every card is at `start`, right after libvirt has bound it, and again at
 * `stopped`.  Reads then give all ones on hardware, zeros under QEMU, and writes
 * are lost.
 *
 * Files of sysfs (Documentation/ABI/testing/sysfs-bus-pci, sysfs-devices-power):
 *   power_state            D0, D1, D2, D3hot, D3cold, unknown, error
 *   power/runtime_status   active, suspended, suspending, resuming, error, unsupported
 *   power/control          "auto": the kernel may let it sleep; "on": it may not, and
 *                          writing that wakes it before the write returns
 *
 * A card is woken for its first access and let sleep when all is done, because
 * waking takes 10 ms.  A killed hook leaves "on", which costs power and nothing
 * else: vfio-pci writes "auto" again when it is next bound.
 *
 * A card in D3hot that is not suspended was put there by its user, through its
 * own PM register: it is left alone.
 */
#include "registers/power.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/paths.h"

enum { WAKE_MS = 1000, WAKE_STEP_NS = 1000000 };

static bool read_word(struct bdf bdf, const char *name, char word[POWER_STATE_SIZE])
{
    char text[BDF_TEXT_SIZE];
    CLEANUP_FREE char *path = paths_resolve("%s/%s/%s", PATH_PCI_DEVICES, bdf_format(bdf, text), name);
    CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ssize_t length = fd < 0 ? -1 : read(fd, word, POWER_STATE_SIZE - 1);

    if (length <= 0) {
        return false;
    }
    word[length] = '\0';
    word[strcspn(word, "\n")] = '\0';
    return true;
}

static int write_control(struct bdf bdf, const char *value, struct error *err)
{
    char text[BDF_TEXT_SIZE];
    CLEANUP_FREE char *path = paths_resolve("%s/%s/power/control", PATH_PCI_DEVICES, bdf_format(bdf, text));
    CLEANUP_FD int fd = open(path, O_WRONLY | O_CLOEXEC | O_NONBLOCK | O_TRUNC);

    if (fd < 0 || write(fd, value, strlen(value)) < 0) {
        return error_set_errno(err, STATUS_HARDWARE, errno, "cannot write %s to power/control", value);
    }
    return 0;
}

/* Kernels before 5.10 have no power_state. */
enum power power_look(struct bdf bdf, char state[POWER_STATE_SIZE])
{
    char runtime[POWER_STATE_SIZE] = "";
    bool is_told = read_word(bdf, "power_state", state);

    if (is_told && state[0] == 'D' && state[1] == '0') {
        return POWER_ON;
    }
    bool is_managed = read_word(bdf, "power/runtime_status", runtime) && strcmp(runtime, "active") != 0 &&
                      strcmp(runtime, "unsupported") != 0;
    if (!is_told) {
        snprintf(state, POWER_STATE_SIZE, "%s", runtime);
        return is_managed ? POWER_SUSPENDED : POWER_ON;
    }
    if (state[0] != 'D') {
        return POWER_ON;
    }
    return is_managed ? POWER_SUSPENDED : POWER_LOW;
}

int power_wake(struct bdf bdf, bool *kept, struct error *err)
{
    char control[POWER_STATE_SIZE] = "";
    char state[POWER_STATE_SIZE];
    bool sleeps_by_itself = read_word(bdf, "power/control", control) && strcmp(control, "auto") == 0;
    int64_t deadline = deadline_after_ms(WAKE_MS);

    if (sleeps_by_itself && write_control(bdf, "on", err) < 0) {
        return -1;
    }
    while (power_look(bdf, state) != POWER_ON) {
        if (deadline_left_ms(deadline) == 0) {
            if (sleeps_by_itself) {
                power_let_sleep(bdf);
            }
            return error_set(err, STATUS_HARDWARE, "it does not wake from %s", state);
        }
        nanosleep(&(struct timespec){.tv_nsec = WAKE_STEP_NS}, NULL);
    }
    *kept = sleeps_by_itself;
    return 0;
}

void power_let_sleep(struct bdf bdf)
{
    struct error unused;

    if (write_control(bdf, "auto", &unused) < 0) {
        return; /* awake is harmless */
    }
}
