/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "host/process.h"
#include "scene.h"

/* The calls of the hook for VM 'a', whose uuid is VM_A. */

extern const uint32_t nothing_cut[CARDS];
/* With 0 and 1 in the VM. */
extern const uint32_t isolated[CARDS];
#define CLAIM_OF_A CLAIM_OF(VM_A)

/* The libvirt daemon behind the call, for programs that wrap process_daemon_behind_call: by itself there is none. */
extern bool has_daemon;
extern struct process_identity daemon_identity;

/* cmocka's setup for each test. */
int hook_calls_start(void **state);

/* The domain's XML; valid until a few more calls. */
const char *vm(const char *ppus);
enum status call(const char *operation, const char *text, struct error *err);
void assert_fine(const char *operation, const char *text);
/* The line that refuses has REASON in it. */
void assert_start_refused(const char *operation, const char *text, enum status status, const char *reason);
bool is_logged(const char *words);
void assert_logged(const char *words);
/* The claim's phase and cards, as a text. */
void assert_claim(const char *uuid, const char *expected);

/* libvirt binds the cards to vfio-pci and starts QEMU, which holds them open. */
void qemu_starts(const char *ppus);
void qemu_ends(const char *ppus);
