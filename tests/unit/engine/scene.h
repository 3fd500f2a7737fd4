/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "engine/session.h"
#include "engine/vm_cards.h"
#include "host/domain.h"
#include "host/state.h"

#include "../host/simulated_host.h"

/*
 * The simulated host of the engine's tests: the vendor's eight cards and topology, no VM.
 * PPUS is always a text of one-digit ids, such as "01".  What goes wrong here fails the
 * test at once.
 */
enum { CARDS = 8 };
#define VM_A "4dea22b3-1d52-d8f3-2516-782e98a23fa0"
#define VM_B "0dea22b3-1d52-d8f3-2516-782e98a23fa1"
#define VM_C "ffea22b3-1d52-d8f3-2516-782e98a23fa2"
#define SETTINGS "/etc/icn-hook/icn-hook.conf"
#define CARDS_CONF SETTINGS ".d/50-cards.conf" /* [map] of all cards, by ascending address */
#define TOPOLOGY "/etc/icn-hook/icn_topo.cfg"
#define RUN "/run/icn-hook"
#define CARDS_JSON RUN "/cards.json"
#define CLAIM_OF(uuid) RUN "/" uuid ".json"
#define TOMBSTONE_OF(uuid) RUN "/ended-" uuid
#define BOOT_ID "/proc/sys/kernel/random/boot_id"
#define HOOK_LOG "/var/log/icn-hook.log"

extern const char *const addresses[CARDS];
struct bdf address_of(int ppu);
struct bdf parse_bdf(const char *text);

/* cmocka's setup for each test. */
int scene_start(void **state);

/* The driver that is bound to a function; with vfio-pci, COUNT users hold it open. */
void scene_bind(const char *bdf, const char *driver, int count);
/* A process holds the card open through vfio; until it is let go its registers cannot be read. */
void scene_hold(int ppu);
void scene_let_go(int ppu);
/* These cards are not there any more. */
void scene_unplug(const char *ppus);
/* A virtual function of a card. */
void scene_virtual_function(int ppu, int number, const char *bdf);
/* A mediated device on a function. */
void scene_mdev(const char *bdf, const char *uuid);

/* What libvirt hands to a hook; valid until a few more calls. */
const char *scene_xml(const char *name, const char *uuid, const char *ppus);
/* libvirt's status file of a domain that runs as PID, which holds none of its cards open yet. */
void scene_running(const char *name, const char *uuid, const char *ppus, int pid);
/* The same of a domain that is gone and whose file is left. */
void scene_left_over(const char *name, const char *uuid, const char *ppus);

/* A claim in the state on whole cards, made 4711 seconds after the epoch. */
enum scene_daemon { NO_DAEMON, DAEMON_HERE, DAEMON_DEAD };
struct scene_claim {
    const char *name;
    const char *uuid;
    bool is_group;
    enum claim_phase phase;
    enum scene_daemon daemon; /* behind the call that made it */
    int64_t age_ms;
    int pid; /* the process that it names; 0: none */
    const char *ppus;
};
void scene_claim(const struct scene_claim *claim);
/* A daemon that lives: the test itself. */
struct process_identity scene_daemon(void);

/* What the state remembers of a card: NOTHING, or the mask. */
#define NOTHING UINT64_MAX
void scene_memory(int ppu, uint64_t original, uint64_t written);
/* MASK was read back at second AT of the epoch for the owners in UUIDS, which ends with NULL. */
void scene_evidence(int ppu, uint32_t mask, int64_t at, const char *const uuids[]);

/* Opened and surveyed; to be closed. */
struct machine *scene_machine(void);
/* Opens a session; to be closed. */
void scene_session(struct session *session, enum session_access access);
/* What the domain of scene_xml takes, numbered; to be freed. */
struct vm_cards scene_cards(struct machine *machine, const char *ppus);

void set_masks(const uint32_t masks[CARDS]);
void assert_masks(const uint32_t expected[CARDS]);
bool host_has(const char *path);

/* Who owns what, a character for each card: '.' nobody, 'S' several, '?' an unknown holder,
 * else the owner's number. */
void assert_owners(const struct session *session, const char *expected);
/* The plan's writes as "PPU:FROM>TO", in order. */
void assert_plan(const struct session *session, const char *expected);
/* What is remembered of a card: "ORIGINAL/WRITTEN/EVIDENCE", each a mask or "-". */
void assert_memory(const struct session *session, int ppu, const char *expected);
/* All notes as "SEVERITY CODE: TEXT", joined by newlines. */
void assert_notes(const struct notes *notes, const char *expected);
/* The note is there, in this form. */
void assert_noted(const struct notes *notes, const char *expected);

/* RESULT is 0, or the test fails with the error. */
void assert_done(int result, const struct error *err);
/* FORMAT's %s, if any, is PATH on the simulated host. */
void assert_error(const struct error *err, enum status status, const char *format, const char *path);
/* All lines of LIST joined by newlines. */
void assert_lines(const struct text_list *list, const char *expected);
