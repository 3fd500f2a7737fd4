/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "registers/registers.h"
#include "../host/simulated_host.h"

/* One card of a simulated host, and what the next accesses to its registers meet.  Link with
 * --wrap=mmap: mmap is what fails first when a driver or QEMU holds a card's registers. */

#define BDF "0000:08:00.0"
#define DIRECTORY "/sys/bus/pci/devices/" BDF
#define GONE "the register reads all ones: the card is off the bus or powered down; reset it or replace it"
#define CLAIMED                                                                                                        \
    "resource0 cannot be mapped: something other than a driver of the card or QEMU has claimed the BAR; look in "      \
    "/proc/iomem for what it is, and keep it off the card"
#define HELD "resource0 cannot be mapped now: a driver or QEMU holds the card's registers (EINVAL)"

enum { LINKS = 0x39, LINK_STATUS_OFFSET = LINK_CONFIG_OFFSET + 4, NOBODY = 65534 };

struct scene {
    int failure;         /* errno of a failing mmap */
    int failure_from;    /* from this mapping on; 0 = from the first */
    void (*taken)(void); /* what somebody did to the card right before a mapping that fails */
    bool lost_writes;    /* what is written stays in the mapping */
    bool removal;        /* the BAR vanishes before the access */
    int ones_from;       /* from this mapping on the card is gone: all ones, everywhere; 0 = never */
    int falls_asleep;    /* at this mapping the kernel begins to put the card to sleep: all ones; 0 = never */
    bool stuck_enable;   /* `enable` cannot be written any more */
    int mappings;
    char enable[8]; /* its text at the last mapping */
    size_t notes;   /* of ours then */
};

extern struct scene scene;
extern struct settings settings;
extern struct state state_of_host;
extern struct registers registers;
extern struct card_address card; /* id 3 */

/* cmocka fixtures. */
int scene_set_up(void **state);
int scene_tear_down(void **state);

/* The state as a hook has it. */
void lock_state(void);

/* Another hook: what this one has found is not remembered. */
void scene_reopen(void);

size_t count_notes(void);

void set_register(uint32_t value);

/* For scene.taken. */
void bind_host_driver(void);
void open_through_vfio(void);

void check_reading(enum reading_kind kind, uint32_t mask, const char *why);
void check_look(enum reading_kind kind, uint32_t mask, const char *why); /* without touching the card */

/* Writes MASK as a cut of a near end; the register holds EXPECTED then. */
void check_written(uint32_t mask, uint32_t expected);
/* It is refused for REASON: put off if that is allowed and OUTCOME is APPLY_DEFERRED. */
void check_refused(enum apply_outcome outcome, const char *reason);
