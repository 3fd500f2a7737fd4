/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "pages.h"

/*
 * usage: watcher LINKS CARD-FILE...
 * Looks at the cards' registers from outside until SIGTERM, then prints what it
 * saw as one JSON object, whose first line says that it looks.  LINKS is a file of
 * lines "ppu link peer".
 *
 * A link is live if both its ends are open (bit clear), and may be live only if
 * both cards have the same owner, or none.  A sample whose owners change while
 * it is taken says nothing and is dropped.  The links between two cards are
 * paired in the order of their indices.
 */

enum { MAX_CARDS = 32, MAX_LINKS = 512, MAX_REPORTED = 50, PAUSE_NS = 200000 };

struct join {
    unsigned int a, b, bit_a, bit_b;
    bool reported;
};

struct sample {
    uint32_t owners[MAX_CARDS];
    uint32_t registers[MAX_CARDS];
};

static volatile sig_atomic_t ending;
static volatile uint32_t *cards[MAX_CARDS];
static unsigned int card_count;
static struct join joins[MAX_LINKS];
static unsigned int join_count;
static uint64_t samples, dropped, violations;

static void on_signal(int number)
{
    (void)number;
    ending = 1;
}

static void die(const char *what)
{
    fprintf(stderr, "watcher: %s: %s\n", what, strerror(errno));
    exit(2);
}

struct end {
    unsigned int card, bit, peer;
    bool paired;
};

static unsigned int read_ends(const char *path, struct end *ends)
{
    FILE *file = fopen(path, "re");
    unsigned int count = 0;
    if (!file) {
        die(path);
    }
    while (count < MAX_LINKS && fscanf(file, "%u %u %u", &ends[count].card, &ends[count].bit, &ends[count].peer) == 3) {
        ends[count].paired = false;
        count++;
    }
    fclose(file);
    return count;
}

static void pair_ends(struct end *ends, unsigned int count)
{
    for (unsigned int i = 0; i < count; i++) {
        for (unsigned int j = i + 1; j < count && !ends[i].paired; j++) {
            if (!ends[j].paired && ends[j].card == ends[i].peer && ends[j].peer == ends[i].card) {
                joins[join_count++] = (struct join){ends[i].card, ends[j].card, ends[i].bit, ends[j].bit, false};
                ends[i].paired = ends[j].paired = true;
            }
        }
    }
}

static void map_card(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    void *card = fd < 0 ? MAP_FAILED : mmap(NULL, CARD_SIZE, PROT_READ, MAP_SHARED, fd, 0);
    if (card == MAP_FAILED) {
        die(path);
    }
    close(fd);
    cards[card_count++] = card;
}

static void read_words(uint32_t *words, unsigned int offset)
{
    for (unsigned int i = 0; i < card_count; i++) {
        words[i] = cards[i][offset / sizeof(uint32_t)];
    }
}

static bool take_sample(struct sample *sample)
{
    uint32_t after[MAX_CARDS];
    read_words(sample->owners, OWNER_OFFSET);
    __sync_synchronize();
    read_words(sample->registers, LINK_CONFIG_OFFSET);
    __sync_synchronize();
    read_words(after, OWNER_OFFSET);
    for (unsigned int i = 0; i < card_count; i++) {
        if (after[i] != sample->owners[i] || after[i] & OWNER_CHANGING) {
            return false;
        }
    }
    return true;
}

static void print_words(const char *name, const uint32_t *words)
{
    printf("\"%s\":[", name);
    for (unsigned int i = 0; i < card_count; i++) {
        printf("%s%" PRIu32, i ? "," : "", words[i]);
    }
    printf("]");
}

static double wall_clock(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void report(const struct join *join, const struct sample *sample)
{
    printf("%s{\"time\":%.6f,\"a\":%u,\"b\":%u,", violations ? ",\n" : "\n", wall_clock(), join->a, join->b);
    print_words("owners", sample->owners);
    printf(",");
    print_words("registers", sample->registers);
    printf("}");
}

/* A leak is reported once, when it appears. */
static void judge(const struct sample *sample)
{
    for (unsigned int i = 0; i < join_count; i++) {
        struct join *join = &joins[i];
        bool open_a = !(sample->registers[join->a] >> join->bit_a & 1);
        bool open_b = !(sample->registers[join->b] >> join->bit_b & 1);
        bool leaking = open_a && open_b && sample->owners[join->a] != sample->owners[join->b];
        if (leaking && !join->reported && violations < MAX_REPORTED) {
            report(join, sample);
            violations++;
        }
        join->reported = leaking;
    }
}

int main(int argc, char **argv)
{
    struct end ends[MAX_LINKS];
    struct sigaction action = {.sa_handler = on_signal};
    if (argc < 3 || argc - 2 > MAX_CARDS) {
        fprintf(stderr, "usage: watcher LINKS CARD-FILE...\n");
        return 2;
    }
    pair_ends(ends, read_ends(argv[1], ends));
    for (int i = 2; i < argc; i++) {
        map_card(argv[i]);
    }
    sigaction(SIGTERM, &action, NULL);
    double begin = wall_clock();
    printf("{\"links\":%u,\"violations\":[\n", join_count);
    fflush(stdout);
    while (!ending) {
        struct sample sample;
        if (take_sample(&sample)) {
            samples++;
            judge(&sample);
        } else {
            dropped++;
        }
        nanosleep(&(struct timespec){.tv_nsec = PAUSE_NS}, NULL);
    }
    printf("],\n\"samples\":%" PRIu64 ",\"dropped\":%" PRIu64 ",\"seconds\":%.3f}\n", samples, dropped,
           wall_clock() - begin);
    return violations ? 1 : 0;
}
