/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>

#include "host/state.h"

/* What the tests of the state's files and of its lock share.  Paths are those of the
 * simulated host. */

#define RUN "/run/icn-hook"
#define LOCK RUN "/lock"
#define CARDS RUN "/cards.json"
#define CLAIM_A RUN "/" VM_A ".json"
#define CLAIM_B RUN "/" VM_B ".json"
#define ENDED_A RUN "/ended-" VM_A
#define BOOT_ID "/proc/sys/kernel/random/boot_id"
#define BOOT "6a0f2e5c-7b0d-4d0e-9c35-2f6c6d8b1a77"
#define VM_A "4dea22b3-1d52-d8f3-2516-782e98a23fa0"
#define VM_B "0dea22b3-1d52-d8f3-2516-782e98a23fa1"
#define VM_C "ffea22b3-1d52-d8f3-2516-782e98a23fa2"

/* cmocka's setup: a host with /run and a boot id. */
int start_host(void **unused);

/* Within a second. */
struct state open_state(enum state_access access);

/* A claim with one card, written. */
void write_claim(struct state *state, const char *uuid, const char *name);
/* The same by a state of its own. */
void make_claim(const char *uuid, const char *name);

bool exists(const char *path);
unsigned int mode_of(const char *path);

/* FORMAT's one %s is PATH on the real host. */
void assert_text(const struct error *err, enum status status, const char *format, const char *path);

/* Opening without waiting fails like this, and leaves the state alone. */
void assert_refused_as(enum state_access access, enum status status, const char *format, const char *path);
/* Both ways. */
void assert_refused(enum status status, const char *format, const char *path);

/* Opens and closes. */
int look(struct error *err);
int change(struct error *err);

/* What ATTEMPT ran into in a child, after PREPARE has made the child's world. */
struct error error_in_child(int (*prepare)(void), int (*attempt)(struct error *err));

/* A child's own mounts: in a chroot and in most containers nobody may have them. */
int leave_mounts(void);
bool can_leave_mounts(void);

/* Besides a good claim, the file NAME is a fault of UUID with the text FORMAT (as in
 * assert_text); it is removed then. */
void assert_fault(const char *name, enum state_fault_kind kind, const char *uuid, enum status status,
                  const char *format);
#define ADVICE "; run: icn-hook repair"
