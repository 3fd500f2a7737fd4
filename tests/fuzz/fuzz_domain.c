/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * A domain's XML, any bytes.  What is refused is refused in one line; what is
 * taken keeps every promise of domain.h, and is taken the same way again.  A
 * status file that the quick look finds without host device has none.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "host/domain.h"
#include "host/running_vms.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition) {
        abort();
    }
}

static void require_one_line(const char *text)
{
    for (; *text != '\0'; text++) {
        require((unsigned char)*text >= 0x20 && *text != 0x7f);
    }
}

static void require_canonical_uuid(const char *uuid)
{
    char again[UUID_SIZE];
    require(text_parse_uuid(uuid, again) && strcmp(uuid, again) == 0);
}

static bool same_device(const struct domain_device *a, const struct domain_device *b)
{
    if (a->sysfs_path || b->sysfs_path) {
        return a->sysfs_path && b->sysfs_path && strcmp(a->sysfs_path, b->sysfs_path) == 0;
    }
    return strcmp(a->mdev_uuid, b->mdev_uuid) == 0 && bdf_compare(a->bdf, b->bdf) == 0;
}

static void require_device(const struct domain_device *device)
{
    static const struct bdf none;
    require(device->bdf.slot <= 0x1f && device->bdf.function <= 7);
    require((device->kind == DEVICE_MDEV) == (device->mdev_uuid[0] != '\0'));
    if (device->mdev_uuid[0] != '\0') {
        require_canonical_uuid(device->mdev_uuid);
        require(!device->sysfs_path && bdf_compare(device->bdf, none) == 0);
    }
    if (device->sysfs_path) {
        require(device->kind == DEVICE_COMMANDLINE && device->sysfs_path[0] != '\0');
        require(bdf_compare(device->bdf, none) == 0);
    }
}

static void require_promises(const struct domain *domain)
{
    require(domain->name && domain->pid >= 0);
    if (domain->uuid[0] != '\0') {
        require_canonical_uuid(domain->uuid);
    }
    for (size_t i = 0; i < domain->device_count; i++) {
        require_device(&domain->devices[i]);
        for (size_t j = 0; j < i; j++) {
            require(!same_device(&domain->devices[i], &domain->devices[j]));
        }
    }
    for (size_t i = 0; i < domain->warnings.count; i++) {
        require_one_line(domain->warnings.items[i]);
    }
}

static void require_equal(const struct domain *a, const struct domain *b)
{
    require(strcmp(a->name, b->name) == 0 && strcmp(a->uuid, b->uuid) == 0 && a->pid == b->pid);
    require(a->device_count == b->device_count && a->warnings.count == b->warnings.count);
    for (size_t i = 0; i < a->device_count; i++) {
        require(a->devices[i].kind == b->devices[i].kind && same_device(&a->devices[i], &b->devices[i]));
    }
    for (size_t i = 0; i < a->warnings.count; i++) {
        require(strcmp(a->warnings.items[i], b->warnings.items[i]) == 0);
    }
}

static void require_refusal(const struct error *err)
{
    require(err->status == STATUS_INVALID && strncmp(err->text, "vm.xml: ", 8) == 0);
    require_one_line(err->text);
}

static void check_quick_look(const char *text, size_t length, const struct domain *parsed)
{
    struct domain seen;
    if (!status_file_scan(text, length, &seen)) {
        return;
    }
    require(seen.pid > 0 && seen.device_count == 0 && seen.warnings.count == 0);
    require_canonical_uuid(seen.uuid);
    require_one_line(seen.name);
    if (parsed) {
        require(parsed->pid == seen.pid && parsed->device_count == 0 && parsed->warnings.count == 0);
    }
    domain_free(&seen);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct domain first;
    struct domain second;
    struct error err = {0};
    struct error again = {0};
    int result = domain_parse((const char *)data, size, "vm.xml", &first, &err);
    require(domain_parse((const char *)data, size, "vm.xml", &second, &again) == result);
    check_quick_look((const char *)data, size, result < 0 ? NULL : &first);
    if (result < 0) {
        require_refusal(&err);
        require(strcmp(err.text, again.text) == 0);
        return 0;
    }
    require_promises(&first);
    require_equal(&first, &second);
    domain_free(&first);
    domain_free(&second);
    return 0;
}
