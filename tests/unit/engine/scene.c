/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "scene.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/file.h"

enum { TEXT_SIZE = 8192, RING = 4 };

const char *const addresses[CARDS] = {
    "0000:08:00.0", "0000:7e:00.0", "0000:a2:00.0", "0000:c6:00.0",
    "0001:09:00.0", "0001:7f:00.0", "0001:aa:00.0", "0001:ce:00.0",
};

struct bdf parse_bdf(const char *text)
{
    struct bdf bdf = {0};
    assert_true(bdf_parse(text, &bdf));
    return bdf;
}

struct bdf address_of(int ppu)
{
    return parse_bdf(addresses[ppu]);
}

int scene_start(void **state)
{
    struct buffer text = {0};
    struct error err;

    simulated_host_clear(state);
    for (int ppu = 0; ppu < CARDS; ppu++) {
        simulated_card(addresses[ppu]);
    }
    assert_int_equal(file_read(TESTS_DIR "/fixtures/topology/vendor.cfg", 1 << 20, &text, NULL, &err), 0);
    simulated_file(TOPOLOGY, text.data, text.length);
    buffer_free(&text);
    simulated_text("/proc/sys/kernel/random/boot_id", "6a0f2e5c-7b0d-4d0e-9c35-2f6c6d8b1a77\n");
    simulated_directory("/run/libvirt/qemu");
    simulated_directory("/var/log");
    return 0;
}

static const char *device_path(const char *bdf, const char *name)
{
    static char ring[RING][256];
    static int next;
    char *path = ring[next++ % RING];
    snprintf(path, sizeof ring[0], "/sys/bus/pci/devices/%s/%s", bdf, name);
    return path;
}

void scene_bind(const char *bdf, const char *driver, int count)
{
    char text[64];

    if (host_has(device_path(bdf, "driver"))) {
        simulated_remove(device_path(bdf, "driver"));
    }
    snprintf(text, sizeof text, "../../../bus/pci/drivers/%s", driver);
    simulated_link(device_path(bdf, "driver"), text);
    snprintf(text, sizeof text, "%d\n", count);
    simulated_text(device_path(bdf, "enable"), text);
}

void scene_virtual_function(int ppu, int number, const char *bdf)
{
    char name[32];
    char target[64];

    simulated_card(bdf);
    snprintf(target, sizeof target, "../%s", addresses[ppu]);
    simulated_link(device_path(bdf, "physfn"), target);
    snprintf(name, sizeof name, "virtfn%d", number);
    snprintf(target, sizeof target, "../%s", bdf);
    simulated_link(device_path(addresses[ppu], name), target);
}

void scene_mdev(const char *bdf, const char *uuid)
{
    char path[128];
    char target[128];

    simulated_directory(device_path(bdf, uuid));
    snprintf(path, sizeof path, "/sys/bus/mdev/devices/%s", uuid);
    snprintf(target, sizeof target, "../../pci/devices/%s/%s", bdf, uuid);
    simulated_link(path, target);
}

const char *scene_xml(const char *name, const char *uuid, const char *ppus)
{
    static char ring[RING][TEXT_SIZE];
    static int next;
    char *text = ring[next++ % RING];
    size_t used =
        (size_t)snprintf(text, TEXT_SIZE, "<domain type='kvm'><name>%s</name><uuid>%s</uuid><devices>", name, uuid);

    for (; *ppus != '\0'; ppus++) {
        struct bdf bdf = address_of(*ppus - '0');
        used += (size_t)snprintf(text + used, TEXT_SIZE - used,
                                 "<hostdev mode='subsystem' type='pci' managed='yes'><source>"
                                 "<address domain='%u' bus='%u' slot='%u' function='%u'/></source></hostdev>",
                                 bdf.domain, bdf.bus, bdf.slot, bdf.function);
    }
    snprintf(text + used, TEXT_SIZE - used, "</devices></domain>");
    return text;
}

void scene_running(const char *name, const char *uuid, const char *ppus, int pid)
{
    char path[256];
    char text[TEXT_SIZE + 64];

    snprintf(path, sizeof path, "/proc/%d", pid);
    simulated_directory(path);
    snprintf(path, sizeof path, "/run/libvirt/qemu/%s.xml", name);
    snprintf(text, sizeof text, "<domstatus state='running' pid='%d'>%s</domstatus>", pid, scene_xml(name, uuid, ppus));
    simulated_text(path, text);
}

static size_t add_cards(struct ledger_card *cards, const char *ppus, bool owned, uint32_t original)
{
    size_t count = 0;

    for (; ppus && *ppus != '\0'; ppus++) {
        int ppu = *ppus - '0';
        cards[count++] = (struct ledger_card){.bdf = address_of(ppu),
                                              .ppu = ppu,
                                              .owned = owned,
                                              .whole = owned,
                                              .has_original = original != NO_ORIGINAL,
                                              .original = original};
    }
    return count;
}

static void record(const struct scene_entry *entry, bool manual)
{
    struct ledger_card cards[2 * CARDS];
    struct ledger_entry written = {
        .name = (char *)entry->name, .phase = entry->phase, .cards = cards, .since = 4711, .manual = manual};
    struct ledger ledger = scene_ledger(LEDGER_CHANGE);
    struct error err = {0};

    snprintf(written.uuid, sizeof written.uuid, "%s", entry->uuid);
    if (entry->living) {
        written.caller = process_caller();
    }
    written.card_count = add_cards(cards, entry->owned, true, entry->original);
    written.card_count += add_cards(cards + written.card_count, entry->touched, false, entry->original);
    if (ledger_write(&ledger, &written, &err) < 0) {
        fail_msg("%s", err.text);
    }
    ledger_close(&ledger);
}

void scene_record(const struct scene_entry *entry)
{
    record(entry, false);
}

void scene_record_group(const struct scene_entry *entry)
{
    record(entry, true);
}

struct machine *scene_machine(void)
{
    struct machine *machine = NULL;
    struct error err = {0};

    if (machine_open(NULL, &machine, &err) < 0 || machine_survey(machine, &err) < 0) {
        fail_msg("%s", err.text);
    }
    return machine;
}

struct ledger scene_ledger(enum ledger_access access)
{
    struct ledger ledger;
    struct error err = {0};

    if (ledger_open(&ledger, access, deadline_after_ms(1000), &err) < 0) {
        fail_msg("%s", err.text);
    }
    return ledger;
}

struct snapshot *scene_snapshot(struct machine *machine)
{
    struct ledger ledger = scene_ledger(LEDGER_LOOK);
    struct snapshot *snapshot = NULL;
    struct error err = {0};

    if (snapshot_take(machine, &ledger, &snapshot, &err) < 0) {
        fail_msg("%s", err.text);
    }
    ledger_close(&ledger);
    return snapshot;
}

struct demand scene_demand(struct machine *machine, const char *ppus)
{
    const char *text = scene_xml("x", VM_A, ppus);
    struct text_list warnings = {0};
    struct domain domain;
    struct demand demand = {0};
    struct error err = {0};

    if (domain_parse(text, strlen(text), "test", &domain, &err) < 0 ||
        demand_resolve(machine, &domain, &demand, &warnings, &err) < 0 || demand_number(machine, &demand, &err) < 0) {
        fail_msg("%s", err.text);
    }
    text_list_free(&warnings);
    domain_free(&domain);
    return demand;
}

void set_masks(const uint32_t masks[CARDS])
{
    for (int ppu = 0; ppu < CARDS; ppu++) {
        simulated_set_register(addresses[ppu], LINK_CONFIG_OFFSET, masks[ppu]);
    }
}

void assert_masks(const uint32_t expected[CARDS])
{
    for (int ppu = 0; ppu < CARDS; ppu++) {
        uint32_t found = simulated_register(addresses[ppu], LINK_CONFIG_OFFSET);
        if (found != expected[ppu]) {
            fail_msg("PPU %d: 0x%08x instead of 0x%08x", ppu, found, expected[ppu]);
        }
    }
}

bool host_has(const char *path)
{
    struct stat facts;
    return lstat(simulated_path("%s", path), &facts) == 0;
}

void assert_error(const struct error *err, enum status status, const char *format, const char *path)
{
    char expected[sizeof err->text];
    const char *hole = strstr(format, "%s");

    if (hole) {
        snprintf(expected, sizeof expected, "%.*s%s%s", (int)(hole - format), format, simulated_path("%s", path),
                 hole + 2);
    } else {
        snprintf(expected, sizeof expected, "%s", format);
    }
    assert_string_equal(err->text, expected);
    assert_int_equal(err->status, status);
}

void assert_lines(const struct text_list *list, const char *expected)
{
    char text[TEXT_SIZE] = "";
    size_t used = 0;

    for (size_t i = 0; i < list->count; i++) {
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%s", i > 0 ? "\n" : "", list->items[i]);
    }
    assert_string_equal(text, expected);
}
