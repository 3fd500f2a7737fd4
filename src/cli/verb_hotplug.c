/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation.  Each step that needs the lock is a session of its own (engine/hotplug.h), and libvirt is
 * asked between them.  After a refusal by libvirt nothing has changed, and all is taken back.  When no answer comes
 * nobody knows: the VM may have the card yet.  So the reservation stays then, unless the status file shows the card.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/memory.h"
#include "cli/commands.h"
#include "cli/json.h"
#include "cli/options.h"
#include "engine/hotplug.h"
#include "engine/trail.h"
#include "host/sysfs.h"
#include "hypervisor/libvirt.h"

enum { WAIT_DEFAULT_MS = 120000, UNDO_MS = 30000, LOOK_AGAIN_MS = 100 };

struct change {
    const struct options *options;
    bool attaches;
    const char *uri;
    int64_t deadline;
    struct hotplug plug;
    struct machine *machine; /* for what is printed: sessions have machines of their own */
    struct group_report report;
    struct notes notes;
    bool changed;        /* libvirt was asked to change the VM: a failure is logged */
    bool taken[PPU_MAX]; /* by id: bound to vfio-pci for this */
};

typedef int hotplug_step(struct session *session, struct change *change, struct error *err);

static int step_reserve(struct session *session, struct change *change, struct error *err)
{
    return hotplug_reserve(session, &change->plug, &change->report, err);
}

static int step_record(struct session *session, struct change *change, struct error *err)
{
    return hotplug_record(session, &change->plug, &change->report, err);
}

static int step_end(struct session *session, struct change *change, struct error *err)
{
    return hotplug_end(session, &change->plug, &change->report, err);
}

/* What the step is about in the log: the first card that is reserved, or the VM; other owners are named beside it. */
static void log_step(const struct change *change, struct session *session, hotplug_step *step, const struct error *err)
{
    bool reserves = step == step_reserve;
    struct trail trail = {.event = EVENT_CARDS_GIVEN,
                          .uuid = reserves ? change->plug.reserved_as[0] : change->plug.uuid,
                          .name = reserves ? change->plug.names[0] : change->plug.vm,
                          .is_group = reserves,
                          .err = err,
                          .what = change->plug.vm};
    if (err && reserves) {
        trail.uuid = trail.name = NULL;
    }
    if (!reserves && session->is_open && !state_claim(&session->state, change->plug.uuid)) {
        trail.event = EVENT_ENDED;
    }
    verb_log_session(change->attaches ? "attach" : "detach", session, trail);
}

static int take_step(struct change *change, hotplug_step *step, struct error *err)
{
    struct session session;
    int result = session_start(&session, change->options->config, SESSION_CHANGE, err);
    if (result == 0) {
        result = step(&session, change, err);
    }
    log_step(change, &session, step, result < 0 ? err : NULL);
    session_unlock(&session);
    for (size_t i = 0; i < session.notes.count; i++) {
        const struct note *note = &session.notes.items[i];
        notes_add(&change->notes, note->severity, note->code, note->ppu, note->vm, "%s", note->text);
    }
    session_close(&session);
    return result;
}

static int hotplug_parse(struct change *change, struct error *err)
{
    const struct options *options = change->options;
    CLEANUP_FREE char *list = memory_copy_text(options->more[0]);
    for (size_t i = 1; i < options->more_count; i++) {
        CLEANUP_FREE char *before = text_join(list, ",");
        free(list);
        list = text_join(before, options->more[i]);
    }
    int64_t wait_ms = WAIT_DEFAULT_MS;
    if (options->wait && verb_read_wait(options->wait, &wait_ms, err) < 0) {
        return -1;
    }
    if (strchr(list, '|')) {
        command_usage_error(err, "the cards are for one VM: '%s'", list);
        return -1;
    }
    change->deadline = deadline_after_ms(wait_ms);
    struct card_groups cards;
    char uuid[UUID_SIZE];
    if (machine_open(options->config, &change->machine, err) < 0 || machine_survey(change->machine, err) < 0 ||
        card_groups_parse(change->machine, list, &cards, err) < 0 ||
        libvirt_find_running(change->uri, options->argument, uuid, err) < 0) {
        return -1;
    }
    hotplug_init(&change->plug, options->argument, uuid, &cards);
    return 0;
}

static enum libvirt_outcome ask_libvirt(const struct change *change, int ppu, bool attach, int64_t deadline,
                                        struct error *err)
{
    char device[HOSTDEV_SIZE];
    char card[CARD_TEXT_SIZE];
    enum libvirt_outcome outcome = libvirt_change_device(
        change->uri, change->plug.uuid, verb_hostdev(change->machine->card[ppu], device), attach, deadline, err);
    if (outcome != LIBVIRT_DONE) {
        error_wrap(err, "%s is not %s VM '%s'", machine_card_text(change->machine, ppu, card),
                   attach ? "attached to" : "detached from", change->plug.vm);
    }
    return outcome;
}

/* Until the status file lists the card, or does not list it any more, or the VM is gone. */
static int hotplug_wait(const struct change *change, int ppu, bool want, int64_t deadline, struct error *err)
{
    const struct timespec moment = {.tv_nsec = LOOK_AGAIN_MS * 1000000L};
    char card[CARD_TEXT_SIZE];
    bool has;
    bool lives;
    while (hotplug_look(change->plug.uuid, change->machine->card[ppu], &has, &lives, err) == 0) {
        machine_card_text(change->machine, ppu, card);
        if (has == want) {
            return 0;
        }
        if (!lives) {
            return error_set(err, STATUS_HARDWARE, "VM '%s' has ended meanwhile", change->plug.vm);
        }
        if (deadline_left_ms(deadline) == 0) {
            return want ? error_set(err, STATUS_BUSY,
                                    "libvirt has attached %s to VM '%s', but its status file does not list it", card,
                                    change->plug.vm)
                        : error_set(err, STATUS_BUSY,
                                    "the guest of VM '%s' has not let %s go; it has the card still, isolated, and when "
                                    "it lets go the next hook or `icn-hook repair` restores the links",
                                    change->plug.vm, card);
        }
        nanosleep(&moment, NULL);
    }
    return -1;
}

/* A card that libvirt binds to vfio-pci as it attaches it is reset then, and what was read back of it before counts
 * no more.  So one that no driver has is bound as soon as it is reserved; if that fails, libvirt may attach it all the
 * same.  True: a card was bound. */
static bool attach_take(struct change *change)
{
    bool any = false;
    for (int ppu = hotplug_next(&change->plug, -1); ppu >= 0; ppu = hotplug_next(&change->plug, ppu)) {
        struct pci_state state;
        struct error err;
        char bdf[BDF_TEXT_SIZE];
        char card[CARD_TEXT_SIZE];
        sysfs_read_state(change->machine->card[ppu], &state);
        if (!state.present || state.driver[0] != '\0') {
            continue;
        }
        bdf_format(change->machine->card[ppu], bdf);
        change->taken[ppu] = libvirt_move_device(change->uri, bdf, true, change->deadline, &err) == 0;
        any |= change->taken[ppu];
        if (!change->taken[ppu]) {
            notes_add(&change->notes, NOTE_WARNING, NOTE_LIBVIRT, ppu, change->plug.vm,
                      "%s is bound to vfio-pci only when it is attached, so `check` ends with 7 until the VM's next "
                      "start: %s",
                      machine_card_text(change->machine, ppu, card), err.text);
        }
    }
    return any;
}

/* Those from FIRST on, which the VM does not get. */
static void attach_return(struct change *change, int first, struct error *err)
{
    for (int ppu = first; ppu < PPU_MAX; ppu++) {
        struct error trouble;
        char bdf[BDF_TEXT_SIZE];
        char card[CARD_TEXT_SIZE];
        if (change->taken[ppu] && libvirt_move_device(change->uri, bdf_format(change->machine->card[ppu], bdf), false,
                                                      deadline_after_ms(UNDO_MS), &trouble) < 0) {
            error_append(err, "; %s stays on vfio-pci: %s", machine_card_text(change->machine, ppu, card),
                         trouble.text);
        }
    }
}

/* What was attached before card FAILED is detached again, the last first, unless the VM has ended, which has none then;
 * and what the VM does not have is given back.  ERR says what failed, and gets what became of the rest. */
static void attach_undo(struct change *change, int failed, bool lives, struct error *err)
{
    struct error trouble;
    bool is_whole = true;
    for (int ppu = failed - 1; lives && ppu >= 0; ppu--) {
        int64_t deadline = deadline_after_ms(UNDO_MS);
        if (change->plug.cards.of[ppu] == IN_NO_GROUP) {
            continue;
        }
        if (ask_libvirt(change, ppu, false, deadline, &trouble) != LIBVIRT_DONE ||
            hotplug_wait(change, ppu, false, deadline, &trouble) < 0) {
            error_append(err, "; %s", trouble.text);
            is_whole = false;
        }
    }
    attach_return(change, failed, err);
    if (take_step(change, step_end, &trouble) < 0) {
        error_append(err, "; %s", trouble.text);
        is_whole = false;
    }
    if (is_whole) {
        error_append(err, "; no card was attached");
    }
}

/* Nobody knows whether the VM gets the card.  It stays reserved; those that libvirt was not asked for are given back.
 */
static void attach_leave(struct change *change, int ppu, struct error *err)
{
    struct error trouble;
    change->plug.is_uncertain[ppu] = true;
    error_append(err,
                 "; it is not known whether it will be, so the card stays isolated as '%s' until libvirt's status file "
                 "lists it; call attach or detach again when libvirt answers",
                 change->plug.names[change->plug.cards.of[ppu]]);
    attach_return(change, ppu + 1, err);
    if (take_step(change, step_end, &trouble) < 0) {
        error_append(err, "; %s", trouble.text);
    }
}

static int attach_card(struct change *change, int ppu, struct error *err)
{
    struct error unused;
    struct bdf bdf = change->machine->card[ppu];
    bool has = false;
    bool lives = true;
    enum libvirt_outcome outcome = ask_libvirt(change, ppu, true, change->deadline, err);
    bool is_there =
        outcome == LIBVIRT_UNKNOWN && hotplug_look(change->plug.uuid, bdf, &has, &lives, &unused) == 0 && has;
    if (is_there ||
        (outcome == LIBVIRT_DONE && hotplug_wait(change, ppu, true, deadline_after_ms(UNDO_MS), err) == 0)) {
        return 0;
    }
    if (hotplug_look(change->plug.uuid, bdf, &has, &lives, &unused) < 0) {
        lives = true;
    }
    if (outcome == LIBVIRT_REFUSED || !lives) {
        attach_undo(change, ppu, lives, err);
    } else {
        attach_leave(change, ppu, err);
    }
    return -1;
}

static int attach_cards(struct change *change, struct error *err)
{
    if (take_step(change, step_reserve, err) < 0) {
        return error_wrap(err, "VM '%s' gets no card", change->plug.vm);
    }
    /* Once more: what was cut is read back after the binding. */
    if (attach_take(change) && take_step(change, step_reserve, err) < 0) {
        error_wrap(err, "VM '%s' gets no card", change->plug.vm);
        attach_undo(change, 0, true, err);
        return -1;
    }
    change->changed = true;
    for (int ppu = hotplug_next(&change->plug, -1); ppu >= 0; ppu = hotplug_next(&change->plug, ppu)) {
        if (attach_card(change, ppu, err) < 0) {
            return -1;
        }
    }
    return take_step(change, step_record, err);
}

static int detach_cards(struct change *change, struct error *err)
{
    CLEANUP_FREE bool *is_reserved = memory_alloc(PPU_MAX, sizeof *is_reserved);
    struct session session;
    struct error trouble;
    int result = session_start(&session, change->options->config, SESSION_LOOK, err);
    session_unlock(&session);
    if (result == 0) {
        result = hotplug_check_has(&session, &change->plug, is_reserved, err);
    }
    session_close(&session);
    if (result < 0) {
        return -1;
    }
    for (int ppu = hotplug_next(&change->plug, -1); ppu >= 0; ppu = hotplug_next(&change->plug, ppu)) {
        if (result < 0) {
            change->plug.is_uncertain[ppu] = true; /* libvirt was not asked for it */
            continue;
        }
        enum libvirt_outcome outcome = ask_libvirt(change, ppu, false, change->deadline, err);
        change->changed = true;
        /* Of a card that is only reserved libvirt may know nothing, and then it does not have it. */
        bool is_asked = outcome == LIBVIRT_DONE || (outcome == LIBVIRT_REFUSED && is_reserved[ppu]);
        result = is_asked ? hotplug_wait(change, ppu, false, change->deadline, err) : -1;
        change->plug.is_uncertain[ppu] = result < 0;
    }
    if (take_step(change, step_end, &trouble) < 0) {
        if (result < 0) {
            return error_append(err, "; %s", trouble.text);
        }
        *err = trouble;
        return -1;
    }
    return result;
}

/* "0-3": cards of the VM that are joined to the new ones, which may be new themselves; "" if there are none. */
static void list_neighbours(const struct change *change, char text[IDS_TEXT_SIZE])
{
    const struct topology *topology = &change->machine->topology;
    bool joined[PPU_MAX] = {false};
    bool any = false;
    for (int ppu = hotplug_next(&change->plug, -1); ppu >= 0; ppu = hotplug_next(&change->plug, ppu)) {
        for (int link = 0; link < LINK_MAX; link++) {
            int peer = topology->peer[ppu][link];
            struct error unused;
            bool has = false;
            bool lives = false;
            if (peer >= 0 && change->machine->mapped[peer] &&
                hotplug_look(change->plug.uuid, change->machine->card[peer], &has, &lives, &unused) == 0 && has) {
                joined[peer] = any = true;
            }
        }
    }
    text[0] = '\0';
    if (any) {
        machine_ids_text(change->machine, joined, text);
    }
}

static void hotplug_print(const struct change *change)
{
    char ids[IDS_TEXT_SIZE];
    for (int ppu = hotplug_next(&change->plug, -1); ppu >= 0; ppu = hotplug_next(&change->plug, ppu)) {
        char card[CARD_TEXT_SIZE];
        printf("%s is %s VM '%s'\n", machine_card_text(change->machine, ppu, card),
               change->attaches ? "attached to" : "detached from", change->plug.vm);
    }
    list_neighbours(change, ids);
    if (change->attaches && ids[0]) {
        printf("the links between these and the VM's PPU %s stay cut until its next start: its guest has the "
               "registers\n",
               ids);
    }
    for (size_t i = 0; i < change->notes.count; i++) {
        printf("warning: %s\n", change->notes.items[i].text);
    }
}

static void hotplug_print_json(const struct change *change)
{
    struct json_object *object = json_object_new_object();
    json_put_text(object, "schema", change->attaches ? "icn-hook/attach/1" : "icn-hook/detach/1");
    struct json_object *vm = json_object_new_object();
    json_put_text(vm, "name", change->plug.vm);
    json_put_text(vm, "uuid", change->plug.uuid);
    json_object_object_add(object, "vm", vm);
    struct json_object *ppus = json_put_array(object, "ppus");
    for (int ppu = hotplug_next(&change->plug, -1); ppu >= 0; ppu = hotplug_next(&change->plug, ppu)) {
        struct json_object *entry = json_object_new_object();
        char bdf[BDF_TEXT_SIZE];
        json_put_number(entry, "ppu", ppu);
        json_put_text(entry, "bdf", bdf_format(change->machine->card[ppu], bdf));
        json_object_array_add(ppus, entry);
    }
    json_put_writes(object, change->machine, change->report.writes, change->report.write_count);
    json_put_warnings(object, &change->notes, NULL);
    json_print(object);
}

static int verb_hotplug(const struct options *options, bool attaches, struct error *err)
{
    struct change change = {.options = options, .attaches = attaches};
    change.uri = options->connect ? options->connect : LIBVIRT_USUAL_URI;
    int result = hotplug_parse(&change, err);
    if (result == 0) {
        result = (attaches ? attach_cards : detach_cards)(&change, err);
    }
    if (result < 0 && change.changed) {
        /* What its sessions changed they have logged. */
        verb_log_result(attaches ? "attach" : "detach", EVENT_FAILED, NULL, err, "%s", change.plug.vm);
    }
    if (result == 0) {
        (options->json ? hotplug_print_json : hotplug_print)(&change);
    }
    group_report_free(&change.report);
    notes_free(&change.notes);
    hotplug_free(&change.plug);
    machine_close(change.machine);
    return result;
}

int verb_attach(const struct options *options, struct error *err)
{
    return verb_hotplug(options, true, err);
}

int verb_detach(const struct options *options, struct error *err)
{
    return verb_hotplug(options, false, err);
}
