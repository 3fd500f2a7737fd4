/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation
 *
 * vfio-pci lets a card that nobody has opened sleep in D3hot (its parameter disable_idle_d3
 * is off by default; drivers/vfio/pci/vfio_pci_core.c).  That is where every card is at
 * `start`, right after libvirt has bound it, and again at `stopped`.  Reads then give all
 * ones on hardware, zeros under QEMU, and writes are lost.
 *
 * Files of sysfs (Documentation/ABI/testing/sysfs-bus-pci, sysfs-devices-power):
 *   power_state            D0, D1, D2, D3hot, D3cold, unknown, error; not before Linux 5.10
 *   power/runtime_status   active, suspended, suspending, resuming, error, unsupported
 *   power/control          "auto": the kernel may let it sleep; "on": it may not, and writing
 *                          that returns when the card is awake
 *
 * A card is woken for its first access and let sleep when all is done.  Waking takes 10 ms
 * from D3hot and 100 ms from D3cold (PCI Express, 5.9): so all cards are woken at the same
 * time, each by a thread that waits in its write.  The threads end before power_wake does.
 *
 * "on" is written to each card that is on "auto", also if it is in D0 now: "auto" is obeyed
 * a moment after it was written (pm_runtime_allow), so a card that the hook before let go may
 * fall asleep just then.
 *
 * A killed hook leaves "on", which costs power and nothing else: vfio-pci writes "auto"
 * again when it is next bound.
 *
 * A card in D3hot that is not suspended was put there by its user, through its own PM
 * register: it is left alone.
 */
#include "registers/power.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/paths.h"
#include "base/text.h"

enum { WAKE_MS = 1000, WAKE_STEP_NS = 1000000, WAKERS_MAX = 32, POWER_STATE_SIZE = 16 };

enum power {
    POWER_ON,        /* D0, or the kernel does not say */
    POWER_SUSPENDED, /* the kernel lets the idle card sleep, and wakes it when asked */
    POWER_LOW,       /* somebody else put it there */
};

static bool power_read(struct bdf bdf, const char *name, char word[POWER_STATE_SIZE])
{
    char text[BDF_TEXT_SIZE];
    CLEANUP_FREE char *path = paths_resolve("%s/%s/%s", PATH_PCI_DEVICES, bdf_format(bdf, text), name);
    return file_read_word_at(AT_FDCWD, path, word, POWER_STATE_SIZE);
}

/* 0 or a negative errno. */
static int write_control(struct bdf bdf, const char *value)
{
    char text[BDF_TEXT_SIZE];
    CLEANUP_FREE char *path = paths_resolve("%s/%s/power/control", PATH_PCI_DEVICES, bdf_format(bdf, text));
    return file_write_word_at(AT_FDCWD, path, value);
}

static bool is_active(const char *runtime_status)
{
    return strcmp(runtime_status, "active") == 0 || strcmp(runtime_status, "unsupported") == 0;
}

/* STATE: the kernel's word for it, as "D3hot". */
static enum power power_look(struct bdf bdf, char state[POWER_STATE_SIZE])
{
    char runtime[POWER_STATE_SIZE] = "";
    bool has_state = power_read(bdf, "power_state", state);
    if (has_state && strcmp(state, "D0") == 0) {
        return POWER_ON;
    }
    bool is_managed = power_read(bdf, "power/runtime_status", runtime) && !is_active(runtime);
    if (!has_state) {
        memcpy(state, runtime, POWER_STATE_SIZE);
        return is_managed ? POWER_SUSPENDED : POWER_ON;
    }
    if (state[0] != 'D') {
        return POWER_ON;
    }
    return is_managed ? POWER_SUSPENDED : POWER_LOW;
}

bool power_is_steady(struct bdf bdf)
{
    char state[POWER_STATE_SIZE];
    char runtime[POWER_STATE_SIZE];
    return power_look(bdf, state) == POWER_ON &&
           (!power_read(bdf, "power/runtime_status", runtime) || is_active(runtime));
}

static enum reading_kind left_alone(const char *state, struct error *err)
{
    error_set(err, STATUS_HARDWARE,
              "it is in %s, where its user has put it; without a user, load vfio-pci with disable_idle_d3=1", state);
    return READING_UNVERIFIABLE;
}

enum reading_kind power_check(struct bdf bdf, struct error *err)
{
    char state[POWER_STATE_SIZE];
    switch (power_look(bdf, state)) {
    case POWER_ON:
        return READING_FINE;
    case POWER_LOW:
        return left_alone(state, err);
    case POWER_SUSPENDED:
        break;
    }
    error_set(err, STATUS_HARDWARE,
              "it sleeps (%s) and is not woken only to look; vfio-pci with disable_idle_d3=1 keeps cards awake", state);
    return READING_UNVERIFIABLE;
}

/* Returns READING_FINE once the card is in D0. */
static enum reading_kind await_power(struct bdf bdf, struct error *err)
{
    char state[POWER_STATE_SIZE];
    int64_t deadline = deadline_after_ms(WAKE_MS);
    while (power_look(bdf, state) != POWER_ON) {
        if (deadline_left_ms(deadline) == 0) {
            error_set(err, STATUS_HARDWARE, "it does not wake from %s", state);
            return READING_FAILED;
        }
        nanosleep(&(struct timespec){.tv_nsec = WAKE_STEP_NS}, NULL);
    }
    return READING_FINE;
}

/* Whether the card may have to be woken; if not, its kind says so. */
static bool has_to_be_woken(struct power_card *card)
{
    char control[POWER_STATE_SIZE] = "";
    char state[POWER_STATE_SIZE];
    struct error err = {0};
    card->is_kept = power_read(card->bdf, "power/control", control) && strcmp(control, "auto") == 0;
    enum power power = power_look(card->bdf, state);
    if (power == POWER_LOW) {
        card->is_kept = false;
        card->kind = left_alone(state, &err);
        text_copy_line(card->why, sizeof card->why, err.text);
        return false;
    }
    card->kind = READING_FINE;
    return card->is_kept || power == POWER_SUSPENDED;
}

/* A card in D0 whose control cannot be written, as where /sys is read-only, is awake all the same. */
static enum reading_kind wake_one(struct bdf bdf, bool *is_kept, struct error *err)
{
    char state[POWER_STATE_SIZE];
    int number = *is_kept ? write_control(bdf, "on") : 0;
    if (number < 0) {
        *is_kept = false;
        if (power_look(bdf, state) == POWER_ON) {
            return READING_FINE;
        }
        error_set_errno(err, STATUS_HARDWARE, -number, "cannot write on to power/control");
        return READING_FAILED;
    }
    enum reading_kind kind = await_power(bdf, err);
    if (kind != READING_FINE && *is_kept) {
        power_let_sleep(bdf);
        *is_kept = false;
    }
    return kind;
}

/* The cards that are to be woken, shared by the threads. */
struct wake_list {
    struct power_card **cards;
    size_t count;
    atomic_size_t next;
};

static void *wake_cards(void *context)
{
    struct wake_list *list = context;
    for (size_t i = atomic_fetch_add(&list->next, 1); i < list->count; i = atomic_fetch_add(&list->next, 1)) {
        struct power_card *card = list->cards[i];
        struct error err = {0};
        card->kind = wake_one(card->bdf, &card->is_kept, &err);
        text_copy_line(card->why, sizeof card->why, err.text);
    }
    return NULL;
}

/* A thread that cannot be had only makes it slower: this one does what is left. */
void power_wake(struct power_card cards[], size_t count)
{
    CLEANUP_FREE struct power_card **sleepers = memory_alloc(count, sizeof(struct power_card *));
    struct wake_list list = {.cards = sleepers};
    pthread_t threads[WAKERS_MAX];
    size_t started = 0;
    for (size_t i = 0; i < count; i++) {
        if (has_to_be_woken(&cards[i])) {
            sleepers[list.count++] = &cards[i];
        }
    }
    while (started + 1 < list.count && started < WAKERS_MAX &&
           pthread_create(&threads[started], NULL, wake_cards, &list) == 0) {
        started++;
    }
    wake_cards(&list);
    for (size_t i = 0; i < started; i++) {
        pthread_join(threads[i], NULL);
    }
}

/* A failure leaves it awake, which is harmless. */
void power_let_sleep(struct bdf bdf)
{
    (void)!write_control(bdf, "auto");
}
