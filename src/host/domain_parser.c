/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/domain_parser.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libxml/xmlmemory.h>

#include "base/memory.h"

void xml_text_free(xmlChar **text)
{
    xmlFree(*text);
}

bool xml_is_element(const xmlNode *node, const char *name)
{
    return node->type == XML_ELEMENT_NODE && node->ns == NULL && strcmp((const char *)node->name, name) == 0;
}

bool xml_is_qemu_element(const xmlNode *node, const char *name)
{
    return node->type == XML_ELEMENT_NODE && node->ns != NULL && xmlStrEqual(node->ns->href, BAD_CAST QEMU_NAMESPACE) &&
           strcmp((const char *)node->name, name) == 0;
}

const xmlNode *xml_child(const xmlNode *node, const char *name)
{
    for (const xmlNode *child = node->children; child != NULL; child = child->next) {
        if (xml_is_element(child, name)) {
            return child;
        }
    }
    return NULL;
}

xmlChar *xml_attribute(const xmlNode *node, const char *name)
{
    return xmlGetNoNsProp(node, BAD_CAST name);
}

bool xml_attribute_is(const xmlNode *node, const char *name, const char *value)
{
    XML_TEXT_CLEANUP xmlChar *text = xml_attribute(node, name);
    return text != NULL && strcmp((const char *)text, value) == 0;
}

int domain_invalid(const struct domain_parser *parser, long line, const char *format, ...)
{
    va_list arguments;
    char message[sizeof(parser->err->text)];

    va_start(arguments, format);
    vsnprintf(message, sizeof(message), format, arguments);
    va_end(arguments);
    return error_set(parser->err, STATUS_INVALID, "%s: line %ld: %s", parser->name, line, message);
}

void domain_add_device(struct domain_parser *parser, const struct domain_device *device)
{
    struct domain *domain = &parser->domain;

    if (domain->device_count == parser->device_capacity) {
        parser->device_capacity = parser->device_capacity == 0 ? 8 : parser->device_capacity * 2;
        domain->devices = memory_grow(domain->devices, parser->device_capacity, sizeof(*domain->devices));
    }
    domain->devices[domain->device_count++] = *device;
}

static int compare_identity(const struct domain_device *a, const struct domain_device *b)
{
    int by_path = strcmp(a->sysfs_path != NULL ? a->sysfs_path : "", b->sysfs_path != NULL ? b->sysfs_path : "");
    int by_uuid = strcmp(a->mdev_uuid, b->mdev_uuid);

    if (by_path != 0) {
        return by_path;
    }
    return by_uuid != 0 ? by_uuid : bdf_compare(a->bdf, b->bdf);
}

/* For qsort over pointers into one array: same identities in document order. */
static int compare_entries(const void *a, const void *b)
{
    const struct domain_device *const *first = a;
    const struct domain_device *const *second = b;
    int by_identity = compare_identity(*first, *second);

    return by_identity != 0 ? by_identity : (*first > *second) - (*first < *second);
}

static void warn_repeated(struct domain *domain, const struct domain_device *device, size_t times)
{
    char text[BDF_TEXT_SIZE];
    const char *what = device->sysfs_path;

    if (what == NULL) {
        what = device->mdev_uuid[0] != '\0' ? device->mdev_uuid : bdf_format(device->bdf, text);
    }
    text_list_add(&domain->warnings, "the device %s is named %zu times", what, times);
}

/* Marks all but the first of each run of equal devices in the sorted ENTRIES. */
static void mark_repeated(struct domain *domain, struct domain_device **entries, bool *repeated)
{
    size_t first = 0;

    for (size_t i = 1; i <= domain->device_count; i++) {
        if (i < domain->device_count && compare_identity(entries[first], entries[i]) == 0) {
            repeated[entries[i] - domain->devices] = true;
            continue;
        }
        if (i - first > 1) {
            warn_repeated(domain, entries[first], i - first);
        }
        first = i;
    }
}

void domain_unite_devices(struct domain *domain)
{
    CLEANUP_FREE struct domain_device **entries = memory_alloc(domain->device_count, sizeof(*entries));
    CLEANUP_FREE bool *repeated = memory_alloc(domain->device_count, sizeof(*repeated));
    size_t kept = 0;

    if (domain->device_count == 0) {
        return;
    }
    for (size_t i = 0; i < domain->device_count; i++) {
        entries[i] = &domain->devices[i];
    }
    qsort(entries, domain->device_count, sizeof(*entries), compare_entries);
    mark_repeated(domain, entries, repeated);

    for (size_t i = 0; i < domain->device_count; i++) {
        if (repeated[i]) {
            free(domain->devices[i].sysfs_path);
        } else {
            domain->devices[kept++] = domain->devices[i];
        }
    }
    domain->device_count = kept;
}

void domain_free(struct domain *domain)
{
    for (size_t i = 0; i < domain->device_count; i++) {
        free(domain->devices[i].sysfs_path);
    }
    free(domain->devices);
    free(domain->name);
    text_list_free(&domain->warnings);
    *domain = (struct domain){0};
}
