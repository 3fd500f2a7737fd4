/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation: libvirt writes a status file to NAME.xml.new and renames
 * it, and removes it when its domain is gone, so a file that is there is whole,
 * and one that was listed may have vanished.  A name that begins with a dot is
 * a domain's as any other.  The directory also holds pid files, sockets and
 * directories (autostart, dump, channel, …), none of which ends in ".xml".
 *
 * A hook does this for every VM of the host, and has the lock meanwhile: one open,
 * one read, no parser for a VM without host device (status_file.c).
 */
#include "host/running_vms.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/paths.h"

/* What is used again for each file. */
struct status_reading {
    int directory;
    const char *path; /* of the directory */
    const struct text_list *wanted;
    char *text;      /* owned */
    size_t capacity; /* bytes at TEXT */
    size_t length;
};

static bool is_status_name(const char *name)
{
    static const char suffix[] = ".xml";
    size_t length = strlen(name);
    return length >= sizeof suffix && strcmp(name + length - (sizeof suffix - 1), suffix) == 0;
}

/* libvirt never changes a file in place, so one read gives all of it. */
static int read_whole(struct status_reading *reading, int fd, const char *path, struct error *err)
{
    struct stat facts;
    if (fstat(fd, &facts) < 0 || !S_ISREG(facts.st_mode)) {
        return error_set(err, STATUS_INVALID, "%s is not a regular file", path);
    }
    if (facts.st_size > DOMAIN_XML_LIMIT) {
        return error_set(err, STATUS_INVALID, "%s is larger than %d bytes", path, DOMAIN_XML_LIMIT);
    }
    size_t size = (size_t)facts.st_size;
    if (reading->capacity < size + 1) {
        reading->capacity = 2 * (size + 1);
        reading->text = memory_grow(reading->text, reading->capacity, 1);
    }
    ssize_t got = read(fd, reading->text, size + 1);
    if (got < 0) {
        int number = errno;
        return error_set_errno(err, STATUS_HARDWARE, number, "cannot read %s", path);
    }
    if ((size_t)got != size) {
        return error_set(err, STATUS_HARDWARE, "%s changed while it was read", path);
    }
    reading->length = size;
    return 0;
}

/* 1: the text is read; 0: the file is gone; -1: it cannot be used. */
static int read_status_file(struct status_reading *reading, const char *name, const char *path, struct error *err)
{
    CLEANUP_FD int fd = openat(reading->directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) {
        int number = errno;
        return number == ENOENT ? 0 : error_set_errno(err, STATUS_HARDWARE, number, "cannot open %s", path);
    }
    return read_whole(reading, fd, path, err) < 0 ? -1 : 1;
}

static bool is_wanted(const struct status_reading *reading, const char *uuid)
{
    return reading->wanted && text_list_has(reading->wanted, uuid);
}

static int parse_status_file(const struct status_reading *reading, const char *path, struct domain *domain,
                             struct error *err)
{
    if (domain_parse(reading->text, reading->length, path, domain, err) < 0) {
        return -1;
    }
    if (domain->pid == 0) {
        domain_free(domain);
        return error_set(err, STATUS_INVALID, "%s: it names no process (<domstatus pid=…>)", path);
    }
    return 0;
}

/* 1: VM is filled; 0: the file is gone; -1: it cannot be used. */
static int load_vm(struct status_reading *reading, const char *name, const char *path, struct running_vm *vm,
                   struct error *err)
{
    bool is_parsed = false;
    int result = read_status_file(reading, name, path, err);
    if (result <= 0) {
        return result;
    }
    if (!status_file_scan(reading->text, reading->length, &vm->domain) || is_wanted(reading, vm->domain.uuid)) {
        domain_free(&vm->domain);
        if (parse_status_file(reading, path, &vm->domain, err) < 0) {
            return -1;
        }
        is_parsed = true;
    }
    vm->process.pid = vm->domain.pid;
    vm->lives = is_parsed ? process_find(vm->domain.pid, &vm->process) : process_pid_exists(vm->domain.pid);
    return 1;
}

static void add_vm(struct running_vms *running, struct status_reading *reading, const char *name)
{
    CLEANUP_FREE char *path = paths_resolve("%s/%s", reading->path, name);
    struct running_vm vm = {0};
    struct error err;
    int result = load_vm(reading, name, path, &vm, &err);
    if (result < 0) {
        text_list_add(&running->warnings, "%s; its VM, and the cards that it has, are not known", err.text);
    }
    if (result <= 0) {
        return;
    }
    running->vms = memory_grow(running->vms, running->count + 1, sizeof *running->vms);
    running->vms[running->count++] = vm;
}

int running_vms_load(struct running_vms *running, const struct text_list *wanted, struct error *err)
{
    CLEANUP_FREE char *path = paths_resolve("%s", PATH_LIBVIRT_STATUS);
    CLEANUP_FD int directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct status_reading reading = {.directory = directory, .path = path, .wanted = wanted};
    struct running_vms result = {0};
    struct text_list names = {0};
    if (directory < 0) {
        int number = errno;
        if (number != ENOENT) {
            return error_set_errno(err, STATUS_HARDWARE, number, "cannot open libvirt's directory %s", path);
        }
        *running = result;
        return 0;
    }
    if (file_list_at(directory, path, &names, err) < 0) {
        return -1;
    }
    for (size_t i = 0; i < names.count; i++) {
        if (is_status_name(names.items[i])) {
            add_vm(&result, &reading, names.items[i]);
        }
    }
    text_list_free(&names);
    free(reading.text);
    *running = result;
    return 0;
}

const struct running_vm *running_vms_find(const struct running_vms *running, const char *uuid)
{
    const struct running_vm *found = NULL;
    for (size_t i = 0; i < running->count; i++) {
        const struct running_vm *vm = &running->vms[i];
        if (strcmp(vm->domain.uuid, uuid) == 0 && (!found || (vm->lives && !found->lives))) {
            found = vm;
        }
    }
    return found;
}

void running_vms_free(struct running_vms *running)
{
    for (size_t i = 0; i < running->count; i++) {
        domain_free(&running->vms[i].domain);
    }
    free(running->vms);
    text_list_free(&running->warnings);
    *running = (struct running_vms){0};
}
