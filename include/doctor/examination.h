/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "doctor/report.h"
#include "engine/session.h"
#include "engine/vm_cards.h"
#include "host/domain_placement.h"

/* What the kernel says of a card's IOMMU group, asked while nobody can start a VM with cards. */
enum group_answer {
    GROUP_NOT_ASKED, /* it is in use, or there is no such group */
    GROUP_VIABLE,
    GROUP_UNVIABLE,
    GROUP_FORBIDDEN, /* only root may ask */
    GROUP_BUSY,      /* a process has it open */
};

/*
 * What `icn-hook doctor` looks at.  Nothing on the host is created or changed.
 * What cannot be opened is a finding, and the checks that need it are left
 * out: a host without libvirt, cards or topology gets its report all the same.
 */
struct examination {
    const char *config;           /* NULL: the usual file */
    const char *connect;          /* libvirt's URI; NULL: the usual one, and none on a simulated host */
    const struct vm_cards *cards; /* borrowed; only those that a domain takes; NULL: all */
    struct report report;

    struct machine *machine; /* NULL: the settings cannot be used; the session's as soon as there is one */
    bool is_surveyed;
    bool is_looked_at;                 /* state, status files and registers were read */
    struct session session;            /* unlocked */
    enum group_answer groups[PPU_MAX]; /* by id */
    struct error settings_error;
    struct error survey_error;
    struct error session_error;
};

/* Opens what can be opened, looks at the whole host, and gives the lock back. */
void examination_open(struct examination *examination, const char *config);
void examination_close(struct examination *examination);

/* All checks of the host: hook, configuration, cards, IOMMU, ppudbg, security,
 * state, libvirt. */
void examination_run(struct examination *examination);

/* What the cards that a domain takes would meet in it: NUMA, functions that stay on the
 * host, binding. */
void examination_check_domain(struct examination *examination, const struct domain_placement *placement);

/* What a card of a VM that runs has, as far as it can be read. */
enum { SPEED_SIZE = 24 };
enum aer_kind { AER_CORRECTABLE, AER_NONFATAL, AER_FATAL, AER_KINDS };
struct card_facts {
    int ppu;
    int numa_node; /* or UNKNOWN_NUMBER */
    int width;     /* lanes of PCIe now, or UNKNOWN_NUMBER */
    int width_at_most;
    char speed[SPEED_SIZE]; /* "16.0 GT/s" now; "" = not known */
    char speed_at_most[SPEED_SIZE];
    int errors[AER_KINDS]; /* how many there were, or UNKNOWN_NUMBER */
};

/* What one witness says of the ends of the links between the VM's cards. */
struct witness_facts {
    const char *name; /* static text */
    int up;
    int down;
    int unknown;
};

struct vm_facts {
    const char *name; /* borrowed from the examination's session */
    pid_t pid;
    struct card_facts *cards; /* owned */
    size_t count;
    int links; /* between these cards */
    int links_open;
    int links_unknown;   /* of which an end was neither read now nor read back */
    int64_t links_since; /* the oldest read-back that this rests on, seconds since the epoch; 0: all were read now */
    struct witness_facts witnesses[2];
};

/* False, with FACTS untouched: no VM of that uuid runs with cards. */
bool examination_vm_facts(struct examination *examination, const char *uuid, struct vm_facts *facts);
void vm_facts_free(struct vm_facts *facts);

/* The same as examination_check_domain, and who shares the cards' IOMMU groups, as warnings of a plan.  SESSION has
 * looked, and is unlocked. */
void examination_warn(struct session *session, const struct vm_cards *cards, const struct domain_placement *placement,
                      struct notes *notes);

/*
 * Compares what libvirt says to run with what state and status files know.  Adds a note
 * (NOTE_LIBVIRT) to the session for each VM with cards of which only one side knows.  SESSION is
 * unlocked: a daemon may take its time.  COUNT: how many VMs with cards libvirt runs.
 */
MUST_CHECK int cross_check(const char *uri, struct session *session, int *count, struct error *err);

/* libvirt has a hook that calls us, as far as can be seen. */
bool doctor_finds_hook(void);

enum answer { ANSWER_NOT_TOLD, ANSWER_NO, ANSWER_YES };
struct hook_answers {
    enum answer is_installed; /* libvirt would find a hook of ours that can be executed */
    /* NO: it is newer than a daemon that runs, or not where that finds it, and no call of its is known. */
    enum answer is_known;
};
/* The same judgement as the checks of doctor.  SESSION has looked. */
struct hook_answers doctor_ask_about_hook(const struct session *session);
