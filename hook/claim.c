/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "hook/claim.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/paths.h"

bool claim_uuid(const char *text, size_t length, char uuid[UUID_SIZE])
{
    enum { SPELLING_SIZE = 128 };
    static const char tag[] = "<uuid>";
    char spelling[SPELLING_SIZE];
    const char *begin = memmem(text, length, tag, sizeof tag - 1);
    if (!begin) {
        return false;
    }
    begin += sizeof tag - 1;
    const char *end = memchr(begin, '<', length - (size_t)(begin - text));
    if (!end || end - begin >= SPELLING_SIZE) {
        return false;
    }
    memcpy(spelling, begin, (size_t)(end - begin));
    spelling[end - begin] = '\0';
    return text_parse_uuid(spelling, uuid);
}

/* No state: no claim.  The directory is root's alone; to an ordinary user, whose domains
 * cannot be in it, it is closed. */
static bool means_no_claim(int number)
{
    return number == ENOENT || number == ENOTDIR || number == EACCES;
}

static bool is_name_of_claim(const char *name)
{
    static const char end[] = ".json";
    char uuid[UUID_SIZE];
    size_t length = strlen(name);
    if (length != UUID_SIZE - 1 + sizeof end - 1 || strcmp(name + UUID_SIZE - 1, end) != 0) {
        return false;
    }
    CLEANUP_FREE char *start = memory_copy_text(name);
    start[UUID_SIZE - 1] = '\0';
    return text_parse_uuid(start, uuid);
}

/* For a domain that cannot be told by its uuid. */
static bool any_claim_exists(void)
{
    struct text_list names = {0};
    struct error unused;
    CLEANUP_FREE char *path = paths_resolve(PATH_STATE);
    CLEANUP_FD int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool found = false;
    if (fd < 0) {
        return !means_no_claim(errno);
    }
    if (file_list_at(fd, path, &names, &unused) < 0) {
        return true;
    }
    for (size_t i = 0; i < names.count && !found; i++) {
        found = is_name_of_claim(names.items[i]);
    }
    text_list_free(&names);
    return found;
}

bool claim_may_exist(const char *text, size_t length)
{
    char uuid[UUID_SIZE];
    struct stat facts;
    if (!claim_uuid(text, length, uuid)) {
        return any_claim_exists();
    }
    CLEANUP_FREE char *path = paths_resolve(PATH_STATE "/%s.json", uuid);
    return lstat(path, &facts) == 0 || !means_no_claim(errno);
}
