/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The configuration, any bytes.  Reading it twice gives the same, whatever is
 * taken is within the bounds of the header, and a refusal is one line that
 * begins with "NAME:LINE: ".
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/settings.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition) {
        abort();
    }
}

static void check_bounds(const struct settings *settings)
{
    require(strchr(settings->match, ':'));
    require(settings->topology[0] == '/' && settings->ppudbg_path[0] == '/');
    require(settings->bar >= 0 && settings->bar <= 5);
    require(settings->cut_bit == 0 || settings->cut_bit == 1);
    require(settings->stride >= 1 && settings->stride <= 4096);
    require((uint64_t)settings->link_config * settings->stride % 4 == 0);
    require((uint64_t)settings->link_status * settings->stride % 4 == 0);
    require(settings->ppudbg_timeout >= 1 && settings->ppudbg_timeout <= 3600);
    require(settings->lock_timeout >= 0 && settings->lock_timeout <= 3600);
    require(settings->start_timeout >= 0 && settings->start_timeout <= 86400);
    require(settings->map_count >= 0 && settings->map_count <= PPU_MAX);
    for (int i = 0; i < settings->map_count; i++) {
        require(settings->map[i].ppu >= 0 && settings->map[i].ppu < PPU_MAX);
        for (int k = 0; k < i; k++) {
            require(settings->map[i].ppu != settings->map[k].ppu);
            require(bdf_compare(settings->map[i].bdf, settings->map[k].bdf) != 0);
        }
        require(memchr(settings->map[i].path, '\0', PIN_PATH_SIZE));
        require(strlen(settings->map[i].serial) == 0 || strlen(settings->map[i].serial) == PIN_SERIAL_SIZE - 1);
    }
    require(settings->links == LINKS_OF_TOPOLOGY || settings->links > 0);
    require(settings->ppu_smi_path[0] == '/' && settings->ppudbg_isolate[0] > ' ');
    for (int i = 0; i < settings->join_count; i++) {
        const struct settings_join *join = &settings->joins[i];
        require(join->ppu >= 0 && join->ppu < PPU_MAX && join->peer >= 0 && join->peer < PPU_MAX);
        require(join->link >= 0 && join->link < LINK_MAX && join->peer_link >= 0 && join->peer_link < LINK_MAX);
        require(join->ppu != join->peer);
    }
}

static void check_refusal(const struct error *err)
{
    int line = 0;
    require(err->status == STATUS_INVALID);
    require(sscanf(err->text, "conf:%d: ", &line) == 1 && line >= 1);
    require(!strchr(err->text, '\n'));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct settings first;
    static struct settings second;
    struct error err = {0};
    struct error again = {0};
    memset(&first, 0x55, sizeof first);
    memset(&second, 0x55, sizeof second);
    int result = settings_parse((const char *)data, size, "conf", &first, &err);
    require(settings_parse((const char *)data, size, "conf", &second, &again) == result);
    require(strcmp(err.text, again.text) == 0);
    if (result == 0) {
        check_bounds(&first);
        require(first.map_count == second.map_count && first.join_count == second.join_count);
        for (int i = 0; i < first.map_count; i++) {
            require(bdf_compare(first.map[i].bdf, second.map[i].bdf) == 0);
        }
        settings_free(&first);
        settings_free(&second);
    } else {
        check_refusal(&err);
    }
    return 0;
}
