/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/verb_log.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"

void verb_log_result(const char *verb, const struct error *err, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    CLEANUP_FREE char *text = text_format(format, arguments);
    va_end(arguments);
    log_open_verb(verb);
    log_message(err ? LOG_LEVEL_ERROR : LOG_LEVEL_NOTICE, "%s", err ? err->text : text);
}

static void list_writes(char *line, size_t size, const struct plan_write writes[], size_t count, bool cuts)
{
    size_t used = 0;
    snprintf(line, size, " nothing");
    for (size_t i = 0; i < count && used < size; i++) {
        if (plan_write_cuts(&writes[i]) == cuts) {
            used += (size_t)snprintf(line + used, size - used, " %d:0x%08" PRIx32 ">0x%08" PRIx32, writes[i].ppu,
                                     writes[i].from, writes[i].to);
        }
    }
}

void verb_log_writes(const char *verb, const struct error *err, const char *what, const struct plan_write writes[],
                     size_t count)
{
    char cuts[1000];
    char opened[1000];
    list_writes(cuts, sizeof cuts, writes, count, true);
    list_writes(opened, sizeof opened, writes, count, false);
    log_open_verb(verb);
    log_message(err ? LOG_LEVEL_ERROR : LOG_LEVEL_NOTICE, "%s; cut:%s; restored:%s", err ? err->text : what, cuts,
                opened);
}
