/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/text.h"

/* Where a domain's XML wants its vCPUs and memory, as written. */
struct domain_placement {
    struct text_list cpus;         /* cpusets: of <vcpu>, or of <vcpupin> for each vCPU */
    bool every_vcpu;               /* each vCPU has one of them */
    struct text_list memory_nodes; /* nodesets that bind all of its memory: of <memory>, and of each <memnode> */
    bool is_automatic;             /* numad chooses at the start */
};

/* TEXT was accepted by domain_parse.  What it does not say stays empty. */
void domain_placement_read(const char *text, size_t length, struct domain_placement *placement);
void domain_placement_free(struct domain_placement *placement);
