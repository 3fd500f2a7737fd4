/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "registers/bar.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/paths.h"
#include "base/text.h"

/* include/linux/ioport.h: flags of a line of the file `resource`. */
enum { RESOURCE_LIMIT = 4096, IOMEM_LIMIT = 4 << 20, RESOURCE_IO = 0x100, RESOURCE_UNSET = 0x20000000 };

struct bar_resource {
    uint64_t start;
    uint64_t flags;
};

/* Line BAR of the card's `resource`: "0xSTART 0xEND 0xFLAGS". */
static bool read_bar(struct bdf bdf, int bar, struct bar_resource *resource)
{
    char text[BDF_TEXT_SIZE];
    char lines[RESOURCE_LIMIT];
    uint64_t numbers[3] = {0};
    CLEANUP_FREE char *path = paths_resolve("%s/%s/resource", PATH_PCI_DEVICES, bdf_format(bdf, text));
    if (!file_read_word_at(AT_FDCWD, path, lines, sizeof lines)) {
        return false;
    }
    char *line = lines;
    for (int i = 0; i < bar && line; i++) {
        line = strchr(line, '\n');
        line = line ? line + 1 : NULL;
    }
    for (size_t i = 0; i < 3; i++) {
        char *end = line;
        numbers[i] = line ? strtoull(line, &end, 16) : 0;
        if (end == line) {
            return false;
        }
        line = end;
    }
    *resource = (struct bar_resource){.start = numbers[0], .flags = numbers[2]};
    return true;
}

static bool has_file(struct bdf bdf, int bar)
{
    char text[BDF_TEXT_SIZE];
    CLEANUP_FREE char *path = paths_resolve("%s/%s/resource%d", PATH_PCI_DEVICES, bdf_format(bdf, text), bar);
    return access(path, F_OK) == 0;
}

int bar_check(struct bdf bdf, int bar, struct error *err)
{
    struct bar_resource resource;
    if (!read_bar(bdf, bar, &resource)) {
        return 0;
    }
    if ((resource.flags & RESOURCE_IO) != 0) {
        return error_set(err, STATUS_HARDWARE, "BAR %d is an I/O BAR; set bar in [registers]", bar);
    }
    /* A BAR that the card does not have is all zeros too, and has no file. */
    if ((resource.start == 0 && has_file(bdf, bar)) || (resource.flags & RESOURCE_UNSET) != 0) {
        return error_set(err, STATUS_HARDWARE,
                         "BAR %d has no address: the kernel found no room for it; see dmesg, or set bar in [registers]",
                         bar);
    }
    return 0;
}

/*
 * Lines "  START-END : NAME", each below what contains it.  So the last one that has the page is who claimed it, if
 * that is not the card's own line or a bus.  To others than root all addresses are 0.
 */
bool bar_claimer(struct bdf bdf, int bar, char claimer[BAR_CLAIMER_SIZE])
{
    char card[BDF_TEXT_SIZE];
    struct bar_resource resource;
    struct buffer iomem = {0};
    struct error unused;
    const char *found = NULL;
    CLEANUP_FREE char *path = paths_resolve(PATH_PROC "/iomem");
    if (file_read(path, IOMEM_LIMIT, &iomem, NULL, &unused) < 0) {
        return false;
    }
    if (!read_bar(bdf, bar, &resource) || resource.start == 0) {
        buffer_free(&iomem);
        return false;
    }
    uint64_t last = resource.start + (uint64_t)sysconf(_SC_PAGESIZE) - 1;
    char *rest = iomem.data;
    for (char *line = strsep(&rest, "\n"); line; line = strsep(&rest, "\n")) {
        char *after;
        uint64_t start = strtoull(line, &after, 16);
        uint64_t end = *after == '-' ? strtoull(after + 1, &after, 16) : 0;
        if (strncmp(after, " : ", strlen(" : ")) == 0 && start <= last && end >= resource.start) {
            found = after + strlen(" : ");
        }
    }
    bool is_claimed = found && strcmp(found, bdf_format(bdf, card)) != 0 && strncmp(found, "PCI ", strlen("PCI ")) != 0;
    if (is_claimed) {
        text_escape(claimer, BAR_CLAIMER_SIZE, found);
    }
    buffer_free(&iomem);
    return is_claimed;
}
