/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "cli/options.h"

/* Parses the command line, runs the verb, and returns the exit status. */
int verbs_run(int argc, char *argv[]);

/* One verb each; they print, and return the exit status. */
int verb_plan(const struct options *options);
int verb_status(const struct options *options);
int verb_check(const struct options *options);
int verb_explain(const struct options *options);
int verb_topo(const struct options *options);
int verb_suggest(const struct options *options);
int verb_doctor(const struct options *options);
int verb_apply(const struct options *options);
int verb_release(const struct options *options);
int verb_reset(const struct options *options);
int verb_help(const struct options *options);
int verb_complete(const struct options *options);
