/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/hotplug.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "engine/groups_private.h"
#include "engine/record.h"

/* "attach-VM-ID", or with the uuid in place of a name that cannot be one of a group. */
static char *make_name(const char *vm, const char *uuid, int ppu)
{
    struct error unused;
    char number[16];
    snprintf(number, sizeof number, "-%d", ppu);
    CLEANUP_FREE char *of_vm = text_join("attach-", vm);
    CLEANUP_FREE char *of_uuid = text_join("attach-", uuid);
    char *name = text_join(of_vm, number);
    if (group_name_check(name, &unused) < 0) {
        free(name);
        name = text_join(of_uuid, number);
    }
    return name;
}

void hotplug_init(struct hotplug *plug, const char *vm, const char *uuid, const struct card_groups *cards)
{
    *plug = (struct hotplug){.vm = vm, .cards = *cards};
    snprintf(plug->uuid, sizeof plug->uuid, "%s", uuid);
    plug->names = memory_alloc(PPU_MAX, sizeof *plug->names);
    plug->reserved_as = memory_alloc(PPU_MAX, sizeof *plug->reserved_as);
    plug->cards.count = 0;
    for (int ppu = hotplug_next(plug, -1); ppu >= 0; ppu = hotplug_next(plug, ppu)) {
        plug->cards.of[ppu] = plug->cards.count;
        plug->names[plug->cards.count++] = make_name(vm, uuid, ppu);
    }
}

void hotplug_free(struct hotplug *plug)
{
    for (int i = 0; i < plug->cards.count; i++) {
        free(plug->names[i]);
    }
    free(plug->names);
    free(plug->reserved_as);
    *plug = (struct hotplug){0};
}

int hotplug_next(const struct hotplug *plug, int ppu)
{
    do {
        ppu++;
    } while (ppu < PPU_MAX && plug->cards.of[ppu] == IN_NO_GROUP);
    return ppu < PPU_MAX ? ppu : -1;
}

/* NULL: there is none. */
static const struct owner *find_reservation(const struct session *session, const struct hotplug *plug, int ppu)
{
    const struct owner *owner = owners_named(&session->owners, plug->names[plug->cards.of[ppu]]);
    return owner && owner->kind == OWNER_KIND_GROUP && owners_has(&session->owners, owner, ppu) ? owner : NULL;
}

int hotplug_reserve(struct session *session, struct hotplug *plug, struct group_report *report, struct error *err)
{
    const struct running_vm *vm = running_vms_find(&session->running, plug->uuid);
    const struct owner *owner = owners_find(&session->owners, plug->uuid);
    bool near[PPU_MAX] = {false};
    if (!vm || !vm->lives || text_list_has(&session->owners.unresolved, plug->uuid)) {
        return error_set(err, STATUS_INVALID,
                         "libvirt's status file of VM '%s' is missing or cannot be used, so nobody could follow which "
                         "cards it has",
                         plug->vm);
    }
    for (int ppu = hotplug_next(plug, -1); ppu >= 0; ppu = hotplug_next(plug, ppu)) {
        char card[CARD_TEXT_SIZE];
        near[ppu] = true;
        if (owner && owners_has(&session->owners, owner, ppu)) {
            return error_set(err, STATUS_INVALID, "VM '%s' has %s already", plug->vm,
                             machine_card_text(session->machine, ppu, card));
        }
    }
    if (policy_admit_confirmed(session, near, err) < 0) {
        return -1;
    }
    session->reserves = true;
    if (!process_identify(getpid(), &session->bound_to)) {
        return error_set(err, STATUS_HARDWARE, "the start of this process cannot be read; is /proc mounted?");
    }
    if (groups_apply(session, &plug->cards, (const char *const *)plug->names, (size_t)plug->cards.count, report, err) <
        0) {
        return -1;
    }
    for (int i = 0; i < plug->cards.count; i++) {
        memcpy(plug->reserved_as[i], report->groups.items[i].uuid, UUID_SIZE);
    }
    return 0;
}

int hotplug_check_has(const struct session *session, const struct hotplug *plug, bool is_reserved[], struct error *err)
{
    const struct owner *vm = owners_find(&session->owners, plug->uuid);
    for (int ppu = hotplug_next(plug, -1); ppu >= 0; ppu = hotplug_next(plug, ppu)) {
        const struct owner *reservation = find_reservation(session, plug, ppu);
        char card[CARD_TEXT_SIZE];
        char owner[OWNER_TEXT_SIZE];
        is_reserved[ppu] = false;
        if (vm && owners_has(&session->owners, vm, ppu)) {
            continue;
        }
        is_reserved[ppu] = reservation && reservation->pid == 0;
        if (!is_reserved[ppu]) {
            return error_set(err, STATUS_INVALID, "VM '%s' does not have %s (%s)", plug->vm,
                             machine_card_text(session->machine, ppu, card), owners_text(&session->owners, ppu, owner));
        }
    }
    return 0;
}

int hotplug_record(struct session *session, const struct hotplug *plug, struct group_report *report, struct error *err)
{
    CLEANUP_FREE struct turn *turn = memory_alloc(1, sizeof *turn);
    const struct owner *vm = owners_find(&session->owners, plug->uuid);
    for (int ppu = hotplug_next(plug, -1); ppu >= 0; ppu = hotplug_next(plug, ppu)) {
        char card[CARD_TEXT_SIZE];
        if (!vm || !vm->runs || !owners_has(&session->owners, vm, ppu)) {
            return error_set(err, STATUS_HARDWARE, "libvirt's status file of VM '%s' does not list %s", plug->vm,
                             machine_card_text(session->machine, ppu, card));
        }
    }
    /* The reservation is superseded by the status file: catching up removes it. */
    if (record_claim(session, vm, CLAIM_SEEN, false, err) < 0 || record_catch_up(session, turn, err) < 0) {
        return -1;
    }
    vm = owners_find(&session->owners, plug->uuid);
    for (int i = 0; i < plug->cards.count; i++) {
        record_hand_over(session, plug->reserved_as[i], vm);
    }
    turn->intent = INTENT_ADOPT;
    turn->late = true;
    for (int ppu = 0; ppu < session->machine->topology.ppu_count; ppu++) {
        turn->near[ppu] = owners_has(&session->owners, vm, ppu);
    }
    policy_decide(session, turn);
    if (record_intent(session, turn, err) < 0 || session_write(session, turn->given_back, true, true, err) < 0 ||
        record_result(session, turn, false, err) < 0) {
        return -1;
    }
    session_list_writes(session, &report->writes, &report->write_count);
    return 0;
}

int hotplug_end(struct session *session, const struct hotplug *plug, struct group_report *report, struct error *err)
{
    CLEANUP_FREE struct turn *turn = memory_alloc(1, sizeof *turn);
    if (record_catch_up(session, turn, err) < 0) {
        return -1;
    }
    for (int ppu = hotplug_next(plug, -1); ppu >= 0; ppu = hotplug_next(plug, ppu)) {
        const struct owner *reservation = plug->is_uncertain[ppu] ? NULL : find_reservation(session, plug, ppu);
        if (reservation && record_end(session, reservation, turn, err) < 0) {
            return -1;
        }
        turn->given_back[ppu] |= session->owners.of[ppu] == OWNER_IDLE;
    }
    return groups_give_back(session, turn, report, err);
}

int hotplug_look(const char *uuid, struct bdf bdf, bool *has, bool *lives, struct error *err)
{
    struct running_vms running = {0};
    if (running_vms_load(&running, NULL, err) < 0) {
        return -1;
    }
    const struct running_vm *vm = running_vms_find(&running, uuid);
    *lives = vm && vm->lives;
    *has = false;
    for (size_t i = 0; *lives && i < vm->domain.device_count; i++) {
        *has |= vm->domain.devices[i].kind == DEVICE_HOSTDEV && bdf_compare(vm->domain.devices[i].bdf, bdf) == 0;
    }
    running_vms_free(&running);
    return 0;
}
