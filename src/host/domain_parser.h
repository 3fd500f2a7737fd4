/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include <libxml/tree.h>

#include "host/domain.h"

/* What the parts of the domain parser share. */

#define QEMU_NAMESPACE "http://libvirt.org/schemas/domain/qemu/1.0"

/* One <qemu:arg>. */
struct qemu_argument {
    char *value; /* owned */
    long line;
};

struct domain_parser {
    const char *name; /* where the XML is from, for messages */
    bool status_form; /* under <domstatus> */
    struct domain domain;
    size_t device_capacity;
    struct qemu_argument *arguments; /* of all <qemu:commandline> elements, in order */
    size_t argument_count;
    size_t argument_capacity;
    struct error *err;
};

#define XML_TEXT_CLEANUP __attribute__((cleanup(xml_text_free)))
void xml_text_free(xmlChar **text);

/* An element of no namespace. */
bool xml_is_element(const xmlNode *node, const char *name);

/* An element of QEMU's namespace. */
bool xml_is_qemu_element(const xmlNode *node, const char *name);

/* The first child element with this name and no namespace, or NULL. */
const xmlNode *xml_child(const xmlNode *node, const char *name);

/* The attribute's value, owned by the caller, or NULL. */
xmlChar *xml_attribute(const xmlNode *node, const char *name);

/* The attribute is there and has this value. */
bool xml_attribute_is(const xmlNode *node, const char *name, const char *value);

/* STATUS_INVALID with "NAME: line LINE: " in front.  Returns -1. */
int domain_invalid(const struct domain_parser *parser, long line, const char *format, ...) PRINTF_LIKE(3, 4);

/* Appends DEVICE, whose sysfs_path becomes the domain's. */
void domain_add_device(struct domain_parser *parser, const struct domain_device *device);

/* Leaves each function, mediated device and path listed once, where it is named
 * first; warns of each that was named again. */
void domain_unite_devices(struct domain *domain);

/* Reads what one element, expanded with all that is in it, says. */
typedef int (*domain_element_reader)(struct domain_parser *parser, const xmlNode *node);

/* For <hostdev>, <interface> and <disk>; NULL for any other element under
 * <devices>, because none of those holds a host PCI device. */
domain_element_reader domain_device_reader(const xmlChar *element_name);

/* qemu:commandline: only keeps the arguments; qemu_arguments_read looks at all
 * of them together. */
int qemu_commandline_collect(struct domain_parser *parser, const xmlNode *node);
int qemu_arguments_read(struct domain_parser *parser);
void qemu_arguments_free(struct domain_parser *parser);

/* qemu:override */
int qemu_override_read(struct domain_parser *parser, const xmlNode *node);
