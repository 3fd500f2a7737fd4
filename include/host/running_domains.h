/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "host/running_vms.h"

/* The running VMs in the form that the engine of version 0.1 takes. */
struct running_domains {
    struct domain *domains;
    size_t count;
    struct text_list warnings;
};

/* Keeps the domains of the VMs that live, or that have this UUID; frees the rest. */
static inline void running_domains_take(struct running_vms *running, const char *uuid, struct running_domains *taken)
{
    *taken = (struct running_domains){.warnings = running->warnings};
    taken->domains = memory_alloc(running->count + 1, sizeof *taken->domains);
    for (size_t i = 0; i < running->count; i++) {
        struct running_vm *vm = &running->vms[i];
        if (uuid ? strcmp(vm->domain.uuid, uuid) == 0 : vm->lives) {
            taken->domains[taken->count++] = vm->domain;
        } else {
            domain_free(&vm->domain);
        }
    }
    free(running->vms);
}

static inline void running_domains_free(struct running_domains *running)
{
    for (size_t i = 0; i < running->count; i++) {
        domain_free(&running->domains[i]);
    }
    free(running->domains);
    text_list_free(&running->warnings);
    *running = (struct running_domains){0};
}

static inline int running_domains_load(struct running_domains *running, struct error *err)
{
    struct running_vms vms;
    if (running_vms_load(&vms, NULL, err) < 0) {
        return -1;
    }
    running_domains_take(&vms, NULL, running);
    return 0;
}

static inline int running_domains_find(const char *uuid, struct domain *domain, struct error *err)
{
    struct running_vms vms;
    struct running_domains same;
    if (running_vms_load(&vms, NULL, err) < 0) {
        return -1;
    }
    running_domains_take(&vms, uuid, &same);
    bool found = same.count > 0;
    if (found) {
        *domain = same.domains[0];
        same.domains[0] = (struct domain){0};
    }
    running_domains_free(&same);
    return found;
}
