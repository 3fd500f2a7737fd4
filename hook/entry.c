/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "hook/entry.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/paths.h"
#include "hook/plain.h"
#include "hook/tell.h"

enum { UUID_DIGITS = 32, UUID_TEXT_SIZE = 37 };

/* A path under the ledger's directory; false if it is too long to exist. */
static bool ledger_path(char path[PATH_MAX], const char *rest)
{
    const char *sysroot = tell_sysroot();
    return snprintf(path, PATH_MAX, "%s%s%s", sysroot ? sysroot : "", PATH_LEDGER, rest) < PATH_MAX;
}

static bool is_hexadecimal(char byte)
{
    return (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'f') || (byte >= 'A' && byte <= 'F');
}

/* The content of the first <uuid>, in the spellings that libvirt's
 * virUUIDParse takes, as the ledger's files are named. */
static bool first_uuid(const char *text, size_t length, char uuid[UUID_TEXT_SIZE])
{
    static const char open[] = "<uuid>";
    const char *end = text + length;
    const char *at = memmem(text, length, open, sizeof open - 1);
    int digits = 0;
    size_t used = 0;
    if (!at) {
        return false;
    }
    for (at += sizeof open - 1; at < end && *at != '<'; at++) {
        if (*at == '-' || plain_is_blank(*at)) {
            continue;
        }
        if (!is_hexadecimal(*at) || digits == UUID_DIGITS) {
            return false;
        }
        if (digits == 8 || digits == 12 || digits == 16 || digits == 20) {
            uuid[used++] = '-';
        }
        uuid[used++] = *at >= 'A' && *at <= 'F' ? (char)(*at - 'A' + 'a') : *at;
        digits++;
    }
    uuid[used] = '\0';
    return digits == UUID_DIGITS;
}

/* No ledger: no entry.  The ledger is root's alone; to an ordinary user, whose
 * domains cannot be in it, it is closed. */
static bool means_no_entry(int number)
{
    return number == ENOENT || number == ENOTDIR || number == EACCES;
}

static bool any_entry_exists(const char *directory)
{
    DIR *stream = opendir(directory);
    bool found = false;

    if (!stream) {
        return !means_no_entry(errno);
    }
    for (const struct dirent *item = readdir(stream); item && !found; item = readdir(stream)) {
        size_t length = strlen(item->d_name);
        found = length > 5 && strcmp(item->d_name + length - 5, ".json") == 0;
    }
    closedir(stream);
    return found;
}

bool entry_may_exist(const char *text, size_t length)
{
    char path[PATH_MAX];
    char name[sizeof "/.json" + UUID_TEXT_SIZE] = "";
    char uuid[UUID_TEXT_SIZE];
    bool known = first_uuid(text, length, uuid);
    struct stat status;
    if (known) {
        snprintf(name, sizeof name, "/%s.json", uuid);
    }
    if (!ledger_path(path, name)) {
        return true;
    }
    return known ? lstat(path, &status) == 0 || !means_no_entry(errno) : any_entry_exists(path);
}
