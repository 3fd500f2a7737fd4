/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* The address of a PCI function.  The domain has 32 bits: Linux and libvirt
 * both allow more than 16 (VMD host bridges use 0x10000 and up). */
struct bdf {
    uint32_t domain;
    uint8_t bus;
    uint8_t slot;     /* 0..31 */
    uint8_t function; /* 0..7 */
};

enum { BDF_TEXT_SIZE = sizeof "ffffffff:ff:ff.f" };

/* "0000:08:00.0", or without the domain ("08:00.0", domain 0); hexadecimal
 * digits of either case; the whole of TEXT. */
bool bdf_parse(const char *text, struct bdf *bdf);

/* As sysfs writes it: at least four digits of domain, lower case. */
const char *bdf_format(struct bdf bdf, char text[BDF_TEXT_SIZE]);

/* By domain, bus, slot, function: below, equal to or above zero. */
int bdf_compare(struct bdf a, struct bdf b);

/* The same for qsort over an array of struct bdf. */
int bdf_order(const void *a, const void *b);
