/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <getopt.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "base/text.h"
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

bool option_fits(const struct option_row *option, enum verb_id verb)
{
    return verb == VERB_NONE || (option->verbs >> verb & 1) != 0;
}

bool option_is_verb(const struct option_row *option)
{
    return option->effect == CHOOSE || option->effect == CHOOSE_WITH_FLAG || option->effect == CHOOSE_WITH_ARGUMENT;
}

/* The verb of the command line that was parsed last, whose help a usage error names. */
static enum verb_id asked_verb = VERB_NONE;

int command_usage_error(struct error *err, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    CLEANUP_FREE char *text = text_format(format, arguments);
    va_end(arguments);
    bool has_help = asked_verb != VERB_NONE && asked_verb != VERB_HELP && !command_verbs[asked_verb].hidden;
    return error_set(err, STATUS_USAGE, "%s; see icn-hook %s%s", text, has_help ? "help " : "--help",
                     has_help ? command_verbs[asked_verb].name : "");
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

static int command_choose(struct command *command, enum verb_id verb, const char *word, struct error *err)
{
    if (command->verb != VERB_NONE) {
        return command_usage_error(err, "--%s cannot be combined with '%s'", word, command_verbs[command->verb].name);
    }
    command->verb = asked_verb = verb;
    return 0;
}

int command_refuse_verb(struct error *err, const char *word)
{
    static const char *const others[][2] = {
        {"list", "status"}, {"show", "status"}, {"isolate", "apply"}, {"version", "--version"}};
    struct nearest nearest = {.word = word};
    for (enum verb_id verb = 0; verb < VERB_COUNT; verb++) {
        if (!command_verbs[verb].hidden) {
            nearest_try(&nearest, command_verbs[verb].name);
        }
    }
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        nearest.name = strcmp(word, others[i][0]) == 0 ? others[i][1] : nearest.name;
    }
    return nearest.name ? command_usage_error(err, "unknown verb '%s' (did you mean %s?)", word, nearest.name)
                        : command_usage_error(err, "unknown verb '%s'", word);
}

/* WORD begins with two dashes. */
static int refuse_option(const struct command *command, const char *word, struct error *err)
{
    CLEANUP_FREE char *name = memory_copy_text(word + 2);
    name[strcspn(name, "=")] = '\0';
    struct nearest nearest = {.word = name};
    for (size_t i = 0; i < command_option_count; i++) {
        if (option_fits(&command_options[i], command->verb)) {
            nearest_try(&nearest, command_options[i].name);
        }
    }
    return nearest.name ? command_usage_error(err, "unknown option '%s' (did you mean --%s?)", word, nearest.name)
                        : command_usage_error(err, "unknown option '%s'", word);
}

/* A word that is not an option: the verb, then its argument.  After --dry-run alone the
 * verb is plan. */
static int take_word(struct command *command, const char *word, struct error *err)
{
    if (command->verb == VERB_NONE) {
        command->verb = asked_verb = command_find_verb(word);
        if (command->verb != VERB_NONE) {
            return 0;
        }
        if (!command->options.dry_run) {
            return command_refuse_verb(err, word);
        }
        command->verb = asked_verb = VERB_PLAN;
    }
    const char *argument = command_verbs[command->verb].argument;
    bool takes_more = argument && strstr(argument, "...") && !command_verbs[command->verb].takes_command;
    if (takes_more && command->options.argument) {
        if (command->options.more_count == NAMES_MAX) {
            return command_usage_error(err, "too many arguments: '%s'", word);
        }
        command->options.more[command->options.more_count++] = word;
        return 0;
    }
    if (!argument || command->options.argument) {
        if (command_verbs[command->verb].takes_command) {
            return command_usage_error(err, "unexpected argument '%s'; write -- before the command", word);
        }
        bool is_list = argument && strstr(argument, "LIST");
        return is_list
                   ? command_usage_error(err, "unexpected argument '%s'; write LIST as one word, without blanks", word)
                   : command_usage_error(err, "unexpected argument '%s'", word);
    }
    command->options.argument = word;
    return 0;
}

static const char *const colour_words[] = {
    [COLOUR_AUTO] = "auto", [COLOUR_ALWAYS] = "always", [COLOUR_NEVER] = "never"};

static int take_option(struct command *command, const struct option_row *row, const char *value, struct error *err)
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
            return command_usage_error(err, "too many names: '%s'", value);
        }
        command->options.names[command->options.name_count++] = value;
        return 0;
    case SET_COLOUR:
        for (size_t i = 0; i < sizeof colour_words / sizeof colour_words[0]; i++) {
            if (strcmp(value, colour_words[i]) == 0) {
                command->options.colour = (enum colour_choice)i;
                return 0;
            }
        }
        return command_usage_error(err, "--color takes auto, always or never, not '%s'", value);
    case CHOOSE:
        return command_choose(command, row->verb, row->name, err);
    case CHOOSE_WITH_FLAG:
        *(bool *)field = true;
        return command_choose(command, row->verb, row->name, err);
    case CHOOSE_WITH_ARGUMENT:
        command->options.argument = value;
        return command_choose(command, row->verb, row->name, err);
    case SHOW_HELP:
        command->help = true;
        return 0;
    case SHOW_VERSION:
        command->version = true;
        return 0;
    }
    return 0;
}

/* getopt_long takes any beginning of a long option for the option; a slip of the finger
 * must not reach reset. */
static bool is_whole(const char *word)
{
    size_t length = strcspn(word + 2, "=");
    for (size_t i = 0; i < command_option_count; i++) {
        if (strlen(command_options[i].name) == length && strncmp(word + 2, command_options[i].name, length) == 0) {
            return true;
        }
    }
    return false;
}

/* WORD: where getopt began to read. */
static int take_code(struct command *command, int code, const char *word, struct error *err)
{
    if (code == 1) {
        return take_word(command, optarg, err);
    }
    if (strncmp(word, "--", 2) == 0 && !is_whole(word)) {
        return refuse_option(command, word, err);
    }
    if (code == '?' || code == ':') {
        const struct option_row *row = optopt ? find_row(optopt) : NULL;
        const char letter[] = {'-', (char)optopt, '\0'};
        if (code == ':' && row) {
            return command_usage_error(err, "option '%s' needs a value: %s", word, row->value);
        }
        return row ? command_usage_error(err, "option '--%s' takes no value", row->name)
                   : command_usage_error(err, "unknown option '%s'", optopt ? letter : word);
    }
    const struct option_row *row = find_row(code);
    command->given |= UINT64_C(1) << (row - command_options);
    return take_option(command, row, optarg, err);
}

/* Gives getopt_long the table in the form that it wants. */
static int take_all(int argc, char *argv[], struct command *command, struct error *err)
{
    CLEANUP_FREE struct option *longs = memory_alloc(command_option_count + 1, sizeof *longs);
    char shorts[128];
    /* Arguments are wanted in their order, a missing value as ':'. */
    size_t used = (size_t)snprintf(shorts, sizeof shorts, "-:");
    for (size_t i = 0; i < command_option_count; i++) {
        const struct option_row *row = &command_options[i];
        longs[i] =
            (struct option){row->name, row->value ? required_argument : no_argument, NULL, FIRST_OPTION + (int)i};
        if (row->letter && used < sizeof shorts) {
            used += (size_t)snprintf(shorts + used, sizeof shorts - used, "%c%s", row->letter, row->value ? ":" : "");
        }
    }
    int at = 1;
    int code;
    optind = 0;
    opterr = 0;
    while ((code = getopt_long(argc, argv, shorts, longs, NULL)) != -1) {
        if (take_code(command, code, argv[at], err) < 0) {
            return -1;
        }
        at = optind;
    }
    if (optind < argc && command->verb != VERB_NONE && command_verbs[command->verb].takes_command) {
        command->options.command = argv + optind;
        return 0;
    }
    while (optind < argc) {
        if (take_word(command, argv[optind++], err) < 0) {
            return -1;
        }
    }
    return 0;
}

int command_parse(int argc, char *argv[], struct command *command, struct error *err)
{
    *command = (struct command){.verb = VERB_NONE};
    asked_verb = VERB_NONE;
    if (take_all(argc, argv, command, err) < 0) {
        /* What getopt did not come to counts too: a program that asked for JSON reads JSON. */
        command->options.json = false;
        for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
            command->options.json |= strcmp(argv[i], "--json") == 0;
        }
        return -1;
    }
    if (command->help || command->version) {
        return 0;
    }
    if (command->verb == VERB_NONE && command->options.dry_run) {
        command->verb = asked_verb = VERB_PLAN;
    }
    if (command->verb == VERB_NONE) {
        return command_usage_error(err, "no command given");
    }
    const struct verb *verb = &command_verbs[command->verb];
    for (size_t i = 0; i < command_option_count; i++) {
        if ((command->given >> i & 1) != 0 && !option_fits(&command_options[i], command->verb)) {
            return command_usage_error(err, "'%s' has no option '--%s'", verb->name, command_options[i].name);
        }
    }
    const struct options *options = &command->options;
    bool has_no_table = options->json || options->prometheus || options->dot || options->generate || options->validate;
    if (options->no_header && has_no_table) {
        return command_usage_error(err, "--no-header is for tables only");
    }
    if (verb->takes_command && !command->options.command) {
        return command_usage_error(err, "'%s' needs -- and a command after it", verb->name);
    }
    if (verb->argument && strstr(verb->argument, " CARD") && command->options.more_count == 0) {
        return command_usage_error(err, "'%s' needs arguments: %s", verb->name, verb->argument);
    }
    bool has_optional_argument = !verb->argument || verb->argument[0] == '[';
    if (!command->options.argument && !has_optional_argument) {
        return command_usage_error(err, "'%s' needs an argument: %s", verb->name, verb->argument);
    }
    return 0;
}
