/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdarg.h>
#include <string.h>

#include "base/memory.h"
#include "base/paths.h"
#include "base/text.h"
#include "doctor/checks.h"
#include "host/process.h"
#include "hypervisor/libvirt.h"

static void note_difference(struct session *session, const char *vm, const char *format, ...) PRINTF_LIKE(3, 4);
static void note_difference(struct session *session, const char *vm, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    CLEANUP_FREE char *text = text_format(format, arguments);
    va_end(arguments);
    notes_add(&session->notes, NOTE_WARNING, NOTE_LIBVIRT, -1, vm, "%s", text);
}

/* Returns how many PPUs the domain takes: one of them unknown here is one difference. */
static int compare_cards(struct session *session, const struct libvirt_domain *reported, const struct vm_cards *cards)
{
    const struct owner *owner = owners_find(&session->owners, reported->uuid);
    int count = 0;
    for (size_t i = 0; i < cards->count; i++) {
        char card[CARD_TEXT_SIZE];
        int ppu = cards->items[i].ppu;
        if (ppu < 0) {
            continue;
        }
        count++;
        /* Without an owner it may have started since the session looked: there is a claim now. */
        bool is_known = owner ? owners_has(&session->owners, owner, ppu)
                              : !state_claim(&session->state, reported->uuid) && state_knows(reported->uuid);
        if (!is_known) {
            note_difference(session, reported->name,
                            "libvirt runs VM '%s' with %s, and neither its claim nor its status file names that card",
                            reported->name, machine_card_text(session->machine, ppu, card));
        }
    }
    return count;
}

/* Returns 1 if it takes PPUs, 0 if not. */
static int compare_domain(struct session *session, const struct libvirt_domain *reported)
{
    struct domain domain;
    struct vm_cards cards;
    struct notes unused = {0};
    struct error err;
    int count = 0;
    if (domain_parse(reported->xml, strlen(reported->xml), reported->name, &domain, &err) < 0) {
        note_difference(session, reported->name, "libvirt runs VM '%s', whose XML cannot be read: %s", reported->name,
                        err.text);
        return 0;
    }
    if (vm_cards_resolve(session->machine, &domain, &cards, &unused, &err) < 0) {
        note_difference(session, reported->name, "libvirt runs VM '%s': %s", reported->name, err.text);
    } else {
        if (vm_cards_number(session->machine, domain.name, &cards, &err) < 0) {
            note_difference(session, reported->name, "libvirt runs VM '%s': %s", reported->name, err.text);
        }
        count = compare_cards(session, reported, &cards);
        vm_cards_free(&cards);
    }
    domain_free(&domain);
    notes_free(&unused);
    return count > 0;
}

/* One that is being started or stopped libvirt may report or not, and one may have ended since the session looked. */
static bool should_run(const struct session *session, const struct owner *owner)
{
    const struct claim *claim = state_claim(&session->state, owner->uuid);
    if (owner->kind != OWNER_KIND_VM) {
        return false;
    }
    return owner->runs ? process_pid_exists(owner->pid)
                       : claim && claim->phase == CLAIM_RUNNING && state_knows(owner->uuid);
}

int cross_check(const char *uri, struct session *session, int *count, struct error *err)
{
    struct libvirt_domains domains;
    if (libvirt_running(uri, &domains, err) < 0) {
        return -1;
    }
    *count = 0;
    for (size_t i = 0; i < domains.count; i++) {
        *count += compare_domain(session, &domains.items[i]);
    }
    for (size_t i = 0; i < session->owners.count; i++) {
        const struct owner *owner = &session->owners.items[i];
        bool is_reported = false;
        for (size_t j = 0; j < domains.count; j++) {
            is_reported |= strcmp(domains.items[j].uuid, owner->uuid) == 0;
        }
        if (!is_reported && should_run(session, owner)) {
            note_difference(session, owner->name,
                            "VM '%s' runs with cards by its claim or its status file, but libvirt does not report it",
                            owner->name);
        }
    }
    libvirt_domains_free(&domains);
    return 0;
}

/* A simulated host has no libvirt of its own: it must be named. */
void check_libvirt(struct examination *examination)
{
    struct report *report = &examination->report;
    const struct notes *notes = &examination->session.notes;
    struct error err;
    int count = 0;
    const char *uri = examination->connect ? examination->connect : paths_simulated() ? NULL : LIBVIRT_USUAL_URI;
    if (!uri || !examination->is_looked_at) {
        return;
    }
    if (cross_check(uri, &examination->session, &count, &err) < 0) {
        report_add(report, CHECK_LIBVIRT_REACHABLE, RESULT_WARN, "nothing was compared with libvirt", "%s", err.text);
        return;
    }
    report_pass(report, CHECK_LIBVIRT_REACHABLE, "%s answers; VMs with cards that run: %d", uri, count);
    for (size_t i = 0; i < notes->count; i++) {
        if (notes->items[i].code == NOTE_LIBVIRT) {
            report_add(report, CHECK_LIBVIRT_AGREES, RESULT_WARN,
                       "icn-hook status shows what is known; icn-hook repair, or restart that VM", "%s",
                       notes->items[i].text);
        }
    }
    if (!notes_have(notes, NOTE_LIBVIRT)) {
        report_pass(report, CHECK_LIBVIRT_AGREES, "libvirt and icn-hook agree");
    }
}
