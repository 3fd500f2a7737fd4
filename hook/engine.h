/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/*
 * Between the hook program and the engine, beside arguments, stdin and exit
 * status, two variables of the environment:
 *   ICN_HOOK_CALLER      the pid of the hook program's own caller, libvirtd.
 *                        Good only while the engine's parent is the hook: if it
 *                        is the parent of the engine's parent.
 *   ICN_HOOK_VERDICT_FD  the number of a descriptor to which the engine, as its
 *                        last deed, writes its exit status as one byte.
 */
#define ENGINE_CALLER_VARIABLE "ICN_HOOK_CALLER"
#define ENGINE_VERDICT_VARIABLE "ICN_HOOK_VERDICT_FD"

struct engine_answer {
    bool given;         /* the engine ran to its end */
    int status;         /* then: its exit status */
    char trouble[1024]; /* otherwise: what went wrong, to follow the engine's path in a sentence */
};

/* The program to run: the installed one, or on a simulated host ICN_ENGINE. */
const char *engine_path(void);

/* Runs the engine with the arguments of this program and TEXT as stdin, and
 * waits for it.  *TEXT (from malloc) is replaced by a mapping of the same
 * text, which takes no memory of its own.  What an engine that answered wrote
 * to stderr is passed on. */
void engine_run(char *const arguments[], char **text, size_t length, struct engine_answer *answer);
