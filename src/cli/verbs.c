/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/verbs.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"

static const struct verb {
    const char *name;
    int (*run)(const struct options *options);
    bool takes_file;
    const char *arguments;
    const char *help;
} verbs[] = {
    {"plan", verb_plan, true, "FILE|-", "what `prepare` would do with this domain's XML, writing nothing"},
    {"status", verb_status, false, "", "every card: owner, driver, mask, links"},
    {"check", verb_check, false, "", "exit 0 only if every VM's links are cut as they must be"},
};

static void print_help(void)
{
    puts("Usage: icn-hook [OPTIONS] VERB [ARGUMENT]\n"
         "       icn-hook --dry-run FILE|-\n"
         "Cuts the ICN links that leave a VM before it runs, and restores them after it.\n"
         "libvirt runs it by itself as /etc/libvirt/hooks/qemu; by hand:\n");
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
        printf("  %-7s%-8s %s\n", verbs[i].name, verbs[i].arguments, verbs[i].help);
    }
    puts("\nOptions:\n"
         "  -n, --dry-run FILE|-  the same as plan\n"
         "      --json            print one JSON object\n"
         "      --config FILE     instead of /etc/icn-hook/icn-hook.conf\n"
         "  -v, --verbose         tell what is done, on stderr\n"
         "  -h, --help            this text\n"
         "      --version         the version\n\n"
         "Exit status: 0 fine, 1 check failed, 2 usage, 3 configuration, topology or input\n"
         "invalid, 4 card owned by another, 5 hardware or vendor tool failed, 6 lock or\n"
         "deadline.\n\n"
         "Examples:\n"
         "  virsh dumpxml vm1 | icn-hook --dry-run -\n"
         "  icn-hook status --json");
}

static int usage_error(const char *what, const char *argument)
{
    struct error err;
    error_set(&err, STATUS_USAGE, "icn-hook: %s '%s'; see icn-hook --help", what, argument);
    fprintf(stderr, "%s\n", err.text);
    return STATUS_USAGE;
}

static const struct verb *find_verb(const char *name)
{
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
        if (strcmp(verbs[i].name, name) == 0) {
            return &verbs[i];
        }
    }
    return NULL;
}

static int finish_output(int status)
{
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, "icn-hook: cannot write to standard output: %s\n", strerror(errno));
        return status != STATUS_OK ? status : STATUS_HARDWARE;
    }
    return status;
}

static bool is_one_of(const char *word, const char *a, const char *b)
{
    return strcmp(word, a) == 0 || strcmp(word, b) == 0;
}

int verbs_run(int argc, char *argv[])
{
    struct options options = {0};
    const struct verb *verb = NULL;
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i];
        if (is_one_of(word, "-h", "--help")) {
            print_help();
            return finish_output(STATUS_OK);
        }
        if (strcmp(word, "--version") == 0) {
            puts("icn-hook " PACKAGE_VERSION);
            return finish_output(STATUS_OK);
        }
        if (is_one_of(word, "-n", "--dry-run")) {
            if (verb && verb->run != verb_plan) {
                return usage_error("not with another verb:", word);
            }
            verb = &verbs[0];
        } else if (strcmp(word, "--json") == 0) {
            options.json = true;
        } else if (is_one_of(word, "-v", "--verbose")) {
            options.verbose = true;
        } else if (strcmp(word, "--config") == 0) {
            if (++i == argc) {
                return usage_error("a file must follow", word);
            }
            options.config = argv[i];
        } else if (strncmp(word, "--config=", 9) == 0) {
            options.config = word + 9;
        } else if (word[0] == '-' && word[1] != '\0') {
            return usage_error("unknown option", word);
        } else if (!verb) {
            verb = find_verb(word);
            if (!verb) {
                return usage_error("unknown verb", word);
            }
        } else if (verb->takes_file && !options.file) {
            options.file = word;
        } else {
            return usage_error("one argument too many:", word);
        }
    }
    if (!verb) {
        return usage_error("no verb given to", "icn-hook");
    }
    if (verb->takes_file && !options.file) {
        return usage_error("a domain's XML file (or -) must follow", verb->name);
    }
    if (options.verbose) {
        log_open_verbose();
    }
    return finish_output(verb->run(&options));
}
