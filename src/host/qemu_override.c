/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Facts: libvirt's qemu_conf.c and qemu_namespace XML (since 8.2.0):
 * qemu:override/qemu:device/qemu:frontend/qemu:property. */
#include "base/memory.h"
#include "host/domain_parser.h"

static int read_property(struct domain_parser *parser, const xmlNode *node)
{
    XML_TEXT_CLEANUP xmlChar *name = xml_attribute(node, "name");
    XML_TEXT_CLEANUP xmlChar *value = xml_attribute(node, "value");

    if (name == NULL || !qemu_names_function((const char *)name) || xml_attribute_is(node, "type", "remove")) {
        return 0;
    }
    return qemu_add_function(parser, xmlGetLineNo(node), (const char *)name, value != NULL ? (const char *)value : "");
}

/* Calls READ for each child of NODE with this name in QEMU's namespace. */
static int each_qemu_child(struct domain_parser *parser, const xmlNode *node, const char *name,
                           domain_element_reader read)
{
    for (const xmlNode *child = node->children; child != NULL; child = child->next) {
        if (xml_is_qemu_element(child, name) && read(parser, child) != 0) {
            return -1;
        }
    }
    return 0;
}

static int read_frontend(struct domain_parser *parser, const xmlNode *node)
{
    return each_qemu_child(parser, node, "property", read_property);
}

static int read_device(struct domain_parser *parser, const xmlNode *node)
{
    return each_qemu_child(parser, node, "frontend", read_frontend);
}

int qemu_override_read(struct domain_parser *parser, const xmlNode *node)
{
    return each_qemu_child(parser, node, "device", read_device);
}
