/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdio.h>

/* What a question to libvirt comes down to, in the process that loads it.  Private
 * to this layer. */
struct question {
    const char *uri;
    const char *name; /* the domain to describe; NULL: all that run */
};

/* Writes the answer to ANSWER: name, UUID and XML of each domain, each text with
 * its zero byte.  Returns 0, or -1 after the reason was written instead. */
int client_ask(const struct question *question, FILE *answer);
