/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "scene.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/memory.h"
#include "core/ownership.h"

enum { TEXT_SIZE = 8192, RING = 4, NO_PROCESS = 4194304 /* above the largest pid */ };

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
    char map[CARDS * 32] = "[map]\n";
    simulated_host_clear(state);
    for (int ppu = 0; ppu < CARDS; ppu++) {
        size_t used = strlen(map);
        simulated_card(addresses[ppu]);
        snprintf(map + used, sizeof map - used, "%d = %s\n", ppu, addresses[ppu]);
    }
    simulated_text(CARDS_CONF, map);
    assert_int_equal(file_read(TESTS_DIR "/fixtures/topology/vendor.cfg", 1 << 20, &text, NULL, &err), 0);
    simulated_file(TOPOLOGY, text.data, text.length);
    buffer_free(&text);
    simulated_text(BOOT_ID, "6a0f2e5c-7b0d-4d0e-9c35-2f6c6d8b1a77\n");
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

void scene_hold(int ppu)
{
    scene_bind(addresses[ppu], "vfio-pci", 1);
}

void scene_let_go(int ppu)
{
    scene_bind(addresses[ppu], "vfio-pci", 0);
}

void scene_unplug(const char *ppus)
{
    for (; *ppus != '\0'; ppus++) {
        char path[64];
        snprintf(path, sizeof path, "/sys/bus/pci/devices/%s", addresses[*ppus - '0']);
        simulated_remove(path);
    }
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

static void write_status_file(const char *name, const char *uuid, const char *ppus, int pid)
{
    char path[256];
    char text[TEXT_SIZE + 64];
    snprintf(path, sizeof path, "/run/libvirt/qemu/%s.xml", name);
    snprintf(text, sizeof text, "<domstatus state='running' pid='%d'>%s</domstatus>", pid, scene_xml(name, uuid, ppus));
    simulated_text(path, text);
}

void scene_running(const char *name, const char *uuid, const char *ppus, int pid)
{
    char path[256];
    snprintf(path, sizeof path, "/proc/%d", pid);
    simulated_directory(path);
    write_status_file(name, uuid, ppus, pid);
}

void scene_left_over(const char *name, const char *uuid, const char *ppus)
{
    write_status_file(name, uuid, ppus, NO_PROCESS);
}

static struct state open_state(void)
{
    struct state state;
    struct error err = {0};
    assert_done(state_open(&state, STATE_CHANGE, deadline_after_ms(1000), &err), &err);
    return state;
}

struct process_identity scene_daemon(void)
{
    return (struct process_identity){.pid = getpid(), .start = real_process_start(getpid())};
}

void scene_claim(const struct scene_claim *wanted)
{
    struct state state = open_state();
    struct error err = {0};
    struct claim *claim = state_claim_add(&state, wanted->uuid, wanted->name);
    claim->is_group = wanted->is_group;
    claim->phase = wanted->phase;
    claim->since = 4711;
    claim->boottime_ms = state_boottime_ms() - wanted->age_ms;
    claim->has_daemon = wanted->daemon != NO_DAEMON;
    if (wanted->daemon == DAEMON_HERE) {
        claim->daemon = scene_daemon();
    } else if (wanted->daemon == DAEMON_DEAD) {
        claim->daemon = (struct process_identity){.pid = NO_PROCESS, .start = 1};
    }
    claim->process.pid = wanted->pid;
    for (const char *at = wanted->ppus; *at != '\0'; at++) {
        claim_add_card(claim, address_of(*at - '0'), true);
    }
    assert_done(state_write_claim(&state, claim, &err), &err);
    state_close(&state);
}

void scene_memory(int ppu, uint64_t original, uint64_t written)
{
    struct state state = open_state();
    struct error err = {0};
    struct card_memory *memory = state_remember(&state, address_of(ppu));
    memory->has_original = original != NOTHING;
    memory->original = memory->has_original ? (uint32_t)original : 0;
    memory->has_written = written != NOTHING;
    memory->written = memory->has_written ? (uint32_t)written : 0;
    assert_done(state_write_cards(&state, &err), &err);
    state_close(&state);
}

void scene_evidence(int ppu, uint32_t mask, int64_t at, const char *const uuids[])
{
    struct state state = open_state();
    struct error err = {0};
    struct card_memory *memory = state_remember(&state, address_of(ppu));
    evidence_clear(&memory->evidence);
    memory->evidence.mask = mask;
    memory->evidence.at = at;
    memory->evidence.owners = memory_alloc(CARDS, sizeof *memory->evidence.owners);
    for (size_t i = 0; uuids[i]; i++) {
        memcpy(memory->evidence.owners[memory->evidence.owner_count++], uuids[i], UUID_SIZE);
    }
    assert_done(state_write_cards(&state, &err), &err);
    state_close(&state);
}

struct machine *scene_machine(void)
{
    struct machine *machine = NULL;
    struct error err = {0};
    assert_done(machine_open(NULL, &machine, &err), &err);
    assert_done(machine_survey(machine, &err), &err);
    return machine;
}

void scene_session(struct session *session, enum session_access access)
{
    struct error err = {0};
    assert_done(session_start(session, NULL, access, &err), &err);
}

struct vm_cards scene_cards(struct machine *machine, const char *ppus)
{
    const char *text = scene_xml("x", VM_A, ppus);
    struct domain domain;
    struct vm_cards cards = {0};
    struct notes notes = {0};
    struct error err = {0};
    assert_done(domain_parse(text, strlen(text), "test", &domain, &err), &err);
    assert_done(vm_cards_resolve(machine, &domain, &cards, &notes, &err), &err);
    assert_done(vm_cards_number(machine, "x", &cards, &err), &err);
    notes_free(&notes);
    domain_free(&domain);
    return cards;
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

void assert_done(int result, const struct error *err)
{
    if (result < 0) {
        fail_msg("%d %s", err->status, err->text);
    }
}

void assert_owners(const struct session *session, const char *expected)
{
    char text[CARDS + 1] = "";
    for (int ppu = 0; ppu < CARDS; ppu++) {
        int owner = session->owners.of[ppu];
        text[ppu] = owner == OWNER_IDLE      ? '.'
                    : owner == OWNER_SHARED  ? 'S'
                    : owner == OWNER_UNKNOWN ? '?'
                                             : (char)('0' + owner);
    }
    assert_string_equal(text, expected);
}

void assert_plan(const struct session *session, const char *expected)
{
    char text[1024] = "";
    size_t used = 0;
    for (size_t i = 0; i < session->plan->count; i++) {
        const struct plan_write *write = &session->plan->writes[i];
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%d:%x>%x", i > 0 ? " " : "", write->ppu,
                                 write->from, write->to);
    }
    assert_string_equal(text, expected);
}

static const char *mask_or_nothing(bool is_known, uint32_t mask, char text[16])
{
    snprintf(text, 16, is_known ? "%x" : "-", mask);
    return text;
}

void assert_memory(const struct session *session, int ppu, const char *expected)
{
    const struct card_memory *memory = state_card(&session->state, address_of(ppu));
    const struct card_memory nothing = {0};
    char text[64];
    char masks[3][16];
    memory = memory ? memory : &nothing;
    snprintf(text, sizeof text, "%s/%s/%s", mask_or_nothing(memory->has_original, memory->original, masks[0]),
             mask_or_nothing(memory->has_written, memory->written, masks[1]),
             mask_or_nothing(memory->evidence.at != 0, memory->evidence.mask, masks[2]));
    assert_string_equal(text, expected);
}

static void format_notes(const struct notes *notes, char text[TEXT_SIZE])
{
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < notes->count; i++) {
        const struct note *note = &notes->items[i];
        used += (size_t)snprintf(text + used, TEXT_SIZE - used, "%s%s %s: %s", i > 0 ? "\n" : "",
                                 severity_text(note->severity), note_code_text(note->code), note->text);
    }
}

void assert_notes(const struct notes *notes, const char *expected)
{
    char text[TEXT_SIZE];
    format_notes(notes, text);
    assert_string_equal(text, expected);
}

void assert_noted(const struct notes *notes, const char *expected)
{
    for (size_t i = 0; i < notes->count; i++) {
        char text[TEXT_SIZE];
        format_notes(&(const struct notes){.items = &notes->items[i], .count = 1}, text);
        if (strcmp(text, expected) == 0) {
            return;
        }
    }
    char text[TEXT_SIZE];
    format_notes(notes, text);
    fail_msg("not noted: %s\namong:\n%s", expected, text);
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
