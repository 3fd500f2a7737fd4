/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "cli/commands.h"
#include "cli/json.h"
#include "cli/verbs.h"

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

static void print_vendor_options(void)
{
    puts("\nThe vendor script's options:");
    for (size_t i = 0; i < command_option_count; i++) {
        if (option_is_verb(&command_options[i])) {
            print_option(&command_options[i]);
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
    print_vendor_options();
    printf("\n%s\n", exit_statuses);
    print_examples("virsh dumpxml vm1 | icn-hook --dry-run -\nicn-hook status --json");
}

static void help_verb(const struct verb *verb, enum verb_id id)
{
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

void command_help(enum verb_id verb)
{
    if (verb == VERB_NONE) {
        help_program();
    } else {
        help_verb(&command_verbs[verb], verb);
    }
}

static struct json_object *describe_option(const struct option_row *row)
{
    struct json_object *entry = json_object_new_object();
    char letter[] = {row->letter, '\0'};
    json_put_text(entry, "name", row->name);
    json_put_text(entry, "letter", row->letter ? letter : NULL);
    json_put_text(entry, "value", row->value);
    json_put_text(entry, "what", row->what);
    json_put_bool(entry, "vendor", option_is_verb(row));
    struct json_object *verbs = json_put_array(entry, "verbs");
    for (enum verb_id verb = 0; verb < VERB_COUNT; verb++) {
        if (option_fits(row, verb) && !command_verbs[verb].hidden) {
            json_object_array_add(verbs, json_object_new_string(command_verbs[verb].name));
        }
    }
    return entry;
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
        json_object_array_add(options, describe_option(&command_options[i]));
    }
    json_print(object);
}

int verb_help(const struct options *options, struct error *err)
{
    enum verb_id verb = options->argument ? command_find_verb(options->argument) : VERB_NONE;
    if (options->argument && verb == VERB_NONE) {
        return command_usage_error(err, "unknown verb '%s'", options->argument);
    }
    if (options->json) {
        help_print_json();
    } else {
        command_help(verb);
    }
    return STATUS_OK;
}
