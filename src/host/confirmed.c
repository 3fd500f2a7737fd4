/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/confirmed.h"

#include <errno.h>
#include <fcntl.h>
#include <json.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/paths.h"
#include "core/topology.h"
#include "host/state_files.h"
#include "host/strict_json.h"

#define CONFIRMED_FAMILY "icn-hook/confirmed/"
#define CONFIRMED_SCHEMA CONFIRMED_FAMILY "1"
#define CONFIRMED_FILE "confirmed.json"

enum { FILE_KEYS = 3, LINK_KEYS = 6, CONFIRMED_LIMIT = 1 << 24, DIRECTORY_MODE = 0755, FILE_MODE = 0644 };

static const char *const verdict_words[] = {[CONFIRM_CONFIRMED] = "confirmed",
                                            [CONFIRM_CONTRADICTED] = "contradicted",
                                            [CONFIRM_NO_WITNESS] = "no witness",
                                            NULL};

const char *confirm_verdict_text(enum confirm_verdict verdict)
{
    return verdict_words[verdict];
}

void confirmed_free(struct confirmed *confirmed)
{
    text_list_free(&confirmed->made_for);
    free(confirmed->links);
    confirmed->links = NULL;
    confirmed->count = 0;
}

static int parse_confirmed_link(const struct strict *strict, struct json_object *object, struct confirmed_link *link)
{
    int64_t ppu;
    int64_t index;
    int64_t peer = EXTERNAL_END;
    int verdict;
    if (!json_object_is_type(object, json_type_object)) {
        return strict_fail(strict, "a link is not a JSON object");
    }
    if (strict_number(strict, object, "ppu", 0, PPU_MAX - 1, &ppu) < 0 ||
        strict_number(strict, object, "link", 0, LINK_MAX - 1, &index) < 0 ||
        (!strict_is_null(object, "peer") && strict_number(strict, object, "peer", 0, PPU_MAX - 1, &peer) < 0) ||
        strict_word(strict, object, "verdict", verdict_words, &verdict) < 0 ||
        strict_boolean(strict, object, "down", &link->is_down) < 0 ||
        strict_number(strict, object, "at", 1, INT64_MAX, &link->at) < 0 ||
        strict_keys(strict, object, "a link", LINK_KEYS) < 0) {
        return -1;
    }
    link->ppu = (int)ppu;
    link->link = (int)index;
    link->peer = (int)peer;
    link->verdict = (enum confirm_verdict)verdict;
    return link->is_down && link->verdict != CONFIRM_NO_WITNESS
               ? strict_fail(strict, "a link that is down is %s", verdict_words[verdict])
               : 0;
}

static int parse_links(const struct strict *strict, struct json_object *object, struct confirmed *confirmed)
{
    struct json_object *list;
    if (strict_take(strict, object, "links", json_type_array, &list) < 0) {
        return -1;
    }
    size_t length = json_object_array_length(list);
    confirmed->links = memory_alloc(length + 1, sizeof *confirmed->links);
    while (confirmed->count < length) {
        struct confirmed_link *link = &confirmed->links[confirmed->count++];
        if (parse_confirmed_link(strict, json_object_array_get_idx(list, confirmed->count - 1), link) < 0) {
            return -1;
        }
        if (confirmed->count > 1 && link[-1].ppu * LINK_MAX + link[-1].link >= link->ppu * LINK_MAX + link->link) {
            return strict_fail(strict, "link %d of PPU %d is not in the order of links", link->link, link->ppu);
        }
    }
    return 0;
}

static int parse_made_for(const struct strict *strict, struct json_object *object, struct confirmed *confirmed)
{
    struct json_object *list;
    if (strict_take(strict, object, "made_for", json_type_array, &list) < 0) {
        return -1;
    }
    for (size_t i = 0; i < json_object_array_length(list); i++) {
        struct json_object *line = json_object_array_get_idx(list, i);
        const char *text = json_object_is_type(line, json_type_string) ? json_object_get_string(line) : NULL;
        if (!text || strlen(text) != (size_t)json_object_get_string_len(line)) { /* there may be more after a NUL */
            return strict_fail(strict, "a line of \"made_for\" is not a text");
        }
        text_list_add_copy(&confirmed->made_for, text);
    }
    return 0;
}

int confirmed_parse(const char *text, size_t length, const char *name, struct confirmed *confirmed, struct error *err)
{
    const struct strict strict = {.name = name, .err = err};
    struct json_object *object;
    const char *schema;
    struct confirmed parsed = {0};
    if (strict_parse(&strict, text, length, &object) < 0) {
        return -1;
    }
    int result = strict_text(&strict, object, "schema", &schema);
    if (result == 0 && strcmp(schema, CONFIRMED_SCHEMA) != 0) {
        result = strncmp(schema, CONFIRMED_FAMILY, strlen(CONFIRMED_FAMILY)) == 0
                     ? strict_fail(&strict, "it was written by another version of icn-hook (%.60s)", schema)
                     : strict_fail(&strict, "it is not a result of icn-hook confirm");
    }
    if (result == 0 && (parse_made_for(&strict, object, &parsed) < 0 || parse_links(&strict, object, &parsed) < 0 ||
                        strict_keys(&strict, object, "the result", FILE_KEYS) < 0)) {
        result = -1;
    }
    json_object_put(object);
    if (result < 0) {
        confirmed_free(&parsed);
        return -1;
    }
    *confirmed = parsed;
    return 0;
}

char *confirmed_format(const struct confirmed *confirmed)
{
    struct json_object *object = json_object_new_object();
    struct json_object *made_for = json_object_new_array();
    struct json_object *links = json_object_new_array();
    for (size_t i = 0; i < confirmed->made_for.count; i++) {
        json_object_array_add(made_for, json_object_new_string(confirmed->made_for.items[i]));
    }
    for (size_t i = 0; i < confirmed->count; i++) {
        const struct confirmed_link *link = &confirmed->links[i];
        struct json_object *entry = json_object_new_object();
        json_object_object_add(entry, "ppu", json_object_new_int(link->ppu));
        json_object_object_add(entry, "link", json_object_new_int(link->link));
        json_object_object_add(entry, "peer", link->peer == EXTERNAL_END ? NULL : json_object_new_int(link->peer));
        json_object_object_add(entry, "verdict", json_object_new_string(verdict_words[link->verdict]));
        json_object_object_add(entry, "down", json_object_new_boolean(link->is_down));
        json_object_object_add(entry, "at", json_object_new_int64(link->at));
        json_object_array_add(links, entry);
    }
    json_object_object_add(object, "schema", json_object_new_string(CONFIRMED_SCHEMA));
    json_object_object_add(object, "made_for", made_for);
    json_object_object_add(object, "links", links);
    char *text = memory_copy_text(
        json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
    json_object_put(object);
    return text;
}

int confirmed_load(struct confirmed *confirmed, bool *missing, struct error *err)
{
    CLEANUP_FREE char *path = paths_resolve(PATH_LIBRARY "/" CONFIRMED_FILE);
    CLEANUP_FD int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    int number = errno;
    struct buffer content = {0};
    struct stat facts;
    *missing = fd < 0 && number == ENOENT;
    if (*missing) {
        return error_set(err, STATUS_INVALID, "there is no %s", path);
    }
    if (fd < 0) {
        return state_open_failed(number, path, err);
    }
    if (fstat(fd, &facts) < 0) {
        return error_set_errno(err, STATUS_HARDWARE, errno, "cannot look at %s", path);
    }
    if (state_check_ours(&facts, S_IFREG, path, err) < 0 ||
        file_read_fd(fd, path, CONFIRMED_LIMIT, NO_DEADLINE, &content, err) < 0) {
        return -1;
    }
    int result = confirmed_parse(content.data, content.length, path, confirmed, err);
    buffer_free(&content);
    return result;
}

int confirmed_save(const struct confirmed *confirmed, struct error *err)
{
    static const char *const directories[] = {"/var", "/var/lib", PATH_LIBRARY};
    for (size_t i = 0; i < sizeof directories / sizeof directories[0]; i++) {
        CLEANUP_FREE char *directory = paths_resolve("%s", directories[i]);
        if (mkdir(directory, DIRECTORY_MODE) < 0 && errno != EEXIST) {
            return error_set_errno(err, STATUS_HARDWARE, errno, "cannot create %s", directory);
        }
    }
    CLEANUP_FREE char *path = paths_resolve(PATH_LIBRARY);
    CLEANUP_FD int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        return state_open_failed(errno, path, err);
    }
    CLEANUP_FREE char *text = confirmed_format(confirmed);
    return file_replace_at(fd, CONFIRMED_FILE, text, strlen(text), FILE_MODE, err) < 0 ? error_wrap(err, "%s", path)
                                                                                       : 0;
}
