/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../pages.h"

/*
 * usage: witness OWNER RESOURCE...
 * Writes OWNER into each card's page for the watcher outside: from this moment
 * the card belongs to that VM.
 */
int main(int argc, char **argv)
{
    if (argc < 3 || argc - 2 > 32) {
        fprintf(stderr, "usage: witness OWNER RESOURCE...\n");
        return 2;
    }
    volatile uint32_t *owners[32];
    uint32_t owner = (uint32_t)strtoul(argv[1], NULL, 10);
    int count = argc - 2;
    for (int i = 0; i < count; i++) {
        int fd = open(argv[i + 2], O_RDWR | O_CLOEXEC);
        void *card = fd < 0 ? MAP_FAILED : mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, OWNER_OFFSET);
        if (card == MAP_FAILED) {
            perror(argv[i + 2]);
            return 1;
        }
        owners[i] = card;
        close(fd);
    }
    for (int i = 0; i < count; i++) {
        *owners[i] = owner | OWNER_CHANGING;
    }
    for (int i = 0; i < count; i++) {
        *owners[i] = owner;
    }
    return 0;
}
