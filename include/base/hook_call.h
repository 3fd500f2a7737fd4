/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What the hook program tells the engine beside arguments and stdin, in the environment:
 *   ICN_HOOK_CALLER      the pid of the hook program's own caller.  Good only while the
 *                        engine's parent is the hook: if it is the parent of the
 *                        engine's parent.
 *   ICN_HOOK_VERDICT_FD  the number of a descriptor to which the engine, as its last
 *                        deed, writes its exit status as one byte.
 */
#define HOOK_CALLER_VARIABLE "ICN_HOOK_CALLER"
#define HOOK_VERDICT_VARIABLE "ICN_HOOK_VERDICT_FD"
