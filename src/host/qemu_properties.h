/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* The properties that a value of QEMU's -device or -global gives, in order;
 * both texts are owned. */
struct qemu_property {
    char *name;
    char *value;
};

struct qemu_properties {
    struct qemu_property *items;
    size_t count;
};

/* "DRIVER,name=value,flag": the first part without '=' is the property
 * "driver", ",," is a comma in a value. */
void qemu_properties_split(const char *text, struct qemu_properties *properties);

/* {"driver":"DRIVER","name":"value"}: every member whose value is a string, at
 * any depth; QEMU takes strings in single quotes too.  False if a string does
 * not end; PROPERTIES is then to be freed all the same. */
bool qemu_properties_from_json(const char *text, struct qemu_properties *properties);

void qemu_properties_free(struct qemu_properties *properties);
#define CLEANUP_PROPERTIES __attribute__((cleanup(qemu_properties_free)))
