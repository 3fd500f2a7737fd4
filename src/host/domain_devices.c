/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The devices under /domain/devices, as libvirt 9.0 to 12 reads them:
 * virDomainHostdevDefParseXMLSubsys, virDomainNetDefParseXML,
 * virDomainStorageSourceParse, virPCIDeviceAddressParseXML.
 */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "host/domain_parser.h"

enum { BUS_MAX = 0xff, SLOT_MAX = 0x1f, FUNCTION_MAX = 7 };

void domain_add_device(struct domain_parser *parser, const struct domain_device *device)
{
    struct domain *domain = &parser->domain;
    if (domain->device_count == parser->device_capacity) {
        parser->device_capacity = parser->device_capacity == 0 ? 8 : parser->device_capacity * 2;
        domain->devices = memory_grow(domain->devices, parser->device_capacity, sizeof *domain->devices);
    }
    domain->devices[domain->device_count++] = *device;
}

/* A host address as the XML gives it; libvirt keeps all four as 32 bits. */
struct raw_address {
    unsigned int domain;
    unsigned int bus;
    unsigned int slot;
    unsigned int function;
};

/* As virStrToLong_uip: leading blanks and '+' are fine, '-', junk after the
 * number and more than 32 bits are not. */
static bool parse_unsigned(const char *text, unsigned int *number)
{
    const char *digits = text + strspn(text, " \t\n\v\f\r");
    char *end = NULL;
    if (*digits == '+') {
        digits++;
    }
    if (*digits < '0' || *digits > '9') {
        return false;
    }
    /* The base that strtoull finds for base 0, by C11: a C23 library would take the binary
     * 0b as well, which libvirt's parser does not. */
    int base = digits[0] != '0' ? 10 : digits[1] == 'x' || digits[1] == 'X' ? 16 : 8;
    unsigned long long value = strtoull(digits, &end, base);
    if (*end != '\0' || value > UINT_MAX) {
        return false;
    }
    *number = (unsigned int)value;
    return true;
}

/* An attribute that is not there leaves *NUMBER 0. */
static int read_address_number(struct domain_parser *parser, const xmlNode *node, const char *name,
                               unsigned int *number)
{
    XML_TEXT_CLEANUP xmlChar *text = xml_attribute(node, name);
    if (!text || parse_unsigned((const char *)text, number)) {
        return 0;
    }
    return domain_invalid(parser, xmlGetLineNo(node), "<address>: %s='%s' is not a number that libvirt accepts", name,
                          text);
}

static int check_bound(struct domain_parser *parser, const xmlNode *node, const char *name, unsigned int number,
                       unsigned int maximum)
{
    if (number <= maximum) {
        return 0;
    }
    return domain_invalid(parser, xmlGetLineNo(node), "<address>: %s 0x%x is above 0x%x", name, number, maximum);
}

/* Adds DEVICE with the function that ADDRESS says. */
static int add_address(struct domain_parser *parser, struct domain_device device, const xmlNode *address)
{
    struct raw_address raw = {0};
    if (read_address_number(parser, address, "domain", &raw.domain) < 0 ||
        read_address_number(parser, address, "bus", &raw.bus) < 0 ||
        read_address_number(parser, address, "slot", &raw.slot) < 0 ||
        read_address_number(parser, address, "function", &raw.function) < 0) {
        return -1;
    }
    /* libvirt takes any function of 0000:00:00 and fails later, because there
     * is none above 7: such a domain starts without it or not at all. */
    if (raw.domain == 0 && raw.bus == 0 && raw.slot == 0 && raw.function > FUNCTION_MAX) {
        text_list_add(&parser->domain.warnings, "line %ld: there is no function %u of 0000:00:00; it is ignored",
                      xmlGetLineNo(address), raw.function);
        return 0;
    }
    if (check_bound(parser, address, "bus", raw.bus, BUS_MAX) < 0 ||
        check_bound(parser, address, "slot", raw.slot, SLOT_MAX) < 0 ||
        check_bound(parser, address, "function", raw.function, FUNCTION_MAX) < 0) {
        return -1;
    }
    device.bdf = (struct bdf){
        .domain = raw.domain,
        .bus = (uint8_t)raw.bus,
        .slot = (uint8_t)raw.slot,
        .function = (uint8_t)raw.function,
    };
    domain_add_device(parser, &device);
    return 0;
}

/* … that SOURCE's address says; without one libvirt reads 0000:00:00.0. */
static int add_source(struct domain_parser *parser, struct domain_device device, const xmlNode *source)
{
    const xmlNode *address = xml_child(source, "address");
    if (!address) {
        domain_add_device(parser, &device);
        return 0;
    }
    return add_address(parser, device, address);
}

static int read_mdev(struct domain_parser *parser, const xmlNode *source)
{
    const xmlNode *address = xml_child(source, "address");
    XML_TEXT_CLEANUP xmlChar *uuid = address ? xml_attribute(address, "uuid") : NULL;
    struct domain_device device = {.kind = DEVICE_MDEV};
    if (!uuid) {
        return domain_invalid(parser, xmlGetLineNo(source), "<hostdev type='mdev'> has no <address uuid=…>");
    }
    if (!text_parse_uuid((const char *)uuid, device.mdev_uuid)) {
        return domain_invalid(parser, xmlGetLineNo(address), "<address>: uuid='%s' is not a UUID", uuid);
    }
    domain_add_device(parser, &device);
    return 0;
}

static int read_hostdev(struct domain_parser *parser, const xmlNode *node)
{
    XML_TEXT_CLEANUP xmlChar *mode = xml_attribute(node, "mode");
    const xmlNode *source = xml_child(node, "source");
    bool is_mdev = xml_attribute_is(node, "type", "mdev");
    /* Every value but "yes" means no (virDomainHostdevDefParseXMLSubsys). */
    struct domain_device device = {.kind = DEVICE_HOSTDEV, .unmanaged = !xml_attribute_is(node, "managed", "yes")};

    if (mode && strcmp((const char *)mode, "subsystem") != 0) {
        return 0;
    }
    if (!is_mdev && !xml_attribute_is(node, "type", "pci")) {
        return 0;
    }
    if (!source) {
        return domain_invalid(parser, xmlGetLineNo(node), "<hostdev type='%s'> has no <source>",
                              is_mdev ? "mdev" : "pci");
    }
    return is_mdev ? read_mdev(parser, source) : add_source(parser, device, source);
}

/* NODE is an <interface> or its <actual>. */
static int read_hostdev_interface(struct domain_parser *parser, const xmlNode *node)
{
    const xmlNode *source = xml_child(node, "source");
    const xmlNode *address = source ? xml_child(source, "address") : NULL;
    if (!xml_attribute_is(node, "type", "hostdev") || !address || !xml_attribute_is(address, "type", "pci")) {
        return 0;
    }
    return add_address(parser, (struct domain_device){.kind = DEVICE_INTERFACE}, address);
}

static int read_interface(struct domain_parser *parser, const xmlNode *node)
{
    /* Only a status file says which function a network pool has given. */
    if (parser->status_form && xml_attribute_is(node, "type", "network")) {
        const xmlNode *actual = xml_child(node, "actual");
        return actual ? read_hostdev_interface(parser, actual) : 0;
    }
    return read_hostdev_interface(parser, node);
}

/* NODE is a <disk> or anything in it: backing stores, mirrors and data stores
 * nest.  The depth is bounded by libxml2's limit of 256. */
static int read_nvme(struct domain_parser *parser, const xmlNode *node)
{
    bool is_nvme = xml_attribute_is(node, "type", "nvme");
    for (const xmlNode *child = node->children; child; child = child->next) {
        if (child->type != XML_ELEMENT_NODE || child->ns) {
            continue;
        }
        if (is_nvme && xml_is_element(child, "source") && xml_attribute_is(child, "type", "pci") &&
            add_source(parser, (struct domain_device){.kind = DEVICE_NVME}, child) < 0) {
            return -1;
        }
        if (read_nvme(parser, child) < 0) {
            return -1;
        }
    }
    return 0;
}

domain_element_reader domain_device_reader(const xmlChar *element_name)
{
    static const struct {
        const char *name;
        domain_element_reader read;
    } readers[] = {
        {"hostdev", read_hostdev},
        {"interface", read_interface},
        {"disk", read_nvme},
    };
    for (size_t i = 0; i < sizeof readers / sizeof readers[0]; i++) {
        if (strcmp(readers[i].name, (const char *)element_name) == 0) {
            return readers[i].read;
        }
    }
    return NULL;
}

static int compare_identity(const struct domain_device *a, const struct domain_device *b)
{
    int by_path = strcmp(a->sysfs_path ? a->sysfs_path : "", b->sysfs_path ? b->sysfs_path : "");
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
            const struct domain_device *device = entries[first];
            char text[BDF_TEXT_SIZE];
            const char *what = device->sysfs_path ? device->sysfs_path : device->mdev_uuid;
            text_list_add(&domain->warnings, "the device %s is named %zu times",
                          what[0] != '\0' ? what : bdf_format(device->bdf, text), i - first);
        }
        first = i;
    }
}

void domain_unite_devices(struct domain *domain)
{
    CLEANUP_FREE struct domain_device **entries = memory_alloc(domain->device_count, sizeof *entries);
    CLEANUP_FREE bool *repeated = memory_alloc(domain->device_count, sizeof *repeated);
    size_t kept = 0;
    if (domain->device_count == 0) {
        return;
    }
    for (size_t i = 0; i < domain->device_count; i++) {
        entries[i] = &domain->devices[i];
    }
    qsort(entries, domain->device_count, sizeof *entries, compare_entries);
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
