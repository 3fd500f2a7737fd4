/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* From here to alarms_end a signal whose handler does nothing comes every few
 * milliseconds, so that system calls end with EINTR. */
void alarms_begin(void);
void alarms_end(void);
