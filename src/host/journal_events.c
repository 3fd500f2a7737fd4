/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/journal_events.h"

#include <fcntl.h>
#include <json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/paths.h"
#include "base/spawn.h"

/*
 * Theory of operation.  Anybody may send an event with our MESSAGE_ID to the journal; journald itself notes who did
 * (_UID), so only root's are asked for.  Fields of ours that are not as we write them make the event unusable, and that
 * is counted; all other fields may be anything.  The form is systemd's (https://systemd.io/JOURNAL_EXPORT_FORMATS/):
 * one object a line, a value is a text, an array of bytes if it is not UTF-8, or an array of these if the field is
 * there several times.
 */
enum { JOURNALCTL_MS = 60000, ANSWER_LIMIT = 16 << 20 };

const char *journal_kind_text(enum log_event kind)
{
    static const char *const words[EVENT_COUNT] = {
        [EVENT_CARDS_GIVEN] = "given", [EVENT_VERIFIED] = "verified",   [EVENT_RUNNING] = "running",
        [EVENT_ENDED] = "ended",       [EVENT_REFUSED] = "refused",     [EVENT_LEAK] = "leak",
        [EVENT_REPAIRED] = "repaired", [EVENT_RESET] = "reset",         [EVENT_SETUP] = "setup",
        [EVENT_TOPOLOGY] = "topology", [EVENT_CONFIRMED] = "confirmed", [EVENT_PROBED] = "probed",
        [EVENT_FAILED] = "failed",
    };
    return words[kind];
}

static void event_free(struct journal_event *event)
{
    free(event->operation);
    free(event->uuid);
    free(event->name);
    free(event->text);
    free(event->cards);
    for (int i = 0; i < ENDS_COUNT; i++) {
        free(event->ends[i]);
    }
}

void journal_events_free(struct journal_events *events)
{
    for (size_t i = 0; i < events->count; i++) {
        event_free(&events->items[i]);
    }
    free(events->items);
    *events = (struct journal_events){0};
}

/* -- Fields ----------------------------------------------------------------------------- */

/* An array of bytes, as a text; NULL if it is anything else, or has a zero. */
static char *bytes_text(struct json_object *array)
{
    size_t length = json_object_array_length(array);
    char *text = memory_alloc(length + 1, 1);
    for (size_t i = 0; i < length; i++) {
        struct json_object *byte = json_object_array_get_idx(array, i);
        int64_t value = json_object_is_type(byte, json_type_int) ? json_object_get_int64(byte) : 0;
        if (value < 1 || value > 255) {
            free(text);
            return NULL;
        }
        text[i] = (char)value;
    }
    return text;
}

/* The field NAME in *TEXT, which is owned; NULL if there is none.  False: it is there and not one text. */
static bool take_field(struct json_object *object, const char *name, char **text)
{
    struct json_object *value;
    *text = NULL;
    if (!json_object_object_get_ex(object, name, &value)) {
        return true;
    }
    if (json_object_is_type(value, json_type_string)) {
        const char *string = json_object_get_string(value);
        if (strlen(string) == (size_t)json_object_get_string_len(value)) {
            *text = memory_copy_text(string);
        }
    } else if (json_object_is_type(value, json_type_array)) {
        *text = bytes_text(value);
    }
    return *text;
}

/* [MIN, MAX]; the number ends where the text does, or at STOP, behind which *REST is. */
static bool take_number(const char **rest, char stop, int64_t max, int64_t *number)
{
    int64_t value = 0;
    const char *at = *rest;
    if (*at < '0' || *at > '9') {
        return false;
    }
    for (; *at >= '0' && *at <= '9'; at++) {
        value = value * 10 + (*at - '0');
        if (value > max) {
            return false;
        }
    }
    if (*at != stop) {
        return false;
    }
    *rest = stop ? at + 1 : at;
    *number = value;
    return true;
}

/* "0=0000:08:00.0" */
static bool parse_event_card(const char *word, struct journal_card *card)
{
    int64_t ppu = -1;
    if (word[0] == '?' && word[1] == '=') {
        word += 2;
    } else if (!take_number(&word, '=', PPU_MAX - 1, &ppu)) {
        return false;
    }
    card->ppu = (int)ppu;
    return bdf_parse(word, &card->bdf);
}

/* "0/3:6", "0/4:x" */
static bool parse_event_end(const char *word, struct journal_end *end)
{
    int64_t ppu;
    int64_t link;
    int64_t peer = EXTERNAL_PEER;
    if (!take_number(&word, '/', PPU_MAX - 1, &ppu) || !take_number(&word, ':', LINK_MAX - 1, &link) ||
        (strcmp(word, "x") != 0 && !take_number(&word, '\0', PPU_MAX - 1, &peer))) {
        return false;
    }
    *end = (struct journal_end){.ppu = (int)ppu, .link = (int)link, .peer = (int)peer};
    return true;
}

/* TEXT's words, which are separated by single blanks.  Changes TEXT. */
static bool parse_words(struct journal_event *event, char *text, int ends)
{
    while (text && *text) {
        char *blank = strchr(text, ' ');
        if (blank) {
            *blank = '\0';
        }
        if (ends < 0) {
            event->cards = memory_grow(event->cards, event->card_count + 1, sizeof *event->cards);
            if (!parse_event_card(text, &event->cards[event->card_count++])) {
                return false;
            }
        } else {
            size_t *count = &event->end_counts[ends];
            event->ends[ends] = memory_grow(event->ends[ends], *count + 1, sizeof *event->ends[ends]);
            if (!parse_event_end(text, &event->ends[ends][(*count)++])) {
                return false;
            }
        }
        text = blank ? blank + 1 : NULL;
    }
    return true;
}

/* -1: there is no such field. */
static bool take_number_field(struct json_object *object, const char *name, int64_t max, int64_t *number)
{
    CLEANUP_FREE char *text = NULL;
    *number = -1;
    if (!take_field(object, name, &text)) {
        return false;
    }
    const char *rest = text;
    return !text || take_number(&rest, '\0', max, number);
}

static bool parse_fields(struct json_object *object, struct journal_event *event)
{
    static const char *const fields[ENDS_COUNT] = {"ICN_LINKS_CUT", "ICN_LINKS_OPENED", "ICN_LINKS_FAILED"};
    CLEANUP_FREE char *at = NULL;
    CLEANUP_FREE char *boot = NULL;
    CLEANUP_FREE char *kind = NULL;
    CLEANUP_FREE char *cards = NULL;
    char uuid[UUID_SIZE];
    if (!take_field(object, "__REALTIME_TIMESTAMP", &at) || !take_field(object, "_BOOT_ID", &boot) ||
        !take_field(object, "ICN_OPERATION", &event->operation) || !take_field(object, "ICN_VM_UUID", &event->uuid) ||
        !take_field(object, "ICN_VM_NAME", &event->name) || !take_field(object, "MESSAGE", &event->text) ||
        !take_field(object, "ICN_KIND", &kind) || !take_field(object, "ICN_CARDS", &cards) ||
        !take_number_field(object, "ICN_CALLER_UID", UINT32_MAX, &event->caller) ||
        !take_number_field(object, "ICN_CALLER_LOGINUID", UINT32_MAX, &event->caller_login) ||
        !take_number_field(object, "ICN_STATUS", STATUS_UNVERIFIED, &event->status) ||
        !take_number_field(object, "ICN_DURATION_USEC", INT64_MAX / 100, &event->duration)) {
        return false;
    }
    const char *rest = at;
    if (!at || !take_number(&rest, '\0', INT64_MAX / 100, &event->at) || !boot || strlen(boot) != 32 ||
        strspn(boot, "0123456789abcdef") != 32 || !event->operation || !event->text ||
        (event->uuid && (!text_parse_uuid(event->uuid, uuid) || strcmp(uuid, event->uuid) != 0)) ||
        (kind && strcmp(kind, "vm") != 0 && strcmp(kind, "group") != 0)) {
        return false;
    }
    memcpy(event->boot, boot, sizeof event->boot);
    event->is_group = kind && strcmp(kind, "group") == 0;
    event->has_cards = cards;
    if (!parse_words(event, cards, -1)) {
        return false;
    }
    for (int i = 0; i < ENDS_COUNT; i++) {
        CLEANUP_FREE char *ends = NULL;
        if (!take_field(object, fields[i], &ends) || !parse_words(event, ends, i)) {
            return false;
        }
    }
    return true;
}

/* -- The journal ------------------------------------------------------------------------ */

static void parse_entry(struct json_object *object, const char *cursor, struct journal_events *events)
{
    CLEANUP_FREE char *id = NULL;
    CLEANUP_FREE char *own_cursor = NULL;
    struct journal_event event = {0};
    if (!take_field(object, "MESSAGE_ID", &id) || !id) {
        return;
    }
    while (event.kind < EVENT_COUNT && strcmp(log_event_id(event.kind), id) != 0) {
        event.kind++;
    }
    if (event.kind == EVENT_COUNT) {
        return;
    }
    if (cursor && take_field(object, "__CURSOR", &own_cursor) && own_cursor && strcmp(cursor, own_cursor) == 0) {
        events->first = events->count;
    }
    if (!parse_fields(object, &event)) {
        event_free(&event);
        events->unusable++;
        return;
    }
    events->items = memory_grow(events->items, events->count + 1, sizeof *events->items);
    events->items[events->count++] = event;
}

/* The object in a line; NULL: it is not one.  To be given to json_object_put(). */
static struct json_object *parse_line(const char *line, size_t length)
{
    struct json_tokener *tokener = json_tokener_new();
    struct json_object *object = tokener ? json_tokener_parse_ex(tokener, line, (int)length) : NULL;
    bool is_whole = tokener && json_tokener_get_error(tokener) == json_tokener_success &&
                    json_object_is_type(object, json_type_object);
    json_tokener_free(tokener);
    if (!is_whole) {
        json_object_put(object);
        return NULL;
    }
    return object;
}

int journal_events_parse(const char *text, size_t length, const char *cursor, struct journal_events *events,
                         struct error *err)
{
    size_t number = 0;
    struct journal_events found = {.first = SIZE_MAX};
    for (size_t at = 0; at < length;) {
        const char *end = memchr(text + at, '\n', length - at);
        size_t size = end ? (size_t)(end - text) - at : length - at;
        struct json_object *object = size > 0 ? parse_line(text + at, size + 1) : NULL;
        number++;
        if (!object && size > 0) {
            journal_events_free(&found);
            return error_set(err, STATUS_HARDWARE, "line %zu of what journalctl printed is not a JSON object", number);
        }
        if (object) {
            parse_entry(object, cursor, &found);
            json_object_put(object);
        }
        at += size + 1;
    }
    found.first = !cursor ? 0 : found.first == SIZE_MAX ? found.count : found.first;
    *events = found;
    return 0;
}

static const char all_fields[] = "MESSAGE,MESSAGE_ID,ICN_OPERATION,ICN_VM_UUID,ICN_VM_NAME,ICN_KIND,ICN_CARDS,"
                                 "ICN_LINKS_CUT,ICN_LINKS_OPENED,ICN_LINKS_FAILED,ICN_CALLER_UID,ICN_CALLER_LOGINUID,"
                                 "ICN_STATUS,ICN_DURATION_USEC,_BOOT_ID";

/* Events of KIND; EVENT_COUNT: of every kind.  OPTIONS, up to two, say which of them. */
static int run_journalctl(enum log_event kind, const char *const options[2], const char *fields, struct buffer *answer,
                          struct error *err)
{
    enum { FIXED = 10 };
    char matches[EVENT_COUNT][sizeof "MESSAGE_ID=" + 32];
    CLEANUP_FREE char *program = paths_resolve("/usr/bin/journalctl");
    CLEANUP_FREE char *fields_option = text_join("--output-fields=", fields);
    char *argv[FIXED + EVENT_COUNT] = {program,      "--output=json", "--all", "--quiet",
                                       "--no-pager", fields_option,   "_UID=0"};
    size_t count = 7;
    for (int i = 0; i < 2; i++) {
        if (options[i]) {
            argv[count++] = (char *)(uintptr_t)options[i];
        }
    }
    for (enum log_event event = 0; event < EVENT_COUNT; event++) {
        if (kind == EVENT_COUNT || kind == event) {
            snprintf(matches[event], sizeof matches[event], "MESSAGE_ID=%s", log_event_id(event));
            argv[count++] = matches[event];
        }
    }
    if (access(program, X_OK) < 0) {
        return error_set(err, STATUS_HARDWARE,
                         "there is no %s to read the journal with; where syslog has the log, its lines begin with "
                         "icn-hook",
                         program);
    }
    if (spawn_capture(argv, deadline_after_ms(JOURNALCTL_MS), answer, err) < 0) {
        bool is_time = strstr(err->text, "parse timestamp");
        err->status = is_time ? STATUS_INVALID : err->status;
        return is_time
                   ? error_append(err, "; write times as journalctl does, such as yesterday or \"2026-11-24 09:00\"")
                   : -1;
    }
    /* Its last line ends in a line break, and more than can be held is cut anywhere. */
    if (answer->length >= ANSWER_LIMIT) {
        buffer_free(answer);
        return error_set(err, STATUS_BUSY,
                         "the journal has more than 16 MiB of events; ask for less with --until, or "
                         "remove old ones with journalctl --vacuum-time");
    }
    return 0;
}

/* As journald writes it: without dashes. */
static void read_boot(char boot[BOOT_TEXT_SIZE])
{
    char word[64];
    size_t used = 0;
    CLEANUP_FREE char *path = paths_resolve("%s", PATH_BOOT_ID);
    if (file_read_word_at(AT_FDCWD, path, word, sizeof word)) {
        for (const char *at = word; *at && used < BOOT_TEXT_SIZE - 1; at++) {
            if (*at != '-') {
                boot[used++] = *at;
            }
        }
    }
    boot[used] = '\0';
}

static int check_there_is_a_journal(struct error *err)
{
    CLEANUP_FREE char *kept = paths_resolve("/var/log/journal");
    CLEANUP_FREE char *volatile_one = paths_resolve("/run/log/journal");
    if (access(kept, F_OK) < 0 && access(volatile_one, F_OK) < 0) {
        return error_set(err, STATUS_HARDWARE,
                         "this host keeps no journal (there is neither %s nor %s); where syslog has the log, its lines "
                         "begin with icn-hook",
                         kept, volatile_one);
    }
    return 0;
}

/* All that OPTIONS leave; CURSOR as for journal_events_parse. */
static int read_events(enum log_event kind, const char *const options[2], const char *cursor,
                       struct journal_events *events, struct error *err)
{
    struct buffer answer = {0};
    struct journal_events found = {0};
    if (run_journalctl(kind, options, all_fields, &answer, err) < 0) {
        return -1;
    }
    int result = journal_events_parse(answer.data, answer.length, cursor, &found, err);
    buffer_free(&answer);
    if (result == 0) {
        read_boot(found.boot);
        *events = found;
    }
    return result;
}

int journal_events_read(const char *since, const char *until, struct journal_events *events, struct error *err)
{
    struct buffer answer = {0};
    CLEANUP_FREE char *since_option = text_join("--since=", since ? since : "");
    CLEANUP_FREE char *until_option = text_join("--until=", until ? until : "");
    CLEANUP_FREE char *cursor = NULL;
    const char *const of_the_time[2] = {since_option, until ? until_option : NULL};
    const char *const from_the_first[2] = {NULL, of_the_time[1]};
    if (check_there_is_a_journal(err) < 0) {
        return -1;
    }
    if (since) {
        if (run_journalctl(EVENT_COUNT, of_the_time, "MESSAGE_ID", &answer, err) < 0) {
            return -1;
        }
        const char *end = answer.length > 0 ? memchr(answer.data, '\n', answer.length) : NULL;
        struct json_object *object = end ? parse_line(answer.data, (size_t)(end - answer.data) + 1) : NULL;
        bool is_fine = answer.length == 0 || (object && take_field(object, "__CURSOR", &cursor) && cursor);
        json_object_put(object);
        buffer_free(&answer);
        if (!is_fine) {
            return error_set(err, STATUS_HARDWARE,
                             "line 1 of what journalctl printed is not a JSON object with a cursor");
        }
    }
    return read_events(EVENT_COUNT, from_the_first, since ? (cursor ? cursor : "") : NULL, events, err);
}

int journal_events_read_boot(enum log_event kind, bool only_newest, struct journal_events *events, struct error *err)
{
    const char *const options[2] = {"--boot", only_newest ? "--lines=1" : NULL};
    return check_there_is_a_journal(err) < 0 ? -1 : read_events(kind, options, NULL, events, err);
}
