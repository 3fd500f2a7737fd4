/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "base/error.h"
#include "cli/options.h"
#include "core/plan.h"
#include "engine/machine.h"
#include "engine/trail.h"
#include "host/process.h"

/* Parses the command line, runs the verb, and returns the exit status. */
int verbs_run(int argc, char *argv[]);

/*
 * A verb prints what it found and returns the exit status, which says more than 0
 * where the answer is bad news.  -1: it could not answer, ERR says why, and nothing
 * was printed on stdout in JSON.
 */
typedef int verb_function(const struct options *options, struct error *err);

/* Runs VERB, reports its error, and returns the exit status.  Public for the verbs' tests. */
int verbs_call(verb_function *verb, const struct options *options);

/* The one line on stderr, and with --json the error's object on stdout; returns the
 * exit status. */
int verbs_report(bool json, const struct error *err);

/* What apply and run do: opens SESSION (to be closed in each case; for a dry run it looks), and isolates LIST, or
 * the cards that are chosen.  BOUND_TO: the process that their groups last as long as; pid 0: for good.  The lock is
 * still had then. */
struct session;
struct group_report;
MUST_CHECK int groups_isolate(struct session *session, const struct options *options, struct process_identity bound_to,
                              struct group_report *report, struct error *err);
/* --name, --count, LIST: what does not go together. */
MUST_CHECK int groups_check_options(const struct options *options, struct error *err);

/* What `suggest N`, or --count N, and --numa ask for.  NUMA_NODE: ANY_NODE without --numa. */
MUST_CHECK int verb_read_choice(const struct options *options, const char *count, uint64_t *wanted, int *numa_node,
                                struct error *err);

/* --wait: seconds, with decimals. */
MUST_CHECK int verb_read_wait(const char *text, int64_t *wait_ms, struct error *err);

/* The card as an element of a domain's XML, for libvirt to bind to vfio-pci. */
enum { HOSTDEV_SIZE = 200 };
const char *verb_hostdev(struct bdf bdf, char text[HOSTDEV_SIZE]);

/* What a verb that changes something logs, also if it failed: the event is EVENT_FAILED then. */

/* The formatted text, or, if it failed, ERR's.  CARDS (as in struct owner_change) or NULL. */
void verb_log_result(const char *verb, enum log_event event, const char *cards, const struct error *err,
                     const char *format, ...) PRINTF_LIKE(5, 6);

/* What a session did, as trail_log: before the lock is given back. */
void verb_log_session(const char *verb, struct session *session, struct trail trail);

verb_function verb_plan;
verb_function verb_status;
verb_function verb_check;
verb_function verb_explain;
verb_function verb_topo;
verb_function verb_suggest;
verb_function verb_doctor;
verb_function verb_setup;
verb_function verb_apply;
verb_function verb_release;
verb_function verb_run;
verb_function verb_attach;
verb_function verb_detach;
verb_function verb_reset;
verb_function verb_repair;
verb_function verb_confirm;
verb_function verb_history;
verb_function verb_help;
verb_function verb_complete;
