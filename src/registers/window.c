/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation
 *
 * sysfs shows a BAR of a card as the file resourceN.  A window opens it, maps the one page
 * that holds the register, and closes it: a descriptor or mapping that stayed open would hold
 * up the unbinding of the driver that libvirt does right after `prepare`.
 *
 * What is in the way, and what it means (drivers/pci/pci-sysfs.c, kernel/resource.c):
 *   mmap EINVAL, EBUSY   a host driver claimed the BAR or QEMU has the card open (Debian's
 *                        kernels have IO_STRICT_DEVMEM): nothing can be said now, it may
 *                        work later; if it is neither, somebody else has claimed it for good
 *   mmap EPERM           kernel lockdown: never works on this host as it is booted
 *   SIGBUS               the card was removed between mapping and access
 *
 * A SIGBUS within an access jumps out of it.  The handler is installed at the first access
 * and stays until the registers are closed; a SIGBUS that comes otherwise is passed on.
 */
#include "registers/window.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/paths.h"
#include "base/text.h"
#include "host/sysfs.h"
#include "registers/bar.h"

static enum reading_kind open_failed(int number, int bar, bool card_exists, struct error *err)
{
    if (number == ENOENT && !card_exists) {
        error_set(err, STATUS_HARDWARE, "the card is not in sysfs; check that it is plugged in and powered");
    } else if (number == ENOENT) {
        error_set(err, STATUS_HARDWARE, "resource%d is missing: the card has no such BAR; check bar in [registers]",
                  bar);
    } else if (number == EACCES || number == EPERM) {
        error_set_errno(err, STATUS_HARDWARE, number, "cannot open resource%d (this needs root)", bar);
    } else if (number == EISDIR) {
        error_set(err, STATUS_HARDWARE, "resource%d is not a regular file", bar);
    } else {
        error_set_errno(err, STATUS_HARDWARE, number, "cannot open resource%d", bar);
    }
    return READING_FAILED;
}

static enum reading_kind open_resource(const struct window_place *place, bool for_write, int *fd, struct error *err)
{
    char text[BDF_TEXT_SIZE];
    CLEANUP_FREE char *directory = paths_resolve("%s/%s", PATH_PCI_DEVICES, bdf_format(place->bdf, text));
    CLEANUP_FREE char *path = paths_resolve("%s/resource%d", directory, place->bar);
    int flags = (for_write ? O_RDWR : O_RDONLY) | O_SYNC | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
    int opened = open(path, flags);
    if (opened < 0) {
        int number = errno;
        return open_failed(number, place->bar, access(directory, F_OK) == 0, err);
    }
    *fd = opened;
    return READING_FINE;
}

static enum reading_kind check_size(int fd, const struct window_place *place, struct error *err)
{
    struct stat status;
    if (fstat(fd, &status) < 0) {
        int number = errno;
        error_set_errno(err, STATUS_HARDWARE, number, "cannot examine resource%d", place->bar);
        return READING_FAILED;
    }
    if (!S_ISREG(status.st_mode)) {
        error_set(err, STATUS_HARDWARE, "resource%d is not a regular file", place->bar);
        return READING_FAILED;
    }
    if ((uint64_t)status.st_size < place->offset + sizeof(uint32_t)) {
        error_set(err, STATUS_HARDWARE,
                  "resource%d has %lld bytes, too few for the register at 0x%llx; check bar, link_config and stride in "
                  "[registers]",
                  place->bar, (long long)status.st_size, (unsigned long long)place->offset);
        return READING_FAILED;
    }
    return READING_FINE;
}

/*
 * A kernel with IO_STRICT_DEVMEM refuses a mapping with EINVAL as soon as somebody has claimed the BAR.  A host
 * driver does that when it is bound (pci_request_regions), vfio-pci when a process opens the card, which shows in
 * `enable` (vfio_pci_core_enable).  Both end by themselves or before a VM starts.  What neither explains, as the
 * frame buffer that the firmware left, stays.
 */
static enum reading_kind map_refused(int number, const struct window_place *place, struct error *err)
{
    char claimer[BAR_CLAIMER_SIZE] = "";
    struct pci_state card;
    sysfs_read_state(place->bdf, &card);
    bool is_open = card.enable > (place->switched_on ? 1 : 0);
    bool has_host_driver = card.driver[0] && !card.on_vfio;
    bool is_named = bar_claimer(place->bdf, place->bar, claimer);
    if (has_host_driver || (is_open && (card.on_vfio || !is_named))) {
        error_set(err, STATUS_HARDWARE,
                  "resource%d cannot be mapped now: a driver or QEMU holds the card's registers (%s)", place->bar,
                  number == EINVAL ? "EINVAL" : "EBUSY");
        return READING_UNVERIFIABLE;
    }
    if (is_named) {
        error_set(err, STATUS_HARDWARE,
                  "resource%d cannot be mapped: '%s' has claimed the BAR (/proc/iomem), not a driver of the card; keep "
                  "it off the card (a boot framebuffer: boot with initcall_blacklist=sysfb_init)",
                  place->bar, claimer);
    } else {
        error_set(err, STATUS_HARDWARE,
                  "resource%d cannot be mapped: something other than a driver of the card or QEMU has claimed the BAR; "
                  "look in /proc/iomem for what it is, and keep it off the card",
                  place->bar);
    }
    return READING_FAILED;
}

static enum reading_kind map_failed(int number, const struct window_place *place, struct error *err)
{
    if (number == EINVAL || number == EBUSY) {
        return map_refused(number, place, err);
    }
    if (number == EPERM) {
        error_set(err, STATUS_HARDWARE,
                  "the kernel does not let resource%d be mapped: it is locked down (/sys/kernel/security/lockdown); "
                  "boot without lockdown or set backend = ppudbg",
                  place->bar);
    } else {
        error_set_errno(err, STATUS_HARDWARE, number, "cannot map resource%d", place->bar);
    }
    return READING_FAILED;
}

/* By the name first: what else makes a driver one of vfio takes more looks. */
bool window_has_host_driver(struct bdf bdf)
{
    char text[BDF_TEXT_SIZE];
    char target[PATH_MAX];
    struct pci_state card;
    CLEANUP_FREE char *path = paths_resolve("%s/%s/driver", PATH_PCI_DEVICES, bdf_format(bdf, text));
    ssize_t length = readlink(path, target, sizeof target - 1);
    if (length <= 0) {
        return false;
    }
    target[length] = '\0';
    const char *slash = strrchr(target, '/');
    if (strcmp(slash ? slash + 1 : target, "vfio-pci") == 0) {
        return false;
    }
    sysfs_read_state(bdf, &card);
    return !card.on_vfio;
}

/* There resourceN is a plain file, which can always be mapped.  A real host is not asked. */
enum reading_kind window_simulate(const struct window_place *place, const struct pci_state *state, struct error *err)
{
    char claimer[BAR_CLAIMER_SIZE];
    bool is_held = state->enable > 0 || (state->driver[0] && !state->on_vfio);
    if (!paths_simulated() || !(is_held || bar_claimer(place->bdf, place->bar, claimer))) {
        return READING_FINE;
    }
    return map_failed(EINVAL, place, err);
}

enum reading_kind window_open(struct window *window, const struct window_place *place, bool for_write,
                              struct error *err)
{
    size_t size = (size_t)sysconf(_SC_PAGESIZE);
    size_t within = (size_t)(place->offset % size);
    CLEANUP_FD int fd = -1;
    enum reading_kind kind = open_resource(place, for_write, &fd, err);
    if (kind == READING_FINE) {
        kind = check_size(fd, place, err);
    }
    if (kind != READING_FINE) {
        return kind;
    }
    unsigned char *page = mmap(NULL, size, for_write ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, fd,
                               (off_t)(place->offset - within));
    if (page == MAP_FAILED) {
        int number = errno;
        return map_failed(number, place, err);
    }
    *window = (struct window){.bar = place->bar, .page = page, .size = size};
    window->word = (volatile uint32_t *)(void *)(page + within);
    return READING_FINE;
}

void window_close(struct window *window)
{
    if (window->page) {
        munmap(window->page, window->size);
        window->page = NULL;
    }
}

static sigjmp_buf bus_error;
static volatile sig_atomic_t in_access;
static struct sigaction before_guard;
static bool is_guarded;

static void on_bus_error(int number)
{
    if (in_access) {
        siglongjmp(bus_error, 1);
    }
    sigaction(SIGBUS, &before_guard, NULL);
    raise(number);
}

static void guard(void)
{
    /* The handler is left by a jump, which gives no mask back. */
    struct sigaction action = {.sa_handler = on_bus_error, .sa_flags = SA_NODEFER};
    is_guarded = is_guarded || sigaction(SIGBUS, &action, &before_guard) == 0;
}

void window_unguard(void)
{
    if (is_guarded) {
        sigaction(SIGBUS, &before_guard, NULL);
        is_guarded = false;
    }
}

/* Writes *STORE unless it is NULL, then reads. */
static enum reading_kind access_word(const struct window *window, const uint32_t *store, uint32_t *value,
                                     struct error *err)
{
    guard();
    if (sigsetjmp(bus_error, 0) != 0) {
        in_access = 0;
        error_set(err, STATUS_HARDWARE, "resource%d: bus error, the card was removed during the access", window->bar);
        return READING_FAILED;
    }
    in_access = 1;
    if (store) {
        *window->word = htole32(*store);
    }
    *value = le32toh(*window->word);
    in_access = 0;
    return READING_FINE;
}

enum reading_kind window_load(const struct window *window, uint32_t *value, struct error *err)
{
    return access_word(window, NULL, value, err);
}

enum reading_kind window_store(const struct window *window, uint32_t value, struct error *err)
{
    uint32_t unused;
    return access_word(window, &value, &unused, err);
}
