/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The topology file, any bytes.  Reading it twice gives the same, and what is
 * taken is sound by a count of its own: every link leads to another card of
 * the file, and as many lead back.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "host/topology_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition) {
        abort();
    }
}

static void check_sound(const struct topology *topology)
{
    static int ends[PPU_MAX][PPU_MAX];
    require(topology->ppu_count >= 1 && topology->ppu_count <= PPU_MAX);
    for (int ppu = 0; ppu < topology->ppu_count; ppu++) {
        memset(ends[ppu], 0, sizeof ends[ppu]);
    }
    bool wired = topology->ppu_count == 1;
    for (int ppu = 0; ppu < PPU_MAX; ppu++) {
        for (int link = 0; link < LINK_MAX; link++) {
            int peer = topology->peer[ppu][link];
            if (peer != NO_PEER) {
                require(ppu < topology->ppu_count);
                require(peer >= EXTERNAL_PEER && peer < topology->ppu_count && peer != ppu);
                wired = true;
            }
            if (peer >= 0) {
                ends[ppu][peer]++;
            }
        }
    }
    require(wired);
    for (int ppu = 0; ppu < topology->ppu_count; ppu++) {
        for (int peer = 0; peer < ppu; peer++) {
            require(ends[ppu][peer] == ends[peer][ppu]);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct topology first;
    static struct topology second;
    struct error err = {0};
    struct error again = {0};
    memset(&first, 0x55, sizeof first);
    memset(&second, 0x55, sizeof second);
    int result = topology_file_parse((const char *)data, size, "topo", &first, &err);
    require(topology_file_parse((const char *)data, size, "topo", &second, &again) == result);
    require(memcmp(&first, &second, sizeof first) == 0);
    require(strcmp(err.text, again.text) == 0);
    if (result == 0) {
        check_sound(&first);
    } else {
        require(err.status == STATUS_INVALID && strncmp(err.text, "topo:", strlen("topo:")) == 0);
    }
    return 0;
}
