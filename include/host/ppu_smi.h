/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/file.h"
#include "core/bdf.h"
#include "core/topology.h"

/*
 * What the vendor's ppu-smi prints.  NAME is used in messages.  What is used is read strictly, and STATUS_INVALID
 * with "NAME:LINE: …" otherwise; columns, attributes and lines of the form "key: value" that are not used are passed
 * over.
 */

enum { PPU_SMI_LIMIT = 4 << 20, PPU_SMI_UUID_SIZE = 64 };

/* What it is asked. */
enum ppu_smi_question {
    SMI_CARDS,   /* --query-ppu=index,pci.bus_id,uuid,serial --format=csv,noheader */
    SMI_STATES,  /* icn -s */
    SMI_REMOTES, /* icn -r */
};

/* "output of ppu-smi icn -s", for messages. */
const char *ppu_smi_answer_name(enum ppu_smi_question question);

/* Runs TOOL (see paths_resolve_tool) for at most SECONDS.  OUTPUT is owned by the caller. */
MUST_CHECK int ppu_smi_ask(const char *tool, enum ppu_smi_question question, int seconds, struct buffer *output,
                           struct error *err);

struct ppu_smi_card {
    int index; /* its number, 0..PPU_MAX-1; it may be another one after a reboot */
    struct bdf bdf;
    char uuid[PPU_SMI_UUID_SIZE]; /* in lower case, without "GPU-" or "PPU-"; "": not told */
    int line;
};

struct ppu_smi_cards {
    struct ppu_smi_card *items; /* owned; in the order of the text; no index and no address twice */
    size_t count;
    int last_line;
};

/* --query-ppu=index,pci.bus_id,uuid,serial --format=csv,noheader, with other columns and a line of headings too:
 *   0, 00000001:C9:00.0, GPU-019ea108-c180-040a-0000-000000000000, 1320421013145 */
MUST_CHECK int ppu_smi_parse_cards(const char *text, size_t length, const char *name, struct ppu_smi_cards *cards,
                                   struct error *err);
void ppu_smi_free_cards(struct ppu_smi_cards *cards);

enum ppu_smi_state {
    SMI_LINK_ABSENT,   /* the text has no line of it */
    SMI_LINK_LISTED,   /* it is there; whether it is up is not told */
    SMI_LINK_INACTIVE, /* "<inactive>", or another word in brackets */
    SMI_LINK_ACTIVE,
};

struct ppu_smi_link {
    enum ppu_smi_state state;
    bool has_remote;
    struct bdf remote; /* the device at the other end, and the link's index there */
    int remote_link;
    int line;
};

struct ppu_smi_links_of {
    int index;
    char uuid[PPU_SMI_UUID_SIZE]; /* as above */
    int line;
    struct ppu_smi_link links[LINK_MAX];
};

struct ppu_smi_links {
    struct ppu_smi_links_of *items; /* owned; no index twice */
    size_t count;
    int last_line;
};

/* icn -s, and icn -r:
 *   PPU 0: PPU-ZW810E (UUID: GPU-019ea108-c180-040a-0000-000000000000)
 *       Link 0: 50 GB/s
 *       Link 1: <inactive>
 *       Link 3: Remote Device 00000000:89:00.0: Link 1 */
MUST_CHECK int ppu_smi_parse_links(const char *text, size_t length, const char *name, struct ppu_smi_links *links,
                                   struct error *err);
void ppu_smi_free_links(struct ppu_smi_links *links);

/* NULL: the text has no such card. */
const struct ppu_smi_card *ppu_smi_card(const struct ppu_smi_cards *cards, int index);
const struct ppu_smi_links_of *ppu_smi_links_of(const struct ppu_smi_links *links, int index);
