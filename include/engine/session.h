/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "core/plan.h"
#include "engine/machine.h"
#include "engine/notes.h"
#include "engine/owners.h"
#include "host/running_vms.h"
#include "host/state.h"
#include "host/sysfs.h"
#include "registers/registers.h"

/*
 * One turn at the host, to LOOK or to CHANGE: the one thing that everybody holds.  It is
 * opened, which locks and gathers who owns what; the policy sets goals and makes the plan;
 * a session for a change records, writes, records what was read back; and it is closed.
 * A verb that prints unlocks first: nothing slow or foreign happens inside the lock.
 */
enum session_access { SESSION_LOOK, SESSION_CHANGE };

/* How far a session may go with a card (set by the policy). */
enum reach {
    REACH_NONE,   /* leave it alone */
    REACH_LOOK,   /* read it, but wake, enable and write nothing */
    REACH_CHANGE, /* wake it, read it, leave it right */
};

struct card {
    struct pci_state state;
    enum reach reach;
    bool was_read;
    struct reading reading; /* if it was read */
    int64_t bound_since;    /* if it was read in vain: when its vfio driver took it; 0: not known */
};

/* A register write of this session, and what became of it. */
struct session_writing {
    struct plan_write write;
    enum apply_outcome outcome;
    bool was_read; /* the mask that it began with was read, not assumed */
};

/* A VM or group that has other cards after this session than before, for the log. */
struct owner_change {
    char uuid[UUID_SIZE];
    char *name; /* owned */
    bool is_group;
    bool has_ended;
    char *cards; /* owned; what it has now, or had until it ended: "0=0000:08:00.0 1=0000:0a:00.0" */
};

struct session {
    enum session_access access;
    bool is_open;
    struct machine *machine; /* owned */
    bool has_daemon;         /* of a hook: DAEMON is the libvirt daemon that called it */
    struct process_identity daemon;
    struct process_identity bound_to; /* the groups that begin in this session last as long as it; pid 0: for good */
    bool reserves;                    /* ... and are cards on their way to a VM that runs (engine/hotplug.h) */
    struct state state;
    struct running_vms running;
    struct registers registers;
    struct card *cards; /* by id */
    struct owners owners;
    int *owners_before;      /* by id: owners.of before this session changed who owns what */
    struct plan_goal *goals; /* by id */
    struct plan *plan;
    enum apply_outcome *outcomes;     /* by the plan's writes */
    struct session_writing *writings; /* of all plans, in their order */
    size_t writing_count;
    struct owner_change *changes;
    size_t change_count;
    struct notes notes;
    /* By id: a verb that looks was asked about others; links between two of them do not count. */
    bool left_out[PPU_MAX];
    bool has_old_identity;       /* ids are those of this boot; the configuration says something else now */
    struct error identity_doubt; /* why nobody may be given cards for that, or the like; STATUS_OK: no doubt */
};

/* Locks, then looks: nothing that was seen can change before it is acted on.  MACHINE is
 * surveyed; the session owns it from now on, also on failure.  SESSION is to be closed in
 * each case.  With SESSION_LOOK nothing on the host is created or changed, not even memory
 * decoding; with SESSION_CHANGE the ends that tombstones note are carried out first. */
MUST_CHECK int session_open(struct session *session, struct machine *machine, enum session_access access,
                            struct error *err);
/* The same from the settings in CONFIG (NULL: the usual file) on. */
MUST_CHECK int session_start(struct session *session, const char *config, enum session_access access,
                             struct error *err);
/* Gives the lock back and lets woken cards sleep; everything that was seen stays. */
void session_unlock(struct session *session);
void session_close(struct session *session);

/* Reads the card once, as far as its reach lets. */
void session_read(struct session *session, int ppu);
/* For a second turn after writes: what was read is read again. */
void session_forget_readings(struct session *session);
/* Reads all cards without touching them, for sessions that look. */
void session_look_at_all(struct session *session);

/* The card's register was read in this session. */
bool session_is_read(const struct session *session, int ppu);
/* What is remembered of the card in this boot; NULL: nothing. */
const struct card_memory *session_memory(const struct session *session, int ppu);

/* Makes the plan's writes, in a session for a change.  FREED (by id): cards that have just lost their owner.
 * Outcomes say what became of each write; what failed without refusing anything is noted.  MAY_DEFER: a near end whose
 * registers a driver holds is left for later. KEEP_GOING: a near end that cannot be cut is only noted. */
MUST_CHECK int session_write(struct session *session, const bool freed[], bool may_defer, bool keep_going,
                             struct error *err);
/* Notes the cards that could not be read, but for those in NEAR (NULL: all): one cut end is enough, but a guest may be
 * able to open it again, so what is left as it is on the other side is worth a line. */
void session_note_unread(struct session *session, const bool near[]);
/* For writes that were made without session_write: keeps the plan's writes and their outcomes for the log. */
void session_keep_writes(struct session *session);
void session_forget_changes(struct session *session);
/* All writes to the card were made, or none was needed; when looking, they are taken to be made. */
bool session_wrote(const struct session *session, int ppu);

/* A file of the state, or of libvirt, that cannot be used may hide an owner or a mask to give
 * back: nothing may be opened, and nobody but the domain UUID itself ("": nobody) may be given cards.
 * NULL: every owner is known. */
const struct error *session_doubt(const struct session *session, const char *uuid);

/* STATUS_CONFLICT: somebody owns a card, or may own one; WHY, the end of the message, says what speaks against it. */
MUST_CHECK int session_require_idle(const struct session *session, const char *why, struct error *err);

struct card_address session_address(const struct session *session, int ppu);
