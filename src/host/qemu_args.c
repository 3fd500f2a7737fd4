/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation: libvirt hands <qemu:arg> on to QEMU unread and does not
 * check whether a function that it names is in use, so it is read here as QEMU
 * reads its command line.  A vfio-pci device can come from -device (options or
 * JSON), and its host= or sysfsdev= from there, from -set or from -global.
 * Too much caution costs a clear refusal, too little a card that escapes:
 * anything that mentions vfio-pci and is not understood is refused.
 *
 * <qemu:override> (libvirt 8.2.0 and later) sets properties of the devices that
 * libvirt itself makes: qemu:device/qemu:frontend/qemu:property.
 *
 * Facts: QEMU's softmmu/vl.c, qdev-properties-system.c (host= is hexadecimal
 * [domain:]bus:slot.function), hw/vfio/pci.c; libvirt's qemu_command.c.
 */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "host/domain_parser.h"
#include "host/qemu_properties.h"

/* A property of vfio-pci that says which host device it takes. */
static bool names_function(const char *property)
{
    return strcmp(property, "host") == 0 || strcmp(property, "sysfsdev") == 0;
}

static void fill_from_path(struct domain_device *device, const char *path)
{
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/') {
        length--;
    }
    CLEANUP_FREE char *trimmed = memory_alloc(length + 1, 1);
    memcpy(trimmed, path, length);
    const char *slash = strrchr(trimmed, '/');

    /* A name in sysfs says what it leads to as long as the kernel made it; any other path
     * may be a link to any function. */
    if (slash && strncmp(trimmed, "/sys/", 5) == 0 && !strstr(trimmed, "/..")) {
        if (bdf_parse(slash + 1, &device->bdf)) {
            return;
        }
        if (text_parse_uuid(slash + 1, device->mdev_uuid)) {
            device->kind = DEVICE_MDEV;
            return;
        }
    }
    device->sysfs_path = memory_copy_text(path);
}

static int add_qemu_function(struct domain_parser *parser, long line, const char *property, const char *value)
{
    struct domain_device device = {.kind = DEVICE_COMMANDLINE};
    if (strcmp(property, "host") == 0) {
        if (!bdf_parse(value, &device.bdf)) {
            return domain_invalid(
                parser, line, "host='%s' for QEMU is not a PCI function; write it as DOMAIN:BUS:SLOT.FUNCTION", value);
        }
    } else if (value[0] == '\0') {
        return domain_invalid(parser, line, "sysfsdev= for QEMU names no device");
    } else {
        fill_from_path(&device, value);
    }
    domain_add_device(parser, &device);
    return 0;
}

static const char vfio_driver[] = "vfio-pci"; /* and vfio-pci-nohotplug */

/* What has been seen while all arguments are read. */
struct qemu_reading {
    struct domain_parser *parser;
    const char *open_device; /* a vfio-pci device that names no function itself, or NULL */
    long open_line;
    bool set_elsewhere; /* -set or -global have named a function */
};

static int add_named_functions(struct qemu_reading *reading, long line, const struct qemu_properties *properties,
                               bool *named)
{
    for (size_t i = 0; i < properties->count; i++) {
        const struct qemu_property *property = &properties->items[i];
        if (!names_function(property->name)) {
            continue;
        }
        if (add_qemu_function(reading->parser, line, property->name, property->value) < 0) {
            return -1;
        }
        *named = true;
    }
    return 0;
}

static bool has_vfio_driver(const struct qemu_properties *properties)
{
    for (size_t i = 0; i < properties->count; i++) {
        const struct qemu_property *property = &properties->items[i];
        if (strcmp(property->name, "driver") == 0 &&
            strncmp(property->value, vfio_driver, sizeof vfio_driver - 1) == 0) {
            return true;
        }
    }
    return false;
}

static int read_device_option(struct qemu_reading *reading, const struct qemu_argument *argument, const char *operand)
{
    CLEANUP_PROPERTIES struct qemu_properties properties = {0};
    bool named = false;
    if (operand[strspn(operand, " \t\r\n")] == '{') {
        if (!qemu_properties_from_json(operand, &properties)) {
            return domain_invalid(reading->parser, argument->line, "QEMU's -device has broken JSON: %s", operand);
        }
    } else {
        qemu_properties_split(operand, &properties);
    }
    if (!has_vfio_driver(&properties)) {
        return 0;
    }
    if (add_named_functions(reading, argument->line, &properties, &named) < 0) {
        return -1;
    }
    if (!named) {
        reading->open_device = operand;
        reading->open_line = argument->line;
    }
    return 0;
}

/* GROUP.ID.PROPERTY=VALUE, where an id has no dots; the value is taken as it
 * is. */
static int read_set_option(struct qemu_reading *reading, const struct qemu_argument *argument, const char *operand)
{
    size_t key_length = strcspn(operand, "=");
    CLEANUP_FREE char *key = memory_alloc(key_length + 1, 1);
    memcpy(key, operand, key_length);
    const char *dot = strrchr(key, '.');

    if (strncmp(key, "device.", 7) != 0 || operand[key_length] != '=' || !names_function(dot + 1)) {
        return 0;
    }
    reading->set_elsewhere = true;
    return add_qemu_function(reading->parser, argument->line, dot + 1, operand + key_length + 1);
}

/* DRIVER.PROPERTY=VALUE, or driver=DRIVER,property=PROPERTY,value=VALUE.  A
 * base class of vfio-pci may stand for it, so every driver counts. */
static int read_global_option(struct qemu_reading *reading, const struct qemu_argument *argument, const char *operand)
{
    CLEANUP_PROPERTIES struct qemu_properties properties = {0};
    const char *property = "";
    const char *value = "";
    size_t driver_length = strcspn(operand, ".=");
    if (operand[driver_length] == '.') {
        size_t length = strcspn(operand + driver_length + 1, "=");
        CLEANUP_FREE char *name = memory_alloc(length + 1, 1);
        memcpy(name, operand + driver_length + 1, length);
        if (!names_function(name) || operand[driver_length + 1 + length] != '=') {
            return 0;
        }
        reading->set_elsewhere = true;
        return add_qemu_function(reading->parser, argument->line, name, operand + driver_length + length + 2);
    }
    qemu_properties_split(operand, &properties);
    for (size_t i = 0; i < properties.count; i++) {
        if (strcmp(properties.items[i].name, "property") == 0) {
            property = properties.items[i].value;
        } else if (strcmp(properties.items[i].name, "value") == 0) {
            value = properties.items[i].value;
        }
    }
    if (!names_function(property)) {
        return 0;
    }
    reading->set_elsewhere = true;
    return add_qemu_function(reading->parser, argument->line, property, value);
}

/* A configuration file may hold devices, and is not the domain's XML. */
static int read_readconfig_option(struct qemu_reading *reading, const struct qemu_argument *argument,
                                  const char *operand)
{
    text_list_add(&reading->parser->domain.warnings,
                  "line %ld: QEMU's -readconfig %s is not looked into; a card that it takes is not isolated",
                  argument->line, operand);
    return 0;
}

/* The operand is free text, which may well contain vfio-pci. */
static int read_free_text(struct qemu_reading *reading, const struct qemu_argument *argument, const char *operand)
{
    (void)reading;
    (void)argument;
    (void)operand;
    return 0;
}

struct qemu_option {
    const char *name;
    int (*read)(struct qemu_reading *reading, const struct qemu_argument *argument, const char *operand);
};

static const struct qemu_option options[] = {
    {"device", read_device_option}, {"set", read_set_option},
    {"global", read_global_option}, {"readconfig", read_readconfig_option},
    {"append", read_free_text},     {"name", read_free_text},
    {"fw_cfg", read_free_text},     {"smbios", read_free_text},
};

/* The option that TEXT is (-NAME, --NAME, either with =OPERAND), or NULL. */
static const struct qemu_option *find_option(const char *text, const char **operand)
{
    size_t dashes = strspn(text, "-");
    const char *name = text + dashes;
    size_t length = strcspn(name, "=");
    for (size_t i = 0; dashes >= 1 && dashes <= 2 && i < sizeof options / sizeof options[0]; i++) {
        if (strlen(options[i].name) == length && strncmp(options[i].name, name, length) == 0) {
            *operand = name[length] == '=' ? name + length + 1 : NULL;
            return &options[i];
        }
    }
    return NULL;
}

static int refuse_argument(const struct domain_parser *parser, long line, const char *text)
{
    return domain_invalid(parser, line,
                          "the QEMU argument '%s' takes a device with vfio-pci in a way that is not understood; "
                          "use <hostdev>, or -device vfio-pci,host=DOMAIN:BUS:SLOT.FUNCTION",
                          text);
}

int qemu_arguments_read(struct domain_parser *parser)
{
    struct qemu_reading reading = {.parser = parser};
    for (size_t i = 0; i < parser->argument_count; i++) {
        const struct qemu_argument *argument = &parser->arguments[i];
        const char *operand = NULL;
        const struct qemu_option *option = find_option(argument->value, &operand);
        if (!option) {
            if (strstr(argument->value, vfio_driver)) {
                return refuse_argument(parser, argument->line, argument->value);
            }
            continue;
        }
        if (!operand && i + 1 < parser->argument_count) {
            operand = parser->arguments[++i].value;
        }
        if (operand && option->read(&reading, argument, operand) < 0) {
            return -1;
        }
    }
    if (reading.open_device && !reading.set_elsewhere) {
        return refuse_argument(parser, reading.open_line, reading.open_device);
    }
    return 0;
}

int qemu_commandline_collect(struct domain_parser *parser, const xmlNode *node)
{
    for (const xmlNode *child = node->children; child; child = child->next) {
        if (!xml_is_qemu_element(child, "arg")) {
            continue;
        }
        XML_TEXT_CLEANUP xmlChar *value = xml_attribute(child, "value");
        if (!value) {
            return domain_invalid(parser, xmlGetLineNo(child), "<qemu:arg> has no value");
        }
        if (parser->argument_count == parser->argument_capacity) {
            parser->argument_capacity = parser->argument_capacity == 0 ? 8 : parser->argument_capacity * 2;
            parser->arguments = memory_grow(parser->arguments, parser->argument_capacity, sizeof *parser->arguments);
        }
        parser->arguments[parser->argument_count++] =
            (struct qemu_argument){.value = memory_copy_text((const char *)value), .line = xmlGetLineNo(child)};
    }
    return 0;
}

void qemu_arguments_free(struct domain_parser *parser)
{
    for (size_t i = 0; i < parser->argument_count; i++) {
        free(parser->arguments[i].value);
    }
    free(parser->arguments);
}

static int read_override_property(struct domain_parser *parser, const xmlNode *node)
{
    XML_TEXT_CLEANUP xmlChar *name = xml_attribute(node, "name");
    XML_TEXT_CLEANUP xmlChar *value = xml_attribute(node, "value");
    if (!name || !names_function((const char *)name) || xml_attribute_is(node, "type", "remove")) {
        return 0;
    }
    return add_qemu_function(parser, xmlGetLineNo(node), (const char *)name, value ? (const char *)value : "");
}

/* NAMES are the elements on the way down to the properties, the last one followed by NULL. */
static int read_override(struct domain_parser *parser, const xmlNode *node, const char *const names[])
{
    for (const xmlNode *child = node->children; child; child = child->next) {
        if (!xml_is_qemu_element(child, names[0])) {
            continue;
        }
        if ((names[1] ? read_override(parser, child, names + 1) : read_override_property(parser, child)) < 0) {
            return -1;
        }
    }
    return 0;
}

int qemu_override_read(struct domain_parser *parser, const xmlNode *node)
{
    static const char *const names[] = {"device", "frontend", "property", NULL};
    return read_override(parser, node, names);
}
