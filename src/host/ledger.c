/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The files of the ledger's directory, which ledger_open() has opened, locked
 * and found to be ours:
 *
 *   lock             see ledger_lock.c
 *   UUID.json        an entry; replaced by rename, so old or new, never torn
 *   enabled-BDF      empty: memory decoding of that card is switched on by us
 *   .NAME.PID.tmp    an entry being written, or what a killed writer left
 *
 * Everything is reached through the directory's descriptor and without
 * following symlinks.  A file that is not what its name says is a fault of its
 * own and never hides the other entries: its cards are in doubt, theirs not.
 */
#include "host/ledger.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/paths.h"
#include "host/ledger_directory.h"

enum { ENTRY_LIMIT = 1 << 20, ENTRY_NAME_SIZE = UUID_SIZE + sizeof ".json" - 1 };

static const char note_prefix[] = "enabled-";
enum { NOTE_NAME_SIZE = sizeof note_prefix - 1 + BDF_TEXT_SIZE };

static bool is_canonical(const char *uuid)
{
    char canonical[UUID_SIZE];
    return text_parse_uuid(uuid, canonical) && strcmp(uuid, canonical) == 0;
}

/* "UUID.json" */
static bool parse_entry_name(const char *name, char uuid[UUID_SIZE])
{
    char text[UUID_SIZE];
    if (strlen(name) != ENTRY_NAME_SIZE - 1 || strcmp(name + UUID_SIZE - 1, ".json") != 0) {
        return false;
    }
    snprintf(text, sizeof text, "%.*s", UUID_SIZE - 1, name);
    if (!is_canonical(text)) {
        return false;
    }
    memcpy(uuid, text, sizeof text);
    return true;
}

/* Whoever writes must hold the lock, and UUID becomes a file's name. */
static int check_change(const struct ledger *ledger, const char *uuid, struct error *err)
{
    if (ledger->lockfd == -1) {
        return error_set(err, STATUS_HARDWARE, "the ledger is not locked for a change");
    }
    if (uuid && !is_canonical(uuid)) {
        return error_set(err, STATUS_INVALID, "\"%s\" is not a canonical UUID", uuid);
    }
    return 0;
}

static int change_failed(int number, const char *what, const char *name, struct error *err)
{
    CLEANUP_FREE char *path = paths_resolve(PATH_LEDGER "/%s", name);
    return error_set_errno(err, STATUS_HARDWARE, number, "cannot %s %s", what, path);
}

/* 1: the file is gone. */
static int read_entry_file(int dirfd, const char *name, const char *path, struct buffer *content, struct error *err)
{
    struct stat facts;
    CLEANUP_FD int fd = openat(dirfd, name, O_RDONLY | LEDGER_OPEN_FLAGS);
    if (fd < 0) {
        int number = errno;
        return number == ENOENT ? 1 : ledger_open_failed(number, path, err);
    }
    if (fstat(fd, &facts) != 0) {
        return error_set_errno(err, STATUS_HARDWARE, errno, "cannot examine %s", path);
    }
    if (ledger_check_ours(&facts, S_IFREG, path, err) < 0) {
        return -1;
    }
    return file_read_fd(fd, path, ENTRY_LIMIT, NO_DEADLINE, content, err);
}

/* 1: the file is gone. */
static int read_entry(const struct ledger *ledger, const char *name, const char *uuid, struct ledger_entry *entry,
                      struct error *err)
{
    struct buffer content = {0};
    struct ledger_entry parsed;
    CLEANUP_FREE char *path = paths_resolve(PATH_LEDGER "/%s", name);

    int result = read_entry_file(ledger->dirfd, name, path, &content, err);
    if (result == 0) {
        result = ledger_entry_parse(content.data, content.length, path, ledger->boot_id, &parsed, err);
        buffer_free(&content);
        if (result == 0 && strcmp(parsed.uuid, uuid) != 0) {
            result = error_set(err, STATUS_INVALID, "%s: it is the entry of %s", path, parsed.uuid);
            ledger_entry_free(&parsed);
        }
    }
    if (result < 0) {
        return error_set(err, err->status, "%s; if no such VM runs, remove the file", err->text);
    }
    if (result == 0) {
        *entry = parsed;
    }
    return result;
}

static void add_fault(struct ledger_content *content, const char *uuid, const struct error *error)
{
    content->faults = memory_grow(content->faults, content->fault_count + 1, sizeof *content->faults);
    struct ledger_fault *fault = &content->faults[content->fault_count++];
    *fault = (struct ledger_fault){.error = *error};
    memcpy(fault->uuid, uuid, strlen(uuid) + 1);
}

static void read_name(const struct ledger *ledger, const char *name, struct ledger_content *content)
{
    char uuid[UUID_SIZE];
    struct ledger_entry entry;
    struct error error;

    if (name[0] == '.' || strcmp(name, "lock") == 0 || strncmp(name, note_prefix, strlen(note_prefix)) == 0) {
        return;
    }
    if (!parse_entry_name(name, uuid)) {
        CLEANUP_FREE char *path = paths_resolve(PATH_LEDGER "/%s", name);
        error_set(&error, STATUS_INVALID, "%s is no file of icn-hook; remove it", path);
        add_fault(content, "", &error);
        return;
    }
    int result = read_entry(ledger, name, uuid, &entry, &error);
    if (result < 0) {
        add_fault(content, uuid, &error);
    } else if (result == 0) {
        content->entries = memory_grow(content->entries, content->entry_count + 1, sizeof *content->entries);
        content->entries[content->entry_count++] = entry;
    }
}

int ledger_read(const struct ledger *ledger, struct ledger_content *content, struct error *err)
{
    struct ledger_names names = {0};
    struct ledger_content found = {0};

    if (ledger->dirfd != -1 && ledger_list(ledger->dirfd, &names, err) < 0) {
        return -1;
    }
    for (size_t i = 0; i < names.count; i++) {
        read_name(ledger, names.items[i], &found);
    }
    ledger_names_free(&names);
    *content = found;
    return 0;
}

void ledger_content_free(struct ledger_content *content)
{
    for (size_t i = 0; i < content->entry_count; i++) {
        ledger_entry_free(&content->entries[i]);
    }
    free(content->entries);
    free(content->faults);
    *content = (struct ledger_content){0};
}

/* An entry that could not be read back would block its cards, so it is never
 * written. */
static int check_readable(const char *text, const char *boot_id, const char *name, struct error *err)
{
    struct ledger_entry entry;
    size_t length = strlen(text);
    if (length > ENTRY_LIMIT) {
        return error_set(err, STATUS_INVALID, "the ledger's entry %s would have %zu bytes, more than %d", name, length,
                         ENTRY_LIMIT);
    }
    if (ledger_entry_parse(text, length, name, boot_id, &entry, err) < 0) {
        return error_wrap(err, "an invalid ledger entry is not written");
    }
    ledger_entry_free(&entry);
    return 0;
}

int ledger_write(const struct ledger *ledger, const struct ledger_entry *entry, struct error *err)
{
    char name[ENTRY_NAME_SIZE];
    if (check_change(ledger, entry->uuid, err) < 0) {
        return -1;
    }
    snprintf(name, sizeof name, "%s.json", entry->uuid);
    CLEANUP_FREE char *text = ledger_entry_format(entry, ledger->boot_id);
    if (check_readable(text, ledger->boot_id, name, err) < 0) {
        return -1;
    }
    if (file_replace_at(ledger->dirfd, name, text, strlen(text), 0600, err) < 0) {
        CLEANUP_FREE char *path = paths_resolve(PATH_LEDGER);
        return error_set(err, err->status, "%s: %s; make sure that it is writable and has room", path, err->text);
    }
    return 0;
}

int ledger_remove(const struct ledger *ledger, const char *uuid, struct error *err)
{
    char name[ENTRY_NAME_SIZE];
    if (check_change(ledger, uuid, err) < 0) {
        return -1;
    }
    snprintf(name, sizeof name, "%s.json", uuid);
    if (unlinkat(ledger->dirfd, name, 0) != 0 && errno != ENOENT) {
        return change_failed(errno, "remove", name, err);
    }
    return 0;
}

static void format_note_name(struct bdf bdf, char name[NOTE_NAME_SIZE])
{
    char text[BDF_TEXT_SIZE];
    snprintf(name, NOTE_NAME_SIZE, "%s%s", note_prefix, bdf_format(bdf, text));
}

int ledger_note_enabled(const struct ledger *ledger, struct bdf bdf, struct error *err)
{
    char name[NOTE_NAME_SIZE];
    if (check_change(ledger, NULL, err) < 0) {
        return -1;
    }
    format_note_name(bdf, name);
    CLEANUP_FD int fd = openat(ledger->dirfd, name, O_WRONLY | O_CREAT | LEDGER_OPEN_FLAGS, 0600);
    return fd < 0 ? change_failed(errno, "create", name, err) : 0;
}

int ledger_forget_enabled(const struct ledger *ledger, struct bdf bdf, struct error *err)
{
    char name[NOTE_NAME_SIZE];
    if (check_change(ledger, NULL, err) < 0) {
        return -1;
    }
    format_note_name(bdf, name);
    if (unlinkat(ledger->dirfd, name, 0) != 0 && errno != ENOENT) {
        return change_failed(errno, "remove", name, err);
    }
    return 0;
}

int ledger_enabled_notes(const struct ledger *ledger, struct bdf **functions, size_t *count, struct error *err)
{
    struct ledger_names names = {0};
    struct bdf *found = NULL;
    size_t found_count = 0;

    if (ledger->dirfd != -1 && ledger_list(ledger->dirfd, &names, err) < 0) {
        return -1;
    }
    for (size_t i = 0; i < names.count; i++) {
        struct bdf bdf;
        const char *name = names.items[i];
        if (strncmp(name, note_prefix, strlen(note_prefix)) == 0 && bdf_parse(name + strlen(note_prefix), &bdf)) {
            found = memory_grow(found, found_count + 1, sizeof *found);
            found[found_count++] = bdf;
        }
    }
    ledger_names_free(&names);
    *functions = found;
    *count = found_count;
    return 0;
}
