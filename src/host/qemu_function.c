/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>

#include "base/memory.h"
#include "host/domain_parser.h"

bool qemu_names_function(const char *property)
{
    return strcmp(property, "host") == 0 || strcmp(property, "sysfsdev") == 0;
}

/* A name in sysfs tells what it leads to as long as the kernel made it; any
 * other path may be a link to any function. */
static bool is_plain_sysfs_path(const char *path)
{
    return strncmp(path, "/sys/", 5) == 0 && strstr(path, "/..") == NULL;
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

    if (slash != NULL && is_plain_sysfs_path(trimmed)) {
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

int qemu_add_function(struct domain_parser *parser, long line, const char *property, const char *value)
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
