/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/notes.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"

const char *note_code_text(enum note_code code)
{
    static const char *const texts[] = {
        [NOTE_INPUT] = "input",
        [NOTE_ADVICE] = "advice",
        [NOTE_CARD] = "card",
        [NOTE_CUT_MISSING] = "cut-missing",
        [NOTE_LEAK] = "leak",
        [NOTE_UNVERIFIED] = "unverified",
        [NOTE_NO_GATE] = "no-gate",
        [NOTE_DEBT] = "owed",
        [NOTE_STRANGER] = "unknown-holder",
        [NOTE_CLAIM] = "claim",
        [NOTE_TOMBSTONE] = "tombstone",
        [NOTE_STATE] = "state",
        [NOTE_IDENTITY] = "identity",
        [NOTE_STATUS] = "status-file",
        [NOTE_LIBVIRT] = "libvirt",
        [NOTE_CHANGE] = "repaired",
        [NOTE_EXTERNAL_LEAK] = "external-leak",
    };
    return texts[code];
}

const char *severity_text(enum severity severity)
{
    static const char *const texts[] = {[NOTE_INFO] = "info", [NOTE_WARNING] = "warning", [NOTE_ERROR] = "error"};
    return texts[severity];
}

void notes_add(struct notes *notes, enum severity severity, enum note_code code, int ppu, const char *vm,
               const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    char *text = text_format(format, arguments);
    va_end(arguments);
    for (size_t i = 0; i < notes->count; i++) {
        if (strcmp(notes->items[i].text, text) == 0) {
            free(text);
            return;
        }
    }
    notes->items = memory_grow(notes->items, notes->count + 1, sizeof *notes->items);
    notes->items[notes->count++] = (struct note){
        .severity = severity, .code = code, .ppu = ppu, .vm = vm ? memory_copy_text(vm) : NULL, .text = text};
}

bool notes_have(const struct notes *notes, enum note_code code)
{
    for (size_t i = 0; i < notes->count; i++) {
        if (notes->items[i].code == code) {
            return true;
        }
    }
    return false;
}

void notes_log(const struct notes *notes)
{
    static const enum log_level levels[] = {
        [NOTE_INFO] = LOG_LEVEL_NOTICE, [NOTE_WARNING] = LOG_LEVEL_WARNING, [NOTE_ERROR] = LOG_LEVEL_ERROR};
    for (size_t i = 0; i < notes->count; i++) {
        log_message(levels[notes->items[i].severity], "%s", notes->items[i].text);
    }
}

void notes_free(struct notes *notes)
{
    for (size_t i = 0; i < notes->count; i++) {
        free(notes->items[i].vm);
        free(notes->items[i].text);
    }
    free(notes->items);
    *notes = (struct notes){0};
}
