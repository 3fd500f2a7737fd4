/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "../pages.h"

/*
 * usage: after-hook VM OPERATION ...     < the domain's XML
 * Runs in qemu.d beside our hook, right after it.
 *
 * At `start`, the last moment before a VM has its cards, it writes the VM's owner number
 * into each card's page for the watcher outside.  The number is the one at the end of the
 * VM's name; a VM whose name ends in another way is not witnessed.
 *
 * Then it stops the sequence for as long as /run/stall/OPERATION or /run/stall/VM.OPERATION
 * is there.
 */
enum { MAX_CARDS = 32, XML_SIZE = 1 << 20, PAUSE_NS = 20000000 };

static volatile uint32_t *owners[MAX_CARDS];
static unsigned int card_count;

static uint32_t owner_number(const char *name)
{
    size_t length = strlen(name);
    while (length > 0 && name[length - 1] >= '0' && name[length - 1] <= '9') {
        length--;
    }
    return (uint32_t)strtoul(name + length, NULL, 10);
}

static unsigned int read_id(const char *directory, const char *file)
{
    char path[128];
    unsigned int id = 0;
    snprintf(path, sizeof path, "%s/%s", directory, file);
    FILE *stream = fopen(path, "re");
    if (stream) {
        if (fscanf(stream, "%x", &id) != 1) {
            id = 0;
        }
        fclose(stream);
    }
    return id;
}

/* The page of the function whose <source> begins at SOURCE, if it is a card. */
static bool add_card(const char *source)
{
    unsigned int domain, bus, slot, function;
    char directory[64];
    char path[128];
    const char *end = strstr(source, "</source>");
    const char *address = strstr(source, "<address");
    const char *place = address ? strstr(address, " domain=") : NULL;
    if (!end || !place || place > end ||
        sscanf(place, " domain='%x' bus='%x' slot='%x' function='%x'", &domain, &bus, &slot, &function) != 4) {
        return true;
    }
    snprintf(directory, sizeof directory, "/sys/bus/pci/devices/%04x:%02x:%02x.%x", domain, bus, slot, function);
    if (read_id(directory, "vendor") != 0x1af4 || read_id(directory, "device") != 0x1110) {
        return true;
    }
    snprintf(path, sizeof path, "%s/resource2", directory);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    void *card = fd < 0 ? MAP_FAILED : mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, OWNER_OFFSET);
    if (card == MAP_FAILED || card_count == MAX_CARDS) {
        perror(path);
        return false;
    }
    close(fd);
    owners[card_count++] = card;
    return true;
}

static bool witness(uint32_t owner, const char *xml)
{
    for (const char *source = strstr(xml, "<source"); source; source = strstr(source + 1, "<source")) {
        if (!add_card(source)) {
            return false;
        }
    }
    for (unsigned int i = 0; i < card_count; i++) {
        *owners[i] = owner | OWNER_CHANGING;
    }
    for (unsigned int i = 0; i < card_count; i++) {
        *owners[i] = owner;
    }
    return true;
}

static void stall(const char *name)
{
    char path[256];
    char reached[300];
    snprintf(path, sizeof path, "/run/stall/%s", name);
    if (access(path, F_OK) < 0) {
        return;
    }
    snprintf(reached, sizeof reached, "%s.reached", path);
    close(open(reached, O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
    while (access(path, F_OK) == 0) {
        nanosleep(&(struct timespec){.tv_nsec = PAUSE_NS}, NULL);
    }
}

int main(int argc, char **argv)
{
    static char xml[XML_SIZE];
    char of_vm[256];
    if (argc < 3) {
        fprintf(stderr, "usage: after-hook VM OPERATION\n");
        return 2;
    }
    xml[fread(xml, 1, sizeof xml - 1, stdin)] = '\0';
    uint32_t owner = owner_number(argv[1]);
    if (strcmp(argv[2], "start") == 0 && owner != 0 && !witness(owner, xml)) {
        return 1;
    }
    stall(argv[2]);
    snprintf(of_vm, sizeof of_vm, "%s.%s", argv[1], argv[2]);
    stall(of_vm);
    return 0;
}
