/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "doctor/examination.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/paths.h"
#include "base/text.h"
#include "doctor/checks.h"
#include "doctor/facts.h"
#include "engine/links.h"
#include "engine/suggest.h"
#include "engine/witnesses.h"

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

static void copy_speed(struct bdf card, const char *name, char speed[SPEED_SIZE])
{
    char bdf[BDF_TEXT_SIZE];
    CLEANUP_FREE char *text = fact_text(PATH_PCI_DEVICES "/%s/%s", bdf_format(card, bdf), name);
    char *end = text ? strstr(text, " GT/s") : NULL;
    /* "32.0 GT/s PCIe", or "Unknown". */
    if (end) {
        end[strlen(" GT/s")] = '\0';
        text_escape(speed, SPEED_SIZE, text);
    }
}

/* 0 and 255 are what the kernel has of a link that it cannot read (include/linux/pci.h, PCIE_LNK_WIDTH_UNKNOWN). */
static int read_width(struct bdf card, const char *name)
{
    char bdf[BDF_TEXT_SIZE];
    uint64_t width;
    CLEANUP_FREE char *text = fact_text(PATH_PCI_DEVICES "/%s/%s", bdf_format(card, bdf), name);
    return text && text_parse_number(text, UINT8_MAX - 1, &width) && width > 0 ? (int)width : UNKNOWN_NUMBER;
}

static int read_errors(struct bdf card, enum aer_kind kind)
{
    static const char *const files[] = {"correctable", "nonfatal", "fatal"};
    static const char *const totals[] = {"TOTAL_ERR_COR ", "TOTAL_ERR_NONFATAL ", "TOTAL_ERR_FATAL "};
    char bdf[BDF_TEXT_SIZE];
    uint64_t count;
    CLEANUP_FREE char *text = fact_text(PATH_PCI_DEVICES "/%s/aer_dev_%s", bdf_format(card, bdf), files[kind]);
    char *total = text ? strstr(text, totals[kind]) : NULL;
    if (!total) {
        return UNKNOWN_NUMBER;
    }
    total += strlen(totals[kind]);
    total[strcspn(total, "\n")] = '\0';
    return text_parse_number(total, INT32_MAX, &count) ? (int)count : UNKNOWN_NUMBER;
}

/* An end as it is read now, or as it was read back before QEMU opened the card. */
static enum link_end find_end(const struct session *session, int ppu, int link, int64_t *since)
{
    uint32_t mask;
    int64_t at;
    enum link_end end = link_look(session, ppu, link).near;
    if (end != END_UNKNOWN || !links_gate(session, ppu, &mask, &at)) {
        return end;
    }
    *since = *since == 0 || at < *since ? at : *since;
    return (mask >> link) & 1 ? END_CUT : END_OPEN;
}

/* The links between two cards of the VM.  Where nothing tells which ends belong together, and both cards have open and
 * cut ones, how many are open is not known. */
static void count_inner_links(const struct session *session, int a, int b, struct vm_facts *facts)
{
    const struct topology *topology = &session->machine->topology;
    int count = 0;
    int pairs_open = 0;
    bool is_paired = true;
    int ends[2][END_UNKNOWN + 1] = {{0}};
    for (int link = 0; link < LINK_MAX; link++) {
        if (topology->peer[a][link] == b) {
            enum link_end near = find_end(session, a, link, &facts->links_since);
            int other = topology->peer_link[a][link];
            ends[0][near]++;
            count++;
            is_paired &= other != NO_PEER_LINK;
            pairs_open += other != NO_PEER_LINK && near == END_OPEN &&
                          find_end(session, b, other, &facts->links_since) == END_OPEN;
        }
        if (topology->peer[b][link] == a) {
            ends[1][find_end(session, b, link, &facts->links_since)]++;
        }
    }
    bool is_read = ends[0][END_UNKNOWN] + ends[1][END_UNKNOWN] == 0;
    int open = -1;
    if (is_read && is_paired) {
        open = pairs_open;
    } else if (is_read && (ends[0][END_CUT] == 0 || ends[1][END_OPEN] == 0)) {
        open = ends[1][END_OPEN];
    } else if (is_read && (ends[1][END_CUT] == 0 || ends[0][END_OPEN] == 0)) {
        open = ends[0][END_OPEN];
    }
    facts->links += count;
    facts->links_open += open >= 0 ? open : 0;
    facts->links_unknown += open >= 0 ? 0 : count;
}

/* ppudbg talks to the cards, so it is not asked while a VM has them. */
static void ask_witnesses(struct session *session, const bool of_vm[], struct vm_facts *facts)
{
    static const enum witness asked[] = {WITNESS_STATUS, WITNESS_PPU_SMI};
    CLEANUP_FREE struct view *view = memory_alloc(1, sizeof *view);
    const struct topology *topology = &session->machine->topology;
    struct text_list unused = {0};
    struct witnesses witnesses;
    witnesses_open(&witnesses, session->machine, &unused);
    witnesses_look(&witnesses, session, NULL, view);
    witnesses_close(&witnesses);
    text_list_free(&unused);
    for (size_t i = 0; i < sizeof asked / sizeof asked[0]; i++) {
        struct witness_facts *said = &facts->witnesses[i];
        said->name = witness_text(asked[i]);
        for (int ppu = 0; ppu < topology->ppu_count; ppu++) {
            for (int link = 0; of_vm[ppu] && link < LINK_MAX; link++) {
                int peer = topology->peer[ppu][link];
                bool is_known = (view->known[asked[i]][ppu] >> link) & 1;
                bool is_up = (view->up[asked[i]][ppu] >> link) & 1;
                if (peer >= 0 && of_vm[peer]) {
                    said->unknown += !is_known;
                    said->up += is_known && is_up;
                    said->down += is_known && !is_up;
                }
            }
        }
    }
}

bool examination_vm_facts(struct examination *examination, const char *uuid, struct vm_facts *facts)
{
    struct session *session = &examination->session;
    const struct machine *machine = examination->machine;
    const struct owner *owner = examination->is_looked_at ? owners_find(&session->owners, uuid) : NULL;
    bool of_vm[PPU_MAX] = {false};
    if (!owner || !owner->runs) {
        return false;
    }
    *facts = (struct vm_facts){.name = owner->name, .pid = owner->pid};
    for (int ppu = 0; ppu < machine->topology.ppu_count; ppu++) {
        struct bdf card = machine->card[ppu];
        of_vm[ppu] = owners_has(&session->owners, owner, ppu);
        if (!of_vm[ppu]) {
            continue;
        }
        facts->cards = memory_grow(facts->cards, facts->count + 1, sizeof *facts->cards);
        struct card_facts *added = &facts->cards[facts->count++];
        *added = (struct card_facts){
            .ppu = ppu,
            .numa_node = session->cards[ppu].state.present ? session->cards[ppu].state.numa_node : UNKNOWN_NUMBER,
            .width = read_width(card, "current_link_width"),
            .width_at_most = read_width(card, "max_link_width")};
        copy_speed(card, "current_link_speed", added->speed);
        copy_speed(card, "max_link_speed", added->speed_at_most);
        for (int kind = 0; kind < AER_KINDS; kind++) {
            added->errors[kind] = read_errors(card, (enum aer_kind)kind);
        }
        for (int other = 0; other < ppu; other++) {
            if (of_vm[other]) {
                count_inner_links(session, other, ppu, facts);
            }
        }
    }
    ask_witnesses(session, of_vm, facts);
    return true;
}

void vm_facts_free(struct vm_facts *facts)
{
    free(facts->cards);
    *facts = (struct vm_facts){0};
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
