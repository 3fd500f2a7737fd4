/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "doctor/examination.h"

#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "doctor/checks.h"
#include "doctor/facts.h"
#include "engine/suggest.h"

#define NODES "/sys/devices/system/node"

enum { CPU_MAX = 8192, NODE_MAX = 1024, LIST_SIZE = 256 };

void examination_open(struct examination *examination, const char *config)
{
    *examination = (struct examination){.config = config, .session = {.state = STATE_CLOSED}};
    if (machine_open(config, &examination->machine, &examination->settings_error) < 0) {
        return;
    }
    examination->is_surveyed = machine_survey(examination->machine, &examination->survey_error) == 0;
    if (examination->is_surveyed) {
        /* Inside the lock is only what is fast, or must not happen while a VM is started. */
        struct session *session = &examination->session;
        examination->is_looked_at =
            session_open(session, examination->machine, SESSION_LOOK, &examination->session_error) == 0;
        if (examination->is_looked_at) {
            session_look_at_all(session);
            iommu_groups_ask(examination);
        }
        session_unlock(session);
    }
}

void examination_close(struct examination *examination)
{
    if (!examination->session.machine) {
        machine_close(examination->machine);
    }
    session_close(&examination->session);
    report_free(&examination->report);
}

void examination_run(struct examination *examination)
{
    check_hook(examination);
    check_settings(examination);
    check_cards(examination);
    check_iommu_groups(examination);
    check_iommu(examination);
    check_ppudbg(examination);
    check_security(examination);
    check_state(examination);
    check_libvirt(examination);
}

/* The NUMA nodes of the domain's cards. */
struct nodes {
    char list[LIST_SIZE];     /* "0,2" */
    char cpus[4 * LIST_SIZE]; /* their CPUs, as the kernel lists them; "" = not known */
    int count;
    int first;
};

static void find_nodes(const struct examination *examination, struct nodes *nodes)
{
    bool concerned[PPU_MAX] = {false};
    int found[PPU_MAX];
    for (int ppu = 0; ppu < examination->machine->topology.ppu_count; ppu++) {
        concerned[ppu] = card_concerns(examination, ppu);
    }
    int count = suggest_nodes(&examination->session, concerned, found);
    for (int i = 0; i < count; i++) {
        int node = found[i];
        CLEANUP_FREE char *cpus = fact_text(NODES "/node%d/cpulist", node);
        size_t used = strlen(nodes->list);
        if (nodes->count++ == 0) {
            nodes->first = node;
        }
        snprintf(nodes->list + used, sizeof nodes->list - used, "%s%d", used > 0 ? "," : "", node);
        used = strlen(nodes->cpus);
        if (cpus) {
            snprintf(nodes->cpus + used, sizeof nodes->cpus - used, "%s%s", used > 0 ? "," : "", cpus);
        }
    }
}

/* LISTS may hold nothing that ALLOWED has not. */
static bool lists_are_within(const struct text_list *lists, const char *allowed, long limit)
{
    for (size_t i = 0; i < lists->count; i++) {
        for (long item = 0; item < limit; item++) {
            if (fact_list_has(lists->items[i], item) && !fact_list_has(allowed, item)) {
                return false;
            }
        }
    }
    return true;
}

static void check_vcpus(struct examination *examination, const struct domain_placement *placement,
                        const struct nodes *nodes)
{
    char remedy[5 * LIST_SIZE];
    snprintf(remedy, sizeof remedy, "<vcpu cpuset='%s'>, or one <vcpupin> each", nodes->cpus);
    if (placement->is_automatic) {
        report_add(&examination->report, CHECK_DOMAIN_VCPUS, RESULT_WARN, remedy,
                   "numad places its vCPUs, and does not know of its cards");
    } else if (!placement->every_vcpu) {
        report_add(&examination->report, CHECK_DOMAIN_VCPUS, RESULT_WARN, remedy,
                   "its vCPUs are not pinned to NUMA node %s", nodes->list);
    } else if (!lists_are_within(&placement->cpus, nodes->cpus, CPU_MAX)) {
        report_add(&examination->report, CHECK_DOMAIN_VCPUS, RESULT_WARN, remedy,
                   "its vCPUs are pinned outside NUMA node %s", nodes->list);
    } else {
        report_pass(&examination->report, CHECK_DOMAIN_VCPUS, "its vCPUs are pinned to NUMA node %s", nodes->list);
    }
}

static void check_memory(struct examination *examination, const struct domain_placement *placement,
                         const struct nodes *nodes)
{
    char remedy[2 * LIST_SIZE];
    const struct text_list *bound = &placement->memory_nodes;
    char said[LIST_SIZE] = "";
    for (size_t i = 0; i < bound->count; i++) {
        size_t used = strlen(said);
        snprintf(said + used, sizeof said - used, "%s%s", i > 0 ? "," : "", bound->items[i]);
    }
    snprintf(remedy, sizeof remedy, "<numatune><memory mode='strict' nodeset='%s'/></numatune>", nodes->list);
    if (bound->count == 0) {
        report_add(&examination->report, CHECK_DOMAIN_MEMORY, RESULT_WARN, remedy,
                   "its memory is not bound to NUMA node %s", nodes->list);
    } else if (!lists_are_within(bound, nodes->list, NODE_MAX)) {
        report_add(&examination->report, CHECK_DOMAIN_MEMORY, RESULT_WARN, remedy,
                   "its memory is bound to NUMA node %s, its cards are on %s", said, nodes->list);
    } else {
        report_pass(&examination->report, CHECK_DOMAIN_MEMORY, "its memory is bound to NUMA node %s", nodes->list);
    }
}

/* The card's other functions: an audio or management function that stays on the
 * host keeps the whole card from being reset. */
static void check_functions(struct examination *examination)
{
    struct card_findings findings = {0};
    for (int ppu = 0; ppu < examination->machine->topology.ppu_count; ppu++) {
        struct bdf other = examination->machine->card[ppu];
        bool is_passed = card_concerns(examination, ppu) && card_function_is_taken(examination, other);
        for (int function = 0; is_passed && function < 8; function++) {
            struct pci_state state;
            char bdf[BDF_TEXT_SIZE];
            other.function = (uint8_t)function;
            sysfs_read_state(other, &state);
            if (state.present && !sysfs_is_virtual_function(other) && !card_function_is_taken(examination, other)) {
                card_findings_add(&findings, ppu, RESULT_WARN, "pass it too, as a <hostdev> of the same VM",
                                  "function %s of the card is not passed", bdf_format(other, bdf));
            }
        }
    }
    card_findings_report(&findings, examination, CHECK_DOMAIN_FUNCTIONS, "all functions of its cards are passed");
}

void examination_check_domain(struct examination *examination, const struct domain_placement *placement)
{
    struct nodes nodes = {0};
    if (!examination->is_looked_at || !examination->cards || card_count(examination) == 0) {
        return;
    }
    find_nodes(examination, &nodes);
    char remedy[96];
    int cards = card_count(examination);
    if (nodes.count > 1) {
        snprintf(remedy, sizeof remedy, "icn-hook suggest %d --numa %d names cards of one node", cards, nodes.first);
        report_add(&examination->report, CHECK_DOMAIN_NUMA, RESULT_WARN, remedy, "its cards are on NUMA nodes %s",
                   nodes.list);
    } else if (nodes.count == 1) {
        report_pass(&examination->report, CHECK_DOMAIN_NUMA, "its cards are on NUMA node %s", nodes.list);
    } else {
        report_pass(&examination->report, CHECK_DOMAIN_NUMA, "the host reports no NUMA node for its cards");
    }
    if (nodes.cpus[0] && fact_exists(NODES "/node1")) {
        check_vcpus(examination, placement, &nodes);
        check_memory(examination, placement, &nodes);
    }
    check_functions(examination);
    struct card_findings findings = {0};
    for (size_t i = 0; i < examination->cards->count; i++) {
        const struct vm_card *card = &examination->cards->items[i];
        if (card->unmanaged && card->whole && card->ppu >= 0 && !card_at(examination, card->ppu)->state.on_vfio) {
            card_findings_add(&findings, card->ppu, RESULT_WARN,
                              "managed='yes', or virsh nodedev-detach before the start",
                              "managed='no', and it is not on vfio-pci");
        }
    }
    card_findings_report(&findings, examination, CHECK_DOMAIN_MANAGED, "libvirt will bind its cards to vfio-pci");
}

void examination_warn(struct session *session, const struct vm_cards *cards, const struct domain_placement *placement,
                      struct notes *notes)
{
    struct examination examination = {
        .machine = session->machine, .cards = cards, .is_surveyed = true, .is_looked_at = true, .session = *session};
    check_virtual_functions(&examination);
    check_group_members(&examination);
    examination_check_domain(&examination, placement);
    for (size_t i = 0; i < examination.report.count; i++) {
        const struct finding *finding = &examination.report.findings[i];
        if (finding->result != RESULT_PASS) {
            notes_add(notes, NOTE_WARNING, NOTE_ADVICE, -1, NULL, "%s; %s", finding->text, finding->remedy);
        }
    }
    report_free(&examination.report);
}
