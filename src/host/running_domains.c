/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation: libvirt writes a status file to NAME.xml.new and renames
 * it, and removes it when its domain is gone, so a file that is there is whole,
 * and one that was listed may have vanished.  A name that begins with a dot is
 * a domain's as any other.  The directory also holds pid files, sockets and
 * directories (autostart, dump, channel, …), none of which ends in ".xml".
 */
#include "host/running_domains.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/paths.h"
#include "host/process.h"

static int is_status_name(const struct dirent *entry)
{
    static const char suffix[] = ".xml";
    size_t length = strlen(entry->d_name);
    return length >= sizeof suffix && strcmp(entry->d_name + length - (sizeof suffix - 1), suffix) == 0;
}

static int compare_names(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

/* 1: read; 0: the file is gone; -1: it cannot be used. */
static int read_status_file(int directory, const char *name, const char *path, struct buffer *text, struct error *err)
{
    struct stat facts;
    CLEANUP_FD int fd = openat(directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) {
        int number = errno;
        return number == ENOENT ? 0 : error_set_errno(err, STATUS_HARDWARE, number, "cannot open %s", path);
    }
    if (fstat(fd, &facts) != 0 || !S_ISREG(facts.st_mode)) {
        return error_set(err, STATUS_INVALID, "%s is not a regular file", path);
    }
    return file_read_fd(fd, path, DOMAIN_XML_LIMIT, NO_DEADLINE, text, err) == 0 ? 1 : -1;
}

/* 1: DOMAIN is filled; 0: the file is gone; -1: it cannot be used. */
static int load_domain(int directory, const char *name, const char *path, struct domain *domain, struct error *err)
{
    struct buffer text = {0};
    int result = read_status_file(directory, name, path, &text, err);
    if (result <= 0) {
        return result;
    }
    result = domain_parse(text.data, text.length, path, domain, err);
    buffer_free(&text);
    if (result != 0) {
        return -1;
    }
    if (domain->pid == 0) {
        domain_free(domain);
        return error_set(err, STATUS_INVALID, "%s: it names no process (<domstatus pid=…>)", path);
    }
    return 1;
}

static void add_domain(struct running_domains *running, int directory, const char *path_of_directory, const char *name)
{
    CLEANUP_FREE char *path = paths_resolve("%s/%s", path_of_directory, name);
    struct domain domain = {0};
    struct error err;
    int result = load_domain(directory, name, path, &domain, &err);
    if (result < 0) {
        text_list_add(&running->warnings, "%s", err.text);
    }
    if (result <= 0) {
        return;
    }
    running->domains = memory_grow(running->domains, running->count + 1, sizeof *running->domains);
    running->domains[running->count++] = domain;
}

/* Every status file, whether its process lives or not. */
static int load_all(struct running_domains *running, struct error *err)
{
    CLEANUP_FREE char *path = paths_resolve("%s", PATH_LIBVIRT_STATUS);
    CLEANUP_FD int directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct running_domains result = {0};
    struct dirent **names = NULL;
    if (directory < 0) {
        int number = errno;
        if (number != ENOENT) {
            return error_set_errno(err, STATUS_HARDWARE, number, "cannot open libvirt's directory %s", path);
        }
        *running = result;
        return 0;
    }
    int count = scandirat(directory, ".", &names, is_status_name, compare_names);
    if (count < 0) {
        int number = errno;
        return error_set_errno(err, STATUS_HARDWARE, number, "cannot read libvirt's directory %s", path);
    }
    for (int i = 0; i < count; i++) {
        add_domain(&result, directory, path, names[i]->d_name);
        free(names[i]);
    }
    free(names);
    *running = result;
    return 0;
}

int running_domains_load(struct running_domains *running, struct error *err)
{
    struct running_domains all = {0};
    if (load_all(&all, err) < 0) {
        return -1;
    }
    size_t kept = 0;
    for (size_t i = 0; i < all.count; i++) {
        if (process_pid_exists(all.domains[i].pid)) {
            all.domains[kept++] = all.domains[i];
        } else {
            domain_free(&all.domains[i]);
        }
    }
    all.count = kept;
    *running = all;
    return 0;
}

int running_domains_find(const char *uuid, struct domain *domain, struct error *err)
{
    struct running_domains all = {0};
    int found = 0;
    if (load_all(&all, err) < 0) {
        return -1;
    }
    for (size_t i = 0; i < all.count && !found; i++) {
        if (strcmp(all.domains[i].uuid, uuid) == 0) {
            *domain = all.domains[i];
            all.domains[i] = (struct domain){0};
            found = 1;
        }
    }
    running_domains_free(&all);
    return found;
}

void running_domains_free(struct running_domains *running)
{
    for (size_t i = 0; i < running->count; i++) {
        domain_free(&running->domains[i]);
    }
    free(running->domains);
    text_list_free(&running->warnings);
    *running = (struct running_domains){0};
}
