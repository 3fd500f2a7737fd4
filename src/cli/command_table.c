/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "cli/commands.h"
#include "cli/json.h"
#include "cli/verbs.h"

#define BIT(verb) (1u << (verb))
#define FIELD(name) offsetof(struct options, name)

enum {
    ON_DOMAIN = BIT(VERB_PLAN) | BIT(VERB_DOCTOR),
    ON_LIBVIRT = ON_DOMAIN | BIT(VERB_STATUS) | BIT(VERB_ATTACH) | BIT(VERB_DETACH),
    ON_CHANGE = BIT(VERB_APPLY) | BIT(VERB_RELEASE) | BIT(VERB_RESET) | BIT(VERB_REPAIR) | BIT(VERB_SETUP),
    ON_TABLE = BIT(VERB_STATUS) | BIT(VERB_TOPO) | BIT(VERB_HISTORY),
    ON_OUTPUT = BIT(VERB_STATUS) | BIT(VERB_TOPO),
};

const struct verb command_verbs[VERB_COUNT] = {
    [VERB_PLAN] =
        {
            .name = "plan",
            .run = verb_plan,
            .argument = "[FILE|-]",
            .what = "what `prepare` would do with a domain; writes nothing",
            .more = "The XML comes from FILE, from standard input (-), or from libvirt (--domain).\n"
                    "It is a domain's, or bare <hostdev> elements as virsh attach-device takes one.",
            .examples = "icn-hook plan vm1.xml\n"
                        "virsh dumpxml vm1 | icn-hook --dry-run -\n"
                        "icn-hook plan --domain vm1",
        },
    [VERB_STATUS] =
        {
            .name = "status",
            .run = verb_status,
            .argument = "[CARD|NAME...]",
            .what = "every card: owner, driver, mask, links",
            .more = "With arguments, only these cards: CARD is an id, a range of ids (2-5) or a BDF,\n"
                    "NAME a VM or group, or its uuid.\n"
                    "In a mask a set bit is a link that is cut. With --connect, what is known is also\n"
                    "compared with the domains that libvirt runs.",
            .examples = "icn-hook status\n"
                        "icn-hook status vm1 4-7\n"
                        "icn-hook status --json\n"
                        "icn-hook status --prometheus -o icn-hook.prom",
        },
    [VERB_CHECK] =
        {
            .name = "check",
            .run = verb_check,
            .argument = "[LIST|NAME...]",
            .what = "exit status 0 only if every required cut is verified",
            .more = "Exit status 1: a leak, or a cut is missing; 7: some cut cannot be verified.\n"
                    "With LIST (groups of ids or BDFs, \"0,1|2-5\"), only whether these groups are\n"
                    "isolated from everything else, and not cut in themselves. With NAMEs of VMs or\n"
                    "groups, or several CARDs and NAMEs as status takes them, only links of these.",
            .examples = "icn-hook check\n"
                        "icn-hook check \"0,1|2,3\"\n"
                        "icn-hook check -q vm1",
        },
    [VERB_EXPLAIN] =
        {
            .name = "explain",
            .run = verb_explain,
            .argument = "CARD|NAME|A-B...",
            .what = "why links of a card, VM or pair are cut or open",
            .more = "CARD is an id or a BDF, NAME a VM or group, or its uuid; A-B are two cards.",
            .examples = "icn-hook explain 0\n"
                        "icn-hook explain vm1\n"
                        "icn-hook explain 0-6",
        },
    [VERB_TOPO] =
        {
            .name = "topo",
            .run = verb_topo,
            .argument = "[CARD|NAME...]",
            .what = "the cards and their links as a matrix",
            .more = "With arguments, as status takes them, only links of these cards.\n"
                    "With --generate, asks ppudbg for the topology and replaces the configured\n"
                    "file (or -o FILE) by it, if it is valid; links must not be cut meanwhile.",
            .examples = "icn-hook topo\n"
                        "icn-hook topo vm1\n"
                        "icn-hook topo --dot | dot -Tsvg -o cards.svg\n"
                        "icn-hook topo --generate -o /etc/icn-hook/icn_topo.cfg\n"
                        "icn-hook topo --validate icn_topo.cfg",
        },
    [VERB_SUGGEST] =
        {
            .name = "suggest",
            .run = verb_suggest,
            .argument = "N",
            .what = "the best N idle cards for one VM",
            .more = "Best: most links among themselves, then fewest NUMA nodes, then fewest links\n"
                    "to other idle cards, which would be unavailable to later tenants; then the\n"
                    "lowest ids. With --xml, one <hostdev> element a line, as virsh takes one at a\n"
                    "time:\n"
                    "  icn-hook suggest 2 --xml | while read -r device; do\n"
                    "      echo \"$device\" | virsh attach-device vm1 /dev/stdin --config\n"
                    "  done",
            .examples = "icn-hook suggest 2\n"
                        "icn-hook suggest 4 --numa 0 --xml",
        },
    [VERB_DOCTOR] =
        {
            .name = "doctor",
            .run = verb_doctor,
            .argument = "[FILE|-]",
            .what = "checks this host, or a domain's XML against it",
            .more = "One line a check: PASS, WARN or FAIL, and what to do; exit status 1 if one is\n"
                    "FAIL. The XML comes from FILE, from standard input (-), or from libvirt\n"
                    "(--domain): what would the domain meet here at its start?",
            .examples = "icn-hook doctor\n"
                        "icn-hook doctor vm1.xml\n"
                        "icn-hook doctor --domain vm1\n"
                        "icn-hook doctor --probe 3",
        },
    [VERB_SETUP] =
        {
            .name = "setup",
            .run = verb_setup,
            .what = "finds out which card is which, and writes it down",
            .more = "Asks ppu-smi, or else ppudbg, for the cards' ids and links, checks the answers\n"
                    "against each other and against the bus, and writes the topology and\n"
                    "icn-hook.conf.d/50-cards.conf. Without the vendor's driver: --from DIR with the\n"
                    "outputs saved as query.csv (ppu-smi --query-ppu=index,pci.bus_id,uuid,serial\n"
                    "--format=csv,noheader), icn-s.txt (ppu-smi icn -s), icn-r.txt (ppu-smi icn -r)\n"
                    "and topo.txt (ppudbg --topo_read), or --topology FILE with --map FILE or\n"
                    "--ids-by-address. Refused while a VM or group has a card.",
            .examples = "icn-hook setup --dry-run\n"
                        "icn-hook setup --from saved\n"
                        "icn-hook setup --topology icn_topo.cfg --map ids",
        },
    [VERB_APPLY] =
        {
            .name = "apply",
            .run = verb_apply,
            .argument = "[LIST]",
            .what = "isolates groups of cards that libvirt does not manage",
            .more = "LIST: groups separated by '|', cards of a group by ',', as ids, ranges of ids\n"
                    "(4-7) or BDFs. All groups or none. With --count instead of LIST, the cards are\n"
                    "chosen as `suggest` does, and isolated in the same step. Each group stays\n"
                    "isolated until `release` or `reset` ends it, or the host boots.",
            .examples = "icn-hook apply \"0,1|2,3\"\n"
                        "icn-hook apply --count 2 --numa 0 --name red\n"
                        "icn-hook apply --name red --name blue \"0000:08:00.0|0000:7e:00.0\"\n"
                        "icn-hook apply --dry-run \"4,5,7\"",
        },
    [VERB_RELEASE] =
        {
            .name = "release",
            .run = verb_release,
            .argument = "NAME",
            .what = "ends a group that apply made, and restores its links",
            .examples = "icn-hook release red\n"
                        "icn-hook release --if-exists red",
        },
    [VERB_RUN] =
        {
            .name = "run",
            .run = verb_run,
            .argument = "[LIST] -- COMMAND...",
            .takes_command = true,
            .what = "isolates cards for as long as a command runs",
            .more = "Isolates the cards of LIST, or N chosen ones, as one group, and runs COMMAND\n"
                    "with their addresses in ICN_CARDS (\"0000:08:00.0,0000:7e:00.0\"). When it has\n"
                    "ended, and nobody holds the cards open any more, they are given back. Signals\n"
                    "are passed on. If icn-hook itself is killed, the command and its isolation go\n"
                    "on, and the next hook or `repair` after the command's end gives the cards back.\n"
                    "Exit status: the command's; 128+n if signal n killed it; 127 and 126 if it is\n"
                    "not found or cannot be executed; else as below, and COMMAND was not run.",
            .examples = "icn-hook run 0,1 -- cloud-hypervisor --api-socket /run/ch.sock\n"
                        "icn-hook run --count 2 --numa 0 -- sh -c 'exec my-vmm \"$ICN_CARDS\"'",
        },
    [VERB_ATTACH] =
        {
            .name = "attach",
            .run = verb_attach,
            .argument = "VM CARD...",
            .what = "gives a VM that runs cards, isolated first",
            .more = "Cuts the links of the cards first, then has libvirt attach them, one after the\n"
                    "other; if one fails, all are taken back. The VM's other cards keep their cut to\n"
                    "the new ones until the VM starts again: the guest has their registers.",
            .examples = "icn-hook attach vm1 4\n"
                        "icn-hook attach vm1 4 0000:7e:00.0",
        },
    [VERB_DETACH] =
        {
            .name = "detach",
            .run = verb_detach,
            .argument = "VM CARD...",
            .what = "takes them back, and restores their links",
            .more = "The guest must let them go; their links stay cut until it has.",
            .examples = "icn-hook detach vm1 4",
        },
    [VERB_RESET] =
        {
            .name = "reset",
            .run = verb_reset,
            .what = "ends all groups, and restores the links of all cards",
            .more = "Refused while a VM owns a card: it would be exposed. --force does it all the\n"
                    "same, and says who is exposed.",
            .examples = "icn-hook reset\n"
                        "icn-hook reset --dry-run",
        },
    [VERB_REPAIR] =
        {
            .name = "repair",
            .run = verb_repair,
            .what = "makes the whole host what it has to be",
            .more = "Makes every cut that is missing, gives back masks that are owed, adopts VMs\n"
                    "that run without a claim, drops claims of VMs that have ended, and reports\n"
                    "what stays unverified or owed. It opens nothing else. Exit status: as check\n"
                    "afterwards; 5 if a cut could not be made.",
            .examples = "icn-hook repair --dry-run\n"
                        "icn-hook repair",
        },
    [VERB_CONFIRM] =
        {
            .name = "confirm",
            .run = verb_confirm,
            .argument = "[LIST]",
            .what = "tries on the hardware whether the settings are right",
            .more = "On cards without owner, cuts one end of each link, looks at both ends by every\n"
                    "witness there is (the register itself, the link status register, ppu-smi and\n"
                    "ppudbg), and opens it again. A link is confirmed if its other end was seen to\n"
                    "go down, and no other link did. What contradicts the settings is held against\n"
                    "each of them: which one alone, if it were wrong, explains all that was seen?\n"
                    "No program may use the cards meanwhile. With LIST, only links of these cards.\n"
                    "The result is kept in /var/lib/icn-hook/confirmed.json. Exit status 1:\n"
                    "something is contradicted; 7: some links have no witness.",
            .examples = "icn-hook confirm\n"
                        "icn-hook confirm --wait 10 4,5",
        },
    [VERB_HISTORY] =
        {
            .name = "history",
            .run = verb_history,
            .argument = "[CARD|NAME|A-B]",
            .what = "who had which cards, and which links were open, when",
            .more = "From the journal, with journalctl: what hooks and verbs logged there. NAME\n"
                    "is that of a VM or group, or its uuid. T is a time as journalctl takes it.\n"
                    "What no event tells is unknown, never cut.",
            .examples = "icn-hook history --since yesterday\n"
                        "icn-hook history vm1\n"
                        "icn-hook history 0-6 --since 2026-11-24 --until 2026-11-25",
        },
    [VERB_HELP] =
        {
            .name = "help",
            .run = verb_help,
            .argument = "[VERB]",
            .what = "this text, or that of one verb",
            .examples = "icn-hook help apply",
        },
    [VERB_COMPLETE] =
        {
            .name = "complete",
            .run = verb_complete,
            .argument = "KIND",
            .what = "what can be completed: for the shells",
            .hidden = true,
        },
};

const struct option_row command_options[] = {
    {"json", 0, NULL, EVERY_VERB, SET_FLAG, FIELD(json), VERB_NONE, "print one JSON object"},
    {"config", 0, "FILE", EVERY_VERB, SET_TEXT, FIELD(config), VERB_NONE, "instead of /etc/icn-hook/icn-hook.conf"},
    {"color", 0, "WHEN", EVERY_VERB, SET_COLOUR, 0, VERB_NONE, "auto (the default; NO_COLOR counts), always, never"},
    {"verbose", 'v', NULL, EVERY_VERB, SET_FLAG, FIELD(verbose), VERB_NONE, "report what is done, on stderr"},
    {"help", 'h', NULL, EVERY_VERB, SHOW_HELP, 0, VERB_NONE, "help, of the verb if one is given"},
    {"version", 0, NULL, EVERY_VERB, SHOW_VERSION, 0, VERB_NONE, "the version"},

    {"dry-run", 'n', NULL, ON_CHANGE | BIT(VERB_PLAN), SET_FLAG, FIELD(dry_run), VERB_NONE,
     "make no changes (without a verb: same as plan)"},
    {"name", 0, "NAME", BIT(VERB_APPLY) | BIT(VERB_RUN), ADD_NAME, 0, VERB_NONE,
     "name of a group; repeat it in the order of LIST"},
    {"count", 0, "N", BIT(VERB_APPLY) | BIT(VERB_RUN), SET_TEXT, FIELD(count), VERB_NONE,
     "choose N idle cards, as suggest does"},
    {"if-exists", 0, NULL, BIT(VERB_RELEASE), SET_FLAG, FIELD(if_exists), VERB_NONE,
     "exit status 0 if there is no such group"},
    {"force", 0, NULL, BIT(VERB_RESET) | BIT(VERB_SETUP), SET_FLAG, FIELD(force), VERB_NONE,
     "reset: although VMs are exposed; setup: replace files"},
    {"isolate", 0, NULL, BIT(VERB_RESET), SET_FLAG, FIELD(isolate), VERB_NONE,
     "for boot: fail unless idle = isolate is set"},
    {"quiet", 'q', NULL, BIT(VERB_DOCTOR) | BIT(VERB_CHECK), SET_FLAG, FIELD(quiet), VERB_NONE,
     "doctor: only warnings and failures; check: no output"},
    {"no-header", 0, NULL, ON_TABLE, SET_FLAG, FIELD(no_header), VERB_NONE, "a table without its titles"},
    {"probe", 0, "CARD", BIT(VERB_DOCTOR), SET_TEXT, FIELD(probe), VERB_NONE,
     "try an idle card: can a link be cut, and stay so?"},
    {"domain", 0, "NAME", ON_DOMAIN, SET_TEXT, FIELD(domain), VERB_NONE, "take the domain's XML from libvirt"},
    {"connect", 'c', "URI", ON_LIBVIRT, SET_TEXT, FIELD(connect), VERB_NONE, "libvirt's URI; usually qemu:///system"},
    {"from", 0, "DIR", BIT(VERB_SETUP), SET_TEXT, FIELD(from), VERB_NONE, "saved outputs of the vendor's tools"},
    {"topology", 0, "FILE", BIT(VERB_SETUP), SET_TEXT, FIELD(topology), VERB_NONE, "a topology in the vendor's form"},
    {"map", 0, "FILE", BIT(VERB_SETUP), SET_TEXT, FIELD(map), VERB_NONE, "lines \"ID = BDF\": which card has which id"},
    {"ids-by-address", 0, NULL, BIT(VERB_SETUP), SET_FLAG, FIELD(ids_by_address), VERB_NONE,
     "the ids follow the addresses; true of few machines"},
    {"dot", 0, NULL, BIT(VERB_TOPO), SET_FLAG, FIELD(dot), VERB_NONE, "as a graph for Graphviz"},
    {"generate", 0, NULL, BIT(VERB_TOPO), SET_FLAG, FIELD(generate), VERB_NONE, "make the topology file, with ppudbg"},
    {"validate", 0, "FILE", BIT(VERB_TOPO), SET_TEXT, FIELD(validate), VERB_NONE, "check a topology file"},
    {"prometheus", 0, NULL, BIT(VERB_STATUS), SET_FLAG, FIELD(prometheus), VERB_NONE,
     "for node_exporter's textfile collector"},
    {"output", 'o', "FILE", ON_OUTPUT, SET_TEXT, FIELD(output), VERB_NONE, "write to FILE; it is replaced as a whole"},
    {"numa", 0, "NODE", BIT(VERB_SUGGEST) | BIT(VERB_APPLY) | BIT(VERB_RUN), SET_TEXT, FIELD(numa), VERB_NONE,
     "only cards of this NUMA node"},
    {"since", 0, "T", BIT(VERB_HISTORY), SET_TEXT, FIELD(since), VERB_NONE,
     "what began before T and lasted counts too"},
    {"until", 0, "T", BIT(VERB_HISTORY), SET_TEXT, FIELD(until), VERB_NONE, "as it was known at T"},
    {"wait", 0, "SECONDS", BIT(VERB_CONFIRM) | BIT(VERB_ATTACH) | BIT(VERB_DETACH), SET_TEXT, FIELD(wait), VERB_NONE,
     "for a link to settle (5); for libvirt (120)"},
    {"xml", 0, NULL, BIT(VERB_SUGGEST), SET_FLAG, FIELD(xml), VERB_NONE, "<hostdev> elements for virsh attach-device"},

    {"vm_devices", 0, "LIST", EVERY_VERB, CHOOSE_WITH_ARGUMENT, 0, VERB_APPLY, "the same as apply LIST"},
    {"check_devices", 0, "LIST", EVERY_VERB, CHOOSE_WITH_ARGUMENT, 0, VERB_CHECK, "the same as check LIST"},
    {"reset", 'r', NULL, EVERY_VERB, CHOOSE, 0, VERB_RESET, "the same as reset"},
    {"gen_topo", 'g', NULL, EVERY_VERB, CHOOSE_WITH_FLAG, FIELD(generate), VERB_TOPO, "the same as topo --generate"},
};
const size_t command_option_count = sizeof command_options / sizeof command_options[0];

static const char exit_statuses[] = "Exit status: 0 fine, 1 check failed, 2 usage, 3 configuration, topology or input\n"
                                    "invalid, 4 card owned by another, 5 hardware or vendor tool failed, 6 lock or\n"
                                    "deadline, 7 cannot be verified.";

static void print_option(const struct option_row *row)
{
    char names[40];
    char letter[] = {'-', row->letter, ',', ' ', '\0'};
    snprintf(names, sizeof names, "%s--%s%s%s", row->letter ? letter : "    ", row->name, row->value ? " " : "",
             row->value ? row->value : "");
    printf("  %-24s %s\n", names, row->what);
}

static void print_options(enum verb_id verb)
{
    for (size_t i = 0; i < command_option_count; i++) {
        const struct option_row *row = &command_options[i];
        if (!option_is_verb(row) && option_fits(row, verb)) {
            print_option(row);
        }
    }
}

static void print_examples(const char *examples)
{
    puts("\nExamples:");
    while (*examples) {
        size_t length = strcspn(examples, "\n");
        printf("  %.*s\n", (int)length, examples);
        examples += length + (examples[length] == '\n');
    }
}

static void help_program(void)
{
    puts("Usage: icn-hook [OPTIONS] VERB [ARGUMENT]\n"
         "       icn-hook --dry-run FILE|-\n"
         "Cuts the ICN links that leave a VM before it runs, and restores them after it.\n"
         "libvirt runs it by itself as /etc/libvirt/hooks/qemu; by hand:\n");
    for (enum verb_id verb = 0; verb < VERB_COUNT; verb++) {
        char usage[40];
        const struct verb *row = &command_verbs[verb];
        snprintf(usage, sizeof usage, "%s %s", row->name, row->argument ? row->argument : "");
        if (!row->hidden) {
            printf("  %-25s%s\n", usage, row->what);
        }
    }
    puts("\nOptions; `icn-hook help VERB` shows those that go with a verb:");
    print_options(VERB_NONE);
    puts("\nThe vendor script's options:");
    for (size_t i = 0; i < command_option_count; i++) {
        if (option_is_verb(&command_options[i])) {
            print_option(&command_options[i]);
        }
    }
    printf("\n%s\n", exit_statuses);
    print_examples("virsh dumpxml vm1 | icn-hook --dry-run -\nicn-hook status --json");
}

void command_help(enum verb_id id)
{
    if (id == VERB_NONE) {
        help_program();
        return;
    }
    const struct verb *verb = &command_verbs[id];
    printf("Usage: icn-hook %s%s%s [OPTIONS]\n", verb->name, verb->argument ? " " : "",
           verb->argument ? verb->argument : "");
    printf("%c%s.\n", verb->what[0] - ('a' <= verb->what[0] && verb->what[0] <= 'z' ? 'a' - 'A' : 0), verb->what + 1);
    if (verb->more) {
        printf("\n%s\n", verb->more);
    }
    puts("\nOptions:");
    print_options(id);
    printf("\n%s\n", exit_statuses);
    if (verb->examples) {
        print_examples(verb->examples);
    }
}

static void help_print_json(void)
{
    struct json_object *object = json_object_new_object();
    json_put_text(object, "schema", "icn-hook/help/1");
    struct json_object *verbs = json_put_array(object, "verbs");
    for (enum verb_id verb = 0; verb < VERB_COUNT; verb++) {
        if (!command_verbs[verb].hidden) {
            struct json_object *entry = json_object_new_object();
            json_put_text(entry, "name", command_verbs[verb].name);
            json_put_text(entry, "argument", command_verbs[verb].argument);
            json_put_text(entry, "what", command_verbs[verb].what);
            json_object_array_add(verbs, entry);
        }
    }
    struct json_object *options = json_put_array(object, "options");
    for (size_t i = 0; i < command_option_count; i++) {
        const struct option_row *row = &command_options[i];
        const char letter[] = {row->letter, '\0'};
        struct json_object *entry = json_object_new_object();
        json_put_text(entry, "name", row->name);
        json_put_text(entry, "letter", row->letter ? letter : NULL);
        json_put_text(entry, "value", row->value);
        json_put_text(entry, "what", row->what);
        json_put_bool(entry, "vendor", option_is_verb(row));
        struct json_object *takers = json_put_array(entry, "verbs");
        for (enum verb_id verb = 0; verb < VERB_COUNT; verb++) {
            if (option_fits(row, verb) && !command_verbs[verb].hidden) {
                json_object_array_add(takers, json_object_new_string(command_verbs[verb].name));
            }
        }
        json_object_array_add(options, entry);
    }
    json_print(object);
}

int verb_help(const struct options *options, struct error *err)
{
    enum verb_id verb = options->argument ? command_find_verb(options->argument) : VERB_NONE;
    if (options->argument && verb == VERB_NONE) {
        return command_refuse_verb(err, options->argument);
    }
    if (options->json) {
        help_print_json();
    } else {
        command_help(verb);
    }
    return STATUS_OK;
}
