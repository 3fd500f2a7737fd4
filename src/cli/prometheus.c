/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/view.h"

#include "cli/json.h"
#include "doctor/examination.h"
#include "engine/confirm.h"
#include "engine/policy.h"
#include "host/journal_events.h"

/* TYPE: "gauge" or "counter". */
static void metrics_put_type(FILE *stream, const char *name, const char *type, const char *help)
{
    fprintf(stream, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void metrics_put_head(FILE *stream, const char *name, const char *help)
{
    metrics_put_type(stream, name, "gauge", help);
}

static void metrics_put_number(FILE *stream, const char *name, const char *help, int value)
{
    metrics_put_head(stream, name, help);
    fprintf(stream, "%s %d\n", name, value);
}

static void metrics_put_card(const struct session *session, FILE *stream, const char *name, int ppu)
{
    char bdf[BDF_TEXT_SIZE] = "";
    if (session->machine->mapped[ppu]) {
        bdf_format(session->machine->card[ppu], bdf);
    }
    fprintf(stream, "%s{ppu=\"%d\",bdf=\"%s\"", name, ppu, bdf);
}

static void metrics_put_cards(const struct session *session, FILE *stream)
{
    static const char present[] = "icn_hook_card_present";
    static const char readable[] = "icn_hook_card_readable";
    int count = session->machine->topology.ppu_count;
    metrics_put_head(stream, present, "The card is on the PCI bus.");
    for (int ppu = 0; ppu < count; ppu++) {
        metrics_put_card(session, stream, present, ppu);
        bool is_present = session->machine->mapped[ppu] && session->cards[ppu].state.present;
        fprintf(stream, "} %d\n", is_present);
    }
    metrics_put_head(stream, readable, "The link register of the card can be read; not so while a VM runs with it.");
    for (int ppu = 0; ppu < count; ppu++) {
        metrics_put_card(session, stream, readable, ppu);
        fprintf(stream, "} %d\n", session_is_read(session, ppu));
    }
}

static void metrics_put_owners(const struct session *session, FILE *stream)
{
    static const char name[] = "icn_hook_card_owner_info";
    const struct owners *owners = &session->owners;
    metrics_put_head(stream, name, "The VM or group that has the card. No line: nobody, or nobody that is known.");
    for (int ppu = 0; ppu < session->machine->topology.ppu_count; ppu++) {
        for (size_t i = 0; i < owners->holding_count; i++) {
            const struct owner *owner = &owners->items[owners->holdings[i].owner];
            if (owners->holdings[i].ppu == ppu && owner->kind != OWNER_KIND_STRANGER) {
                metrics_put_card(session, stream, name, ppu);
                fputs(",vm=\"", stream);
                view_put_quoted(stream, owner->name, '\n', "\\n");
                fprintf(stream, "\",uuid=\"%s\"} 1\n", owner->uuid);
            }
        }
    }
}

static int count_vms_without_gate(const struct session *session)
{
    int count = 0;
    for (size_t i = 0; i < session->owners.count; i++) {
        const struct owner *owner = &session->owners.items[i];
        bool lacks_gate = false;
        for (int ppu = 0; ppu < session->machine->topology.ppu_count; ppu++) {
            lacks_gate |= owners_has(&session->owners, owner, ppu) && links_no_gate(session, ppu);
        }
        count += lacks_gate;
    }
    return count;
}

/* What cannot be seen has no line. */
static void metrics_put_answer(FILE *stream, const char *name, const char *help, enum answer answer)
{
    metrics_put_head(stream, name, help);
    if (answer != ANSWER_NOT_TOLD) {
        fprintf(stream, "%s %d\n", name, answer == ANSWER_YES);
    }
}

static void metrics_put_hook(const struct session *session, FILE *stream)
{
    struct hook_answers answers = doctor_ask_about_hook(session);
    metrics_put_answer(stream, "icn_hook_hook_installed",
                       "libvirt finds the hook, and can execute it. No line: only root can tell.",
                       answers.is_installed);
    metrics_put_answer(stream, "icn_hook_hook_known",
                       "The daemon of libvirt knows the hook: 0 if the hook has changed since it started. No line: "
                       "nothing shows it.",
                       answers.is_known);
}

static void metrics_put_confirmed(const struct session *session, FILE *stream)
{
    struct confirmed confirmed;
    char why[512];
    enum confirmation state = confirmation_look(session->machine, &confirmed, why);
    confirmed_free(&confirmed);
    metrics_put_number(stream, "icn_hook_confirmed",
                       "icn-hook confirm tried the registers, map and topology that are in force, and they are right.",
                       state == CONFIRMATION_FINE);
}

/* An idle card may be joined with every other one, so one of the two has an owner. */
static void metrics_put_leaks_by_kind(const struct session *session, FILE *stream, int external)
{
    static const char name[] = "icn_hook_leaks_by_kind";
    int count = session->machine->topology.ppu_count;
    int with_idle = 0;
    int between_vms = 0;
    for (int a = 0; a < count; a++) {
        for (int b = a + 1; b < count; b++) {
            struct pair pair = pair_look(session, a, b);
            if (pair.wired > 0 && pair.verdict == VERDICT_LEAK) {
                bool has_idle = session->owners.of[a] == OWNER_IDLE || session->owners.of[b] == OWNER_IDLE;
                with_idle += has_idle;
                between_vms += !has_idle;
            }
        }
    }
    metrics_put_head(stream, name,
                     "The leaks by what they join: pairs of cards of two VMs, a VM's with an idle one, and external "
                     "links of a VM.");
    fprintf(stream, "%s{kind=\"vm-vm\"} %d\n", name, between_vms);
    fprintf(stream, "%s{kind=\"vm-idle\"} %d\n", name, with_idle);
    fprintf(stream, "%s{kind=\"vm-external\"} %d\n", name, external);
}

static void metrics_put_operation(FILE *stream, const char *name, const struct journal_event *event, int64_t usec)
{
    fprintf(stream, "%s{operation=\"", name);
    view_put_quoted(stream, event->operation, '\n', "\\n");
    fprintf(stream, "\"} %lld.%06lld\n", (long long)(usec / 1000000), (long long)(usec % 1000000));
}

/* What the journal has of this boot.  No journal, or one that cannot be read: no lines. */
static void metrics_put_operations(FILE *stream)
{
    static const char refusals[] = "icn_hook_refusals_total";
    static const char at[] = "icn_hook_last_operation_timestamp_seconds";
    static const char duration[] = "icn_hook_last_operation_duration_seconds";
    struct journal_events refused;
    struct journal_events last;
    struct error err;
    metrics_put_type(stream, refusals, "counter",
                     "VMs that were not started since the host was booted, by the reason. No line: no journal.");
    if (journal_events_read_boot(EVENT_REFUSED, false, &refused, &err) == 0) {
        int counts[STATUS_UNVERIFIED + 1] = {0};
        for (size_t i = 0; i < refused.count; i++) {
            counts[refused.items[i].status < 0 ? STATUS_OK : refused.items[i].status]++;
        }
        for (enum status status = STATUS_INVALID; status <= STATUS_BUSY; status++) {
            fprintf(stream, "%s{reason=\"%s\"} %d\n", refusals, json_status_text(status), counts[status]);
        }
        fprintf(stream, "%s{reason=\"other\"} %d\n", refusals,
                counts[STATUS_OK] + counts[STATUS_CHECK_FAILED] + counts[STATUS_USAGE] + counts[STATUS_UNVERIFIED]);
        journal_events_free(&refused);
    }
    metrics_put_head(stream, at, "When a hook or a verb that changes something ended last. No line: none has.");
    bool is_known = journal_events_read_boot(EVENT_COUNT, true, &last, &err) == 0;
    const struct journal_event *event = is_known && last.count > 0 ? &last.items[last.count - 1] : NULL;
    if (event) {
        metrics_put_operation(stream, at, event, event->at);
    }
    metrics_put_head(stream, duration, "How long that took, from its start until what it did was logged.");
    if (event && event->duration >= 0) {
        metrics_put_operation(stream, duration, event, event->duration);
    }
    if (is_known) {
        journal_events_free(&last);
    }
}

static void put_up(FILE *stream, bool is_up)
{
    metrics_put_number(stream, "icn_hook_up", "The host could be looked at: 0 if nothing is known about its links.",
                       is_up);
}

void prometheus_print_down(FILE *stream)
{
    put_up(stream, false);
}

void prometheus_print(const struct session *session, FILE *stream)
{
    int drifting = 0;
    int strange = 0;
    int owed = 0;
    for (int ppu = 0; ppu < session->machine->topology.ppu_count; ppu++) {
        uint32_t unused;
        drifting += links_missing(session, ppu) != 0;
        strange += session->owners.of[ppu] == OWNER_UNKNOWN;
        owed += policy_owes(session, ppu, &unused);
    }
    put_up(stream, true);
    metrics_put_head(stream, "icn_hook_build_info", "The version of icn-hook.");
    fputs("icn_hook_build_info{version=\"" PACKAGE_VERSION "\"} 1\n", stream);
    metrics_put_hook(session, stream);
    metrics_put_confirmed(session, stream);
    metrics_put_number(stream, "icn_hook_leaks", "Pairs of cards between which a link is open that must not be.",
                       view_count_leaks(session));
    struct coverage coverage = coverage_count(session);
    metrics_put_number(stream, "icn_hook_external_leaks", "External links that are open and must not be.",
                       coverage.external_leaks);
    metrics_put_leaks_by_kind(session, stream, coverage.external_leaks);
    metrics_put_number(stream, "icn_hook_drift_cards", "Cards that lack cuts which they should have.", drifting);
    metrics_put_number(stream, "icn_hook_owners_known",
                       "The owner of every card is known: 0 if part of the state cannot be read.",
                       !session_doubt(session, ""));
    metrics_put_number(stream, "icn_hook_unknown_holders", "Cards held open by a process that is not a known VM.",
                       strange);
    /* What is known of the links that must be cut: the sum of the evidence is what is required. */
    static const char links[] = "icn_hook_links";
    metrics_put_number(stream, "icn_hook_links_required", "Links that must be cut.", coverage.required);
    metrics_put_head(stream, links, "Links that must be cut, by what is known of them: proven, gated or unverified.");
    fprintf(stream, "%s{evidence=\"proven\"} %d\n", links, coverage.proven);
    fprintf(stream, "%s{evidence=\"gated\"} %d\n", links, coverage.gated);
    fprintf(stream, "%s{evidence=\"unverified\"} %d\n", links, coverage.unverified);
    metrics_put_number(stream, "icn_hook_cards_owed", "Cards that are owed the mask they had before.", owed);
    metrics_put_number(stream, "icn_hook_vms_without_gate",
                       "Running VMs with a card that was not read back for them before QEMU opened it.",
                       count_vms_without_gate(session));
    metrics_put_operations(stream);
    metrics_put_cards(session, stream);
    metrics_put_owners(session, stream);
    /* What cannot be read has no value. */
    static const char open[] = "icn_hook_link_open";
    metrics_put_head(stream, open, "Open links between two cards, as read now. No line: the cards cannot be read.");
    for (int a = 0; a < session->machine->topology.ppu_count; a++) {
        for (int b = a + 1; b < session->machine->topology.ppu_count; b++) {
            struct pair pair = pair_look(session, a, b);
            if (pair.wired > 0 && pair.is_read) {
                fprintf(stream, "%s{a=\"%d\",b=\"%d\"} %d\n", open, a, b, pair.open);
            }
        }
    }
    static const char external[] = "icn_hook_external_link_open";
    metrics_put_head(stream, external,
                     "Open external links of a card, as read now. No line: it has none, or cannot be read.");
    for (int ppu = 0; ppu < session->machine->topology.ppu_count; ppu++) {
        struct pair pair = pair_look(session, ppu, EXTERNAL_PEER);
        if (pair.wired > 0 && pair.is_read) {
            metrics_put_card(session, stream, external, ppu);
            fprintf(stream, "} %d\n", pair.open);
        }
    }
}
