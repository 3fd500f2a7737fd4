/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum colour_choice { COLOUR_AUTO, COLOUR_ALWAYS, COLOUR_NEVER };

enum { NAMES_MAX = 64 };

/* What the command line of a manual verb says.  All texts are borrowed from it;
 * NULL: not given. */
struct options {
    const char *argument; /* the verb's own: FILE, LIST, NAME, N, … */

    const char *config; /* NULL: the usual file */
    bool json;
    bool verbose;
    enum colour_choice colour;

    bool dry_run;
    bool force;
    bool isolate;
    bool quiet;
    const char *names[NAMES_MAX]; /* one for each group, in their order */
    size_t name_count;
    const char *more[NAMES_MAX]; /* arguments after the first */
    size_t more_count;
    char *const *command; /* after "--"; ends with NULL */
    const char *count;    /* of cards to choose */
    bool if_exists;
    const char *output; /* a file instead of standard output */

    const char *domain;  /* a VM's name, to be asked of libvirt */
    const char *connect; /* libvirt's URI */
    const char *probe;   /* a card */

    const char *from;     /* a directory with outputs of the vendor's tools */
    const char *topology; /* a topology file */
    const char *map;      /* a file of lines "ID = BDF" */
    bool ids_by_address;

    bool generate;
    const char *validate; /* a topology file */
    bool dot;
    bool prometheus;
    const char *numa;
    const char *wait;  /* seconds */
    const char *since; /* times as journalctl takes them */
    const char *until;
    bool xml;
    bool no_header;
};
