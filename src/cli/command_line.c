/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <getopt.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "cli/commands.h"

/* What getopt_long returns for option number i of the table. */
enum { FIRST_OPTION = 256 };

enum verb_id command_find_verb(const char *name)
{
    enum verb_id verb = 0;
    while (verb < VERB_COUNT && strcmp(command_verbs[verb].name, name) != 0) {
        verb++;
    }
    return verb;
}

bool verb_argument_is_optional(const struct verb *verb)
{
    return !verb->argument || verb->argument[0] == '[';
}

bool option_fits(const struct option_row *option, enum verb_id verb)
{
    return verb == VERB_NONE || (option->verbs >> verb & 1) != 0;
}

bool option_is_verb(const struct option_row *option)
{
    return option->effect == CHOOSE || option->effect == CHOOSE_WITH_FLAG || option->effect == CHOOSE_WITH_ARGUMENT;
}

int command_usage_error(const char *what, const char *argument)
{
    struct error err;
    error_set(&err, STATUS_USAGE, "icn-hook: %s '%s'; see icn-hook --help", what, argument);
    fprintf(stderr, "%s\n", err.text);
    return STATUS_USAGE;
}

/* The table in the form that getopt_long wants. */
struct grammar {
    struct option *longs; /* owned */
    char shorts[128];
};

static void make_grammar(struct grammar *grammar)
{
    /* Arguments are wanted in their order, a missing value as ':'. */
    size_t used = (size_t)snprintf(grammar->shorts, sizeof grammar->shorts, "-:");
    grammar->longs = memory_alloc(command_option_count + 1, sizeof *grammar->longs);
    for (size_t i = 0; i < command_option_count; i++) {
        const struct option_row *row = &command_options[i];
        grammar->longs[i] =
            (struct option){row->name, row->value ? required_argument : no_argument, NULL, FIRST_OPTION + (int)i};
        if (row->letter && used < sizeof grammar->shorts) {
            used += (size_t)snprintf(grammar->shorts + used, sizeof grammar->shorts - used, "%c%s", row->letter,
                                     row->value ? ":" : "");
        }
    }
}

static const struct option_row *find_row(int code)
{
    if (code >= FIRST_OPTION) {
        return &command_options[code - FIRST_OPTION];
    }
    for (size_t i = 0; i < command_option_count; i++) {
        if (command_options[i].letter == code) {
            return &command_options[i];
        }
    }
    return NULL;
}

static int command_choose(struct command *command, enum verb_id verb, const char *word)
{
    if (command->verb != VERB_NONE) {
        return command_usage_error("not with another verb:", word);
    }
    command->verb = verb;
    return 0;
}

/* A word that is no option: the verb, then its argument.  After --dry-run alone the
 * verb is plan. */
static int take_word(struct command *command, const char *word)
{
    if (command->verb == VERB_NONE) {
        command->verb = command_find_verb(word);
        if (command->verb != VERB_NONE) {
            return 0;
        }
        if (!command->options.dry_run) {
            return command_usage_error("unknown verb", word);
        }
        command->verb = VERB_PLAN;
    }
    if (!command_verbs[command->verb].argument || command->options.argument) {
        return command_usage_error("one argument too many:", word);
    }
    command->options.argument = word;
    return 0;
}

static int take_colour(struct command *command, const char *when)
{
    static const char *const choices[] = {[COLOUR_AUTO] = "auto", [COLOUR_ALWAYS] = "always", [COLOUR_NEVER] = "never"};
    for (size_t i = 0; i < sizeof choices / sizeof choices[0]; i++) {
        if (strcmp(when, choices[i]) == 0) {
            command->options.colour = (enum colour_choice)i;
            return 0;
        }
    }
    return command_usage_error("auto, always or never must follow --color, not", when);
}

static int take_option(struct command *command, const struct option_row *row, const char *value)
{
    void *field = (char *)&command->options + row->offset;
    switch (row->effect) {
    case SET_FLAG:
        *(bool *)field = true;
        return 0;
    case SET_TEXT:
        *(const char **)field = value;
        return 0;
    case ADD_NAME:
        if (command->options.name_count == NAMES_MAX) {
            return command_usage_error("too many names:", value);
        }
        command->options.names[command->options.name_count++] = value;
        return 0;
    case SET_COLOUR:
        return take_colour(command, value);
    case CHOOSE:
        return command_choose(command, row->verb, row->name);
    case CHOOSE_WITH_FLAG:
        *(bool *)field = true;
        return command_choose(command, row->verb, row->name);
    case CHOOSE_WITH_ARGUMENT:
        command->options.argument = value;
        return command_choose(command, row->verb, row->name);
    case SHOW_HELP:
        command->help = true;
        return 0;
    case SHOW_VERSION:
        command->version = true;
        return 0;
    }
    return 0;
}

static int command_complain(int code, const char *word)
{
    const struct option_row *row = optopt ? find_row(optopt) : NULL;
    char letter[] = {'-', (char)optopt, '\0'};
    if (code == ':' && row) {
        char what[64];
        snprintf(what, sizeof what, "%s must follow", row->value);
        return command_usage_error(what, word);
    }
    if (row) {
        return command_usage_error("no value may follow", word);
    }
    return command_usage_error("unknown option", optopt ? letter : word);
}

static int take_code(struct command *command, int code, char *argv[])
{
    if (code == 1) {
        return take_word(command, optarg);
    }
    if (code == '?' || code == ':') {
        return command_complain(code, argv[optind - 1]);
    }
    const struct option_row *row = find_row(code);
    command->given |= UINT64_C(1) << (row - command_options);
    return take_option(command, row, optarg);
}

static int take_all(int argc, char *argv[], const struct grammar *grammar, struct command *command)
{
    int code;
    optind = 0;
    opterr = 0;
    while ((code = getopt_long(argc, argv, grammar->shorts, grammar->longs, NULL)) != -1) {
        int status = take_code(command, code, argv);
        if (status != 0) {
            return status;
        }
    }
    while (optind < argc) {
        int status = take_word(command, argv[optind++]);
        if (status != 0) {
            return status;
        }
    }
    return 0;
}

/* Every option goes with the verb, and the verb has its argument. */
static int command_check(const struct command *command)
{
    const struct verb *verb = &command_verbs[command->verb];
    for (size_t i = 0; i < command_option_count; i++) {
        if ((command->given >> i & 1) != 0 && !option_fits(&command_options[i], command->verb)) {
            char what[64];
            snprintf(what, sizeof what, "%s takes no option", verb->name);
            return command_usage_error(what, command_options[i].name);
        }
    }
    if (!command->options.argument && !verb_argument_is_optional(verb)) {
        char what[64];
        snprintf(what, sizeof what, "%s must follow", verb->argument);
        return command_usage_error(what, verb->name);
    }
    return 0;
}

int command_parse(int argc, char *argv[], struct command *command)
{
    struct grammar grammar = {0};
    *command = (struct command){.verb = VERB_NONE};
    make_grammar(&grammar);
    int status = take_all(argc, argv, &grammar, command);
    free(grammar.longs);
    if (status != 0 || command->help || command->version) {
        return status;
    }
    if (command->verb == VERB_NONE && command->options.dry_run) {
        command->verb = VERB_PLAN;
    }
    return command->verb == VERB_NONE ? command_usage_error("no verb given to", "icn-hook") : command_check(command);
}
