/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The files of the configuration: FILE, then FILE.d / *.conf in the order of their names.  The path
 * of a drop-in is the same text each time it is named, so places in two files are told apart by it.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/file.h"
#include "base/memory.h"
#include "host/settings_reading.h"

enum { FILE_LIMIT = 1 << 20 };

static bool is_drop_in(const char *name)
{
    size_t length = strlen(name);
    return name[0] != '.' && length > strlen(".conf") && strcmp(name + length - strlen(".conf"), ".conf") == 0;
}

/* A drop-in that is taken to hold TEXT, or, with NULL, not to be there; PATH is owned.  NULL: none. */
struct assumed_file {
    char *path;
    const char *text;
};

/* PATH and its drop-ins, each with its whole path. */
static int list_settings_files(const char *path, const struct assumed_file *assumed, struct text_list *files,
                               struct error *err)
{
    struct text_list names = {0};
    struct text_list found = {0};
    bool missing = false;
    bool is_due = assumed && assumed->text;
    CLEANUP_FREE char *directory = text_join(path, ".d");
    text_list_add_copy(&found, path);
    if (file_list(directory, &names, &missing, err) < 0 && !missing) {
        text_list_free(&found);
        return -1;
    }
    for (size_t i = 0; !missing && i < names.count; i++) {
        if (is_drop_in(names.items[i])) {
            CLEANUP_FREE char *beginning = text_join(directory, "/");
            CLEANUP_FREE char *file = text_join(beginning, names.items[i]);
            int order = assumed ? strcmp(file, assumed->path) : -1;
            if (is_due && order >= 0) {
                text_list_add_copy(&found, assumed->path);
                is_due = false;
            }
            if (order != 0) {
                text_list_add_copy(&found, file);
            }
        }
    }
    if (is_due) {
        text_list_add_copy(&found, assumed->path);
    }
    text_list_free(&names);
    if (found.count > DROP_IN_MAX + 1) {
        error_set(err, STATUS_INVALID, "%s has %zu files *.conf, more than %d", directory, found.count - 1,
                  DROP_IN_MAX);
        text_list_free(&found);
        return -1;
    }
    *files = found;
    return 0;
}

/* Only the first file, the main one, may be missing. */
static int read_settings_files(struct settings_reading *reading, const struct text_list *files,
                               const struct assumed_file *assumed)
{
    for (size_t i = 0; i < files->count; i++) {
        struct buffer content = {0};
        bool missing = false;
        reading->file = files->items[i];
        reading->order = (int)i;
        if (assumed && strcmp(files->items[i], assumed->path) == 0) {
            if (!settings_read_text(reading, assumed->text, strlen(assumed->text))) {
                return -1;
            }
            continue;
        }
        if (file_read(files->items[i], FILE_LIMIT, &content, &missing, reading->err) < 0) {
            if (missing && i == 0) {
                continue;
            }
            return -1;
        }
        bool is_fine = settings_read_text(reading, content.data, content.length);
        buffer_free(&content);
        if (!is_fine) {
            return -1;
        }
    }
    return settings_check(reading) ? 0 : -1;
}

static int finish_reading(struct settings_reading *reading, int result, struct settings *settings)
{
    settings_reading_free(reading);
    if (result < 0) {
        settings_free(reading->settings);
        return -1;
    }
    *settings = *reading->settings;
    return 0;
}

int settings_parse(const char *text, size_t length, const char *name, struct settings *settings, struct error *err)
{
    CLEANUP_FREE struct settings *parsed = memory_alloc(1, sizeof *parsed);
    struct settings_reading reading = {.settings = parsed, .err = err, .file = name};
    settings_default(parsed);
    bool is_fine = settings_read_text(&reading, text, length) && settings_check(&reading);
    return finish_reading(&reading, is_fine ? 0 : -1, settings);
}

static int load_files(const char *path, const struct assumed_file *assumed, struct settings *settings,
                      struct error *err)
{
    CLEANUP_FREE struct settings *parsed = memory_alloc(1, sizeof *parsed);
    struct settings_reading reading = {.settings = parsed, .err = err};
    struct text_list files;
    if (list_settings_files(path, assumed, &files, err) < 0) {
        return -1;
    }
    settings_default(parsed);
    int result = finish_reading(&reading, read_settings_files(&reading, &files, assumed), settings);
    text_list_free(&files);
    return result;
}

int settings_load(const char *path, struct settings *settings, struct error *err)
{
    return load_files(path, NULL, settings, err);
}

int settings_load_with(const char *path, const char *name, const char *text, struct settings *settings,
                       struct error *err)
{
    CLEANUP_FREE char *directory = text_join(path, ".d/");
    CLEANUP_FREE char *file = text_join(directory, name);
    return load_files(path, &(struct assumed_file){file, text}, settings, err);
}

static bool take_map_line(void *user, const struct settings_line *line)
{
    struct settings_reading *reading = user;
    if (line->problem) {
        return settings_refuse(reading, line->number, "%s", line->problem);
    }
    if (strcmp(line->section, "map") != 0 && (!line->key || line->section[0] != '\0')) {
        return settings_refuse(reading, line->number, "[%s] is not a part of a map, which has lines \"id = BDF\" only",
                               line->section);
    }
    return !line->key || settings_take_pin(reading, line);
}

int settings_load_map(const char *path, struct settings_map_file *file, struct error *err)
{
    CLEANUP_FREE struct settings *parsed = memory_alloc(1, sizeof *parsed);
    struct settings_reading reading = {.settings = parsed, .err = err, .file = path};
    struct settings_map_file found = {0};
    struct buffer content = {0};
    if (file_read(path, FILE_LIMIT, &content, NULL, err) < 0) {
        return -1;
    }
    settings_lines_read(content.data, content.length, take_map_line, &reading);
    for (size_t i = 0; i < content.length; i++) {
        found.last_line += content.data[i] == '\n' || i + 1 == content.length;
    }
    buffer_free(&content);
    if (!reading.failed && parsed->map_count == 0) {
        settings_refuse(&reading, found.last_line > 0 ? found.last_line : 1, "there is no line \"id = BDF\" in it");
    }
    if (!reading.failed) {
        found.count = parsed->map_count;
        found.map = parsed->map;
        found.lines = memory_alloc((size_t)found.count, sizeof *found.lines);
        for (int i = 0; i < found.count; i++) {
            found.lines[i] = reading.pins[i].line;
        }
        parsed->map = NULL;
        *file = found;
    }
    settings_reading_free(&reading);
    settings_free(parsed);
    return reading.failed ? -1 : 0;
}

void settings_map_file_free(struct settings_map_file *file)
{
    free(file->map);
    free(file->lines);
    *file = (struct settings_map_file){0};
}

/* What one broken file still says about the match line. */
struct salvage {
    int valid; /* match lines in [ppu] that are fine */
    bool differ;
    bool broken;   /* a match line in [ppu] that is not */
    bool doubtful; /* something that could have been meant as a match line */
    char match[MATCH_SIZE];
};

static bool salvage_line(void *user, const struct settings_line *line)
{
    struct salvage *salvage = user;
    if (line->problem) {
        salvage->doubtful = true;
    } else if (line->key && strcmp(line->section, "ppu") == 0 && strcmp(line->key, "match") == 0) {
        char before[MATCH_SIZE];
        memcpy(before, salvage->match, sizeof before);
        if (settings_take_match(line->value, salvage->match)) {
            salvage->differ = salvage->differ || (salvage->valid > 0 && strcmp(before, salvage->match) != 0);
            salvage->valid++;
        } else {
            salvage->broken = true;
        }
    } else if (line->key) {
        /* A misspelt key is recognised by its value: a filter has a colon. */
        bool in_ppu = line->section[0] == '\0' || strcmp(line->section, "ppu") == 0;
        bool unknown = !settings_knows_key("ppu", line->key);
        bool may_mean_match = strcasecmp(line->key, "match") == 0 || (in_ppu && unknown && strchr(line->value, ':'));
        salvage->doubtful = salvage->doubtful || may_mean_match;
    }
    return true;
}

/* MATCH as the file says it, or as it was if it says nothing of it; false: it cannot be told. */
static bool salvage_file(const char *path, bool may_be_missing, char match[MATCH_SIZE])
{
    struct error ignored;
    struct buffer content = {0};
    bool missing = false;
    struct salvage salvage = {0};
    if (file_read(path, FILE_LIMIT, &content, &missing, &ignored) < 0) {
        return missing && may_be_missing;
    }
    memcpy(salvage.match, match, MATCH_SIZE);
    settings_lines_read(content.data, content.length, salvage_line, &salvage);
    buffer_free(&content);
    if (salvage.broken || salvage.differ || (salvage.valid == 0 && salvage.doubtful)) {
        return false;
    }
    memcpy(match, salvage.match, MATCH_SIZE);
    return true;
}

bool settings_salvage_match(const char *path, char match[MATCH_SIZE])
{
    struct settings settings;
    struct text_list files;
    struct error ignored;
    bool is_told = true;
    settings_default(&settings);
    if (list_settings_files(path, NULL, &files, &ignored) < 0) {
        return false;
    }
    for (size_t i = 0; is_told && i < files.count; i++) {
        is_told = salvage_file(files.items[i], i == 0, settings.match);
    }
    text_list_free(&files);
    if (is_told) {
        memcpy(match, settings.match, MATCH_SIZE);
    }
    return is_told;
}
