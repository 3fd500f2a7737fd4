/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "core/bdf.h"

/* What sysfs says of a PCI function, apart from its ids. */

enum { DRIVER_NAME_SIZE = 64, UNKNOWN_NUMBER = -1 };

struct pci_state {
    bool present;
    char driver[DRIVER_NAME_SIZE]; /* "" = none bound */
    bool on_vfio;                  /* vfio-pci, or a variant driver (it has a vfio-dev directory) */
    int enable;                    /* how many users have enabled it; UNKNOWN_NUMBER if unreadable */
    int iommu_group;               /* on vfio, or after sysfs_read_place; or UNKNOWN_NUMBER */
    int numa_node;                 /* after sysfs_read_place; or UNKNOWN_NUMBER */
    /* A process has it open through vfio: on a vfio driver and enabled.  From
     * sysfs_read_card also if only a virtual function of it is. */
    bool held;
    struct bdf held_function; /* the one that is held, and its IOMMU group */
    int held_group;           /* or UNKNOWN_NUMBER */
};

/* Never fails: what cannot be read is unknown, what is not there is absent. */
void sysfs_read_state(struct bdf bdf, struct pci_state *state);

/* The same of a card, with its virtual functions looked at for `held`. */
void sysfs_read_card(struct bdf bdf, struct pci_state *state);

/* Adds to what was read of a function that is present what nothing depends on but what people are shown. */
void sysfs_read_place(struct bdf bdf, struct pci_state *state);

/* A virtual function, of whichever card. */
bool sysfs_is_virtual_function(struct bdf bdf);

/* When a vfio driver took the card: seconds since the epoch, by the node in /dev/vfio that the kernel made
 * then for its IOMMU group (vfio_register_group_dev); a new owner or mode of the node does not change that.
 * 0: not known. */
int64_t sysfs_vfio_since(const struct pci_state *state);

/* The virtual functions of a card (virtfnN links); owned by the caller. */
void sysfs_virtual_functions(struct bdf bdf, struct bdf **functions, size_t *count);

/* The PCI function that carries a mediated device.  False if there is no such
 * device or its parent is not a PCI function. */
MUST_CHECK bool sysfs_mdev_parent(const char *uuid, struct bdf *parent);

/* The PCI function (or mediated device, then *mdev_uuid is not "") that a
 * sysfs path leads to, through links.  PATH is not yet under the sysroot. */
MUST_CHECK bool sysfs_resolve_path(const char *path, struct bdf *bdf, char mdev_uuid[]);
