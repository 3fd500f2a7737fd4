/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>

/* What the command line of a manual verb says. */
struct options {
    const char *config; /* NULL: the usual file */
    const char *file;   /* of the domain's XML; "-" is stdin */
    bool json;
    bool verbose;
};

/* Parses the command line, runs the verb, and returns the exit status. */
int verbs_run(int argc, char *argv[]);

/* One verb each; they print, and return the exit status. */
int verb_plan(const struct options *options);
int verb_status(const struct options *options);
int verb_check(const struct options *options);
