/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

/*
 * What a session has to say beside its result: every warning and finding, in the order in
 * which it was found.  The engine only adds; who ends the session logs the notes (hook mode),
 * prints them (verbs) or writes them into JSON ("findings", "warnings"), in one place each.
 */
enum severity { NOTE_INFO, NOTE_WARNING, NOTE_ERROR };

/* A stable word for what a note is about (contract: "code" of a finding). */
enum note_code {
    NOTE_INPUT,         /* the domain's XML: a device that is not on this host, an option that is not followed */
    NOTE_ADVICE,        /* not a fault, but seldom meant */
    NOTE_CARD,          /* a card that is absent, has no id, or cannot be read or written now */
    NOTE_CUT_MISSING,   /* a readable end that must be cut is open; the other end is cut or unknown */
    NOTE_LEAK,          /* a link that must be cut is open at both ends */
    NOTE_EXTERNAL_LEAK, /* an external link that must be cut is open */
    NOTE_UNVERIFIED,    /* a link that must be cut, of which nothing shows that it is */
    NOTE_NO_GATE,       /* a running VM has a card that was never read back for it before QEMU opened it */
    NOTE_DEBT,          /* a card is owed the mask it had before */
    NOTE_STRANGER,      /* a card is held open by a process that is not a known VM */
    NOTE_CLAIM,         /* a claim that nothing supports any more, or that is from the future */
    NOTE_TOMBSTONE,     /* the end of a domain was noted although it lives */
    NOTE_STATE,         /* a file of the state that cannot be used */
    NOTE_IDENTITY,      /* the ids or links were changed while cards are in use, or cannot be written down */
    NOTE_STATUS,        /* a status file of libvirt that cannot be used */
    NOTE_LIBVIRT,       /* libvirt and icn-hook disagree, or libvirt could not be asked */
    NOTE_CHANGE,        /* what was repaired */
};
const char *note_code_text(enum note_code code);
const char *severity_text(enum severity severity);

struct note {
    enum severity severity;
    enum note_code code;
    int ppu;    /* -1: not about one card */
    char *vm;   /* owned; NULL: not about one VM */
    char *text; /* owned; one line that stands alone */
};

struct notes {
    struct note *items;
    size_t count;
};

/* A text that is there already is not added again.  VM may be NULL, PPU -1. */
void notes_add(struct notes *notes, enum severity severity, enum note_code code, int ppu, const char *vm,
               const char *format, ...) PRINTF_LIKE(6, 7);
bool notes_have(const struct notes *notes, enum note_code code);
void notes_log(const struct notes *notes);
void notes_free(struct notes *notes);
