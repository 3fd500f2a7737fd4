/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/verbs.h"

/*
 * All verbs and options, in one table that feeds parsing, --help, completion
 * and the tests of the man page.
 */
enum verb_id {
    VERB_PLAN,
    VERB_STATUS,
    VERB_CHECK,
    VERB_EXPLAIN,
    VERB_TOPO,
    VERB_SUGGEST,
    VERB_DOCTOR,
    VERB_SETUP,
    VERB_APPLY,
    VERB_RELEASE,
    VERB_RUN,
    VERB_ATTACH,
    VERB_DETACH,
    VERB_RESET,
    VERB_REPAIR,
    VERB_CONFIRM,
    VERB_HISTORY,
    VERB_HELP,
    VERB_COMPLETE,
    VERB_COUNT,
    VERB_NONE = VERB_COUNT,
};

struct verb {
    const char *name;
    verb_function *run;
    const char *argument; /* as help shows it, in brackets if it may be missing; NULL: takes none */
    const char *what;     /* what it does, one line for the list of verbs */
    const char *more;     /* further lines for its own help, or NULL */
    const char *examples; /* one a line, or NULL */
    bool hidden;
    bool takes_command; /* after "--" */
};

/* Where an option's value goes, or what it does. */
enum option_effect {
    SET_FLAG,             /* a bool of struct options */
    SET_TEXT,             /* a const char * of struct options */
    ADD_NAME,             /* one more of names[] */
    SET_COLOUR,           /* colour */
    CHOOSE,               /* stands for VERB */
    CHOOSE_WITH_FLAG,     /* … and sets a flag */
    CHOOSE_WITH_ARGUMENT, /* … with the value as its argument */
    SHOW_HELP,
    SHOW_VERSION,
};

struct option_row {
    const char *name;
    char letter;        /* 0: none */
    const char *value;  /* as help shows it; NULL: takes none */
    unsigned int verbs; /* bit VERB_…: which verbs take it; EVERY_VERB */
    enum option_effect effect;
    size_t offset;     /* in struct options, of SET_FLAG, SET_TEXT and CHOOSE_WITH_FLAG */
    enum verb_id verb; /* of CHOOSE… */
    const char *what;
};
enum { EVERY_VERB = (1 << VERB_COUNT) - 1 };

extern const struct verb command_verbs[VERB_COUNT];
extern const struct option_row command_options[];
extern const size_t command_option_count;

/* The verb of that name, or VERB_NONE. */
enum verb_id command_find_verb(const char *name);

bool option_fits(const struct option_row *option, enum verb_id verb);

/* It stands for a verb: one of the vendor script's options. */
bool option_is_verb(const struct option_row *option);

/* What a command line asks for: a verb with its options, or only help or the
 * version.  VERB_NONE: nothing but help or version. */
struct command {
    enum verb_id verb;
    struct options options;
    uint64_t given; /* bit i: option i of the table */
    bool help;
    bool version;
};

/* STATUS_USAGE if the line makes no sense; options.json is set even then, if --json
 * is one of its words. */
MUST_CHECK int command_parse(int argc, char *argv[], struct command *command, struct error *err);

/* STATUS_USAGE: the formatted text and "; see icn-hook help VERB", or "--help" if no verb was named.  Returns -1. */
int command_usage_error(struct error *err, const char *format, ...) PRINTF_LIKE(2, 3);

/* … for a word that is no verb, with the one that was probably meant. */
int command_refuse_verb(struct error *err, const char *word);

/* The text of --help, of VERB or (VERB_NONE) of the program. */
void command_help(enum verb_id verb);
