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
    if (argc < 3) {
        fprintf(stderr, "usage: witness OWNER RESOURCE...\n");
        return 2;
    }
    uint32_t owner = (uint32_t)strtoul(argv[1], NULL, 10);
    for (int i = 2; i < argc; i++) {
        int fd = open(argv[i], O_RDWR | O_CLOEXEC);
        void *card = fd < 0 ? MAP_FAILED : mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, OWNER_OFFSET);
        if (card == MAP_FAILED) {
            perror(argv[i]);
            return 1;
        }
        *(volatile uint32_t *)card = owner;
        close(fd);
    }
    return 0;
}
