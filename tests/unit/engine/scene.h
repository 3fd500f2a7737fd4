/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "engine/machine.h"
#include "engine/snapshot.h"
#include "host/domain.h"
#include "host/ledger.h"

#include "../host/simulated_host.h"

/*
 * The simulated host of the engine's tests: the vendor's eight cards and
 * topology, no VM.  PPUS is always a text of one-digit ids, such as "01".
 * Whatever goes wrong here fails the test at once.
 */
enum { CARDS = 8 };
#define VM_A "4dea22b3-1d52-d8f3-2516-782e98a23fa0"
#define VM_B "0dea22b3-1d52-d8f3-2516-782e98a23fa1"
#define VM_C "ffea22b3-1d52-d8f3-2516-782e98a23fa2"
#define SETTINGS "/etc/icn-hook/icn-hook.conf"
#define TOPOLOGY "/etc/icn-hook/icn_topo.cfg"
#define LEDGER "/run/icn-hook"
#define NO_ORIGINAL UINT32_C(0xfffffffe) /* of a card whose register QEMU held */
#define HOOK_LOG "/var/log/icn-hook.log"

extern const char *const addresses[CARDS];
struct bdf address_of(int ppu);
struct bdf parse_bdf(const char *text);

/* cmocka's setup for each test. */
int scene_start(void **state);

/* The driver that is bound to a function; with vfio-pci, COUNT users hold it open. */
void scene_bind(const char *bdf, const char *driver, int count);
/* A virtual function of a card. */
void scene_virtual_function(int ppu, int number, const char *bdf);
/* A mediated device on a function. */
void scene_mdev(const char *bdf, const char *uuid);

/* What libvirt hands to a hook; valid until a few more calls. */
const char *scene_xml(const char *name, const char *uuid, const char *ppus);
/* libvirt's status file of a domain that runs as PID. */
void scene_running(const char *name, const char *uuid, const char *ppus, int pid);

/* An entry in the ledger: OWNED whole cards, and TOUCHED far ends, all of them
 * with the mask ORIGINAL.  LIVING: the start's caller is there still. */
struct scene_entry {
    const char *name;
    const char *uuid;
    enum ledger_phase phase;
    bool living;
    const char *owned;
    const char *touched;
    uint32_t original;
};
void scene_record(const struct scene_entry *entry);
/* The same of a group that was isolated by hand. */
void scene_record_group(const struct scene_entry *entry);

/* Opened and surveyed; to be closed. */
struct machine *scene_machine(void);
struct ledger scene_ledger(enum ledger_access access);
struct snapshot *scene_snapshot(struct machine *machine);
/* What the domain of scene_xml wants; to be freed. */
struct demand scene_demand(struct machine *machine, const char *ppus);

void set_masks(const uint32_t masks[CARDS]);
void assert_masks(const uint32_t expected[CARDS]);
bool host_has(const char *path);

/* FORMAT's %s, if any, is PATH on the real host. */
void assert_error(const struct error *err, enum status status, const char *format, const char *path);
/* All lines of LIST joined by newlines. */
void assert_lines(const struct text_list *list, const char *expected);
