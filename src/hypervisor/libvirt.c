/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation.  Only this file uses libvirt.  A process of its own loads the
 * library, so that neither program needs it to start, asks, and writes the answer to a
 * pipe; this one reads until the end or the deadline, and then kills it.  So a daemon that
 * hangs, libvirt's threads, and what it prints stay out of our way.  The first byte says
 * whether an answer or a reason follows; without it the process died.
 */
#include "hypervisor/libvirt.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/memory.h"

#ifdef HAVE_LIBVIRT
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>
#endif

enum { DEADLINE_MS = 5000, ANSWER_LIMIT = 256 << 20 };
enum { ANSWER = 'a', REASON = 'r' };

/* What a question to libvirt comes down to, in the process that loads it. */
struct question {
    const char *uri;
    const char *name; /* the domain to describe; NULL: all that run */
};

#ifdef HAVE_LIBVIRT

/* The functions of libvirt that are used. */
struct library {
    __typeof__(virConnectOpenReadOnly) *connect;
    __typeof__(virConnectClose) *close;
    __typeof__(virDomainLookupByName) *look_up;
    __typeof__(virConnectListAllDomains) *list;
    __typeof__(virDomainGetName) *name;
    __typeof__(virDomainGetUUIDString) *uuid;
    __typeof__(virDomainGetXMLDesc) *xml;
    __typeof__(virDomainFree) *release;
    __typeof__(virGetLastErrorMessage) *message;
    __typeof__(virSetErrorFunc) *set_error_handler;
};

static const struct {
    const char *name;
    size_t offset;
} libvirt_symbols[] = {
    {"virConnectOpenReadOnly", offsetof(struct library, connect)},
    {"virConnectClose", offsetof(struct library, close)},
    {"virDomainLookupByName", offsetof(struct library, look_up)},
    {"virConnectListAllDomains", offsetof(struct library, list)},
    {"virDomainGetName", offsetof(struct library, name)},
    {"virDomainGetUUIDString", offsetof(struct library, uuid)},
    {"virDomainGetXMLDesc", offsetof(struct library, xml)},
    {"virDomainFree", offsetof(struct library, release)},
    {"virGetLastErrorMessage", offsetof(struct library, message)},
    {"virSetErrorFunc", offsetof(struct library, set_error_handler)},
};

static void libvirt_be_quiet(void *data, virErrorPtr error)
{
    (void)data;
    (void)error;
}

static int libvirt_load(struct library *library, FILE *answer)
{
    void *handle = dlopen("libvirt.so.0", RTLD_NOW | RTLD_LOCAL);
    if (!handle) {
        fprintf(answer, "libvirt is not installed: %s", dlerror());
        return -1;
    }
    for (size_t i = 0; i < sizeof libvirt_symbols / sizeof libvirt_symbols[0]; i++) {
        void *symbol = dlsym(handle, libvirt_symbols[i].name);
        if (!symbol) {
            fprintf(answer, "this libvirt has no %s", libvirt_symbols[i].name);
            return -1;
        }
        memcpy((char *)library + libvirt_symbols[i].offset, &symbol, sizeof symbol);
    }
    library->set_error_handler(NULL, libvirt_be_quiet);
    return 0;
}

static int libvirt_describe(const struct library *library, virDomainPtr domain, unsigned int flags, FILE *answer)
{
    char uuid[VIR_UUID_STRING_BUFLEN];
    char *xml = library->xml(domain, flags);
    bool is_fine = xml && library->uuid(domain, uuid) == 0;
    if (is_fine) {
        fprintf(answer, "%s%c%s%c%s%c", library->name(domain), '\0', uuid, '\0', xml, '\0');
    }
    free(xml);
    return is_fine ? 0 : -1;
}

static int libvirt_complain(const struct library *library, const struct question *question, FILE *answer)
{
    rewind(answer);
    fprintf(answer, "libvirt (%s): %s", question->uri, library->message());
    return -1;
}

static int libvirt_ask_for_one(const struct library *library, virConnectPtr connection, const struct question *question,
                               FILE *answer)
{
    virDomainPtr domain = library->look_up(connection, question->name);
    if (!domain) {
        return libvirt_complain(library, question, answer);
    }
    int result = libvirt_describe(library, domain, VIR_DOMAIN_XML_INACTIVE, answer);
    if (result < 0) {
        libvirt_complain(library, question, answer);
    }
    library->release(domain);
    return result;
}

/* A domain that ends meanwhile is none that runs. */
static int libvirt_ask_for_all(const struct library *library, virConnectPtr connection, const struct question *question,
                               FILE *answer)
{
    virDomainPtr *domains = NULL;
    int count = library->list(connection, &domains, VIR_CONNECT_LIST_DOMAINS_ACTIVE);
    if (count < 0) {
        return libvirt_complain(library, question, answer);
    }
    for (int i = 0; i < count; i++) {
        (void)libvirt_describe(library, domains[i], 0, answer);
        library->release(domains[i]);
    }
    free(domains);
    return 0;
}

/* Writes the answer to ANSWER: name, UUID and XML of each domain, each text with its zero
 * byte.  Returns 0, or -1 after the reason was written instead. */
static int libvirt_answer(const struct question *question, FILE *answer)
{
    struct library library;
    if (libvirt_load(&library, answer) < 0) {
        return -1;
    }
    virConnectPtr connection = library.connect(question->uri);
    if (!connection) {
        return libvirt_complain(&library, question, answer);
    }
    int result = question->name ? libvirt_ask_for_one(&library, connection, question, answer)
                                : libvirt_ask_for_all(&library, connection, question, answer);
    library.close(connection);
    return result;
}

#else

static int libvirt_answer(const struct question *question, FILE *answer)
{
    (void)question;
    fputs("this icn-hook was built without libvirt", answer);
    return -1;
}

#endif

/* Never returns. */
static void answer_in_child(const struct question *question, int fd)
{
    char *text = NULL;
    size_t length = 0;
    FILE *memory = open_memstream(&text, &length);
    FILE *out = fdopen(fd, "we");
    int silence = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (!memory || !out || silence < 0 || dup3(silence, STDOUT_FILENO, 0) < 0 || dup3(silence, STDERR_FILENO, 0) < 0) {
        _exit(1);
    }
    int result = libvirt_answer(question, memory);
    fclose(memory);
    fputc(result == 0 ? ANSWER : REASON, out);
    fwrite(text, 1, length, out);
    fclose(out);
    _exit(0);
}

static int libvirt_ask(const struct question *question, struct buffer *answer, struct error *err)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0) {
        return error_set_errno(err, STATUS_HARDWARE, errno, "cannot ask libvirt");
    }
    CLEANUP_FD int from = ends[0];
    pid_t child = fork();
    if (child == 0) {
        close(ends[0]);
        answer_in_child(question, ends[1]);
    }
    int number = errno;
    close(ends[1]);
    if (child < 0) {
        return error_set_errno(err, STATUS_HARDWARE, number, "cannot ask libvirt");
    }
    int result = file_read_fd(from, "libvirt's answer", ANSWER_LIMIT, deadline_after_ms(DEADLINE_MS), answer, err);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    if (result < 0 && err->status == STATUS_BUSY) {
        return error_set(err, STATUS_BUSY, "libvirt (%s) did not answer within %d s", question->uri,
                         DEADLINE_MS / 1000);
    }
    return result;
}

/* 0: what follows the first byte of ANSWER is one. */
static int libvirt_check(const struct question *question, struct buffer *answer, struct error *err)
{
    if (answer->length > 0 && answer->data[0] == ANSWER) {
        return 0;
    }
    if (answer->length > 0) {
        error_set(err, STATUS_HARDWARE, "%s", answer->data + 1);
    } else {
        error_set(err, STATUS_HARDWARE, "libvirt (%s) gave no answer", question->uri);
    }
    buffer_free(answer);
    return -1;
}

/* The next zero-terminated text, or NULL. */
static const char *next_text(const struct buffer *answer, size_t *position)
{
    if (*position >= answer->length) {
        return NULL;
    }
    const char *text = answer->data + *position;
    *position += strlen(text) + 1;
    return text;
}

static int compare_domain_names(const void *a, const void *b)
{
    return strcmp(((const struct libvirt_domain *)a)->name, ((const struct libvirt_domain *)b)->name);
}

/* Sorted: libvirt gives them in no order. */
static void split_answer(const struct buffer *answer, struct libvirt_domains *domains)
{
    size_t position = 1;
    const char *name;
    *domains = (struct libvirt_domains){0};
    while ((name = next_text(answer, &position))) {
        struct libvirt_domain domain = {.name = memory_copy_text(name)};
        const char *uuid = next_text(answer, &position);
        const char *xml = next_text(answer, &position);
        if (uuid && !text_parse_uuid(uuid, domain.uuid)) {
            domain.uuid[0] = '\0';
        }
        domain.xml = memory_copy_text(xml ? xml : "");
        domains->items = memory_grow(domains->items, domains->count + 1, sizeof *domains->items);
        domains->items[domains->count++] = domain;
    }
    if (domains->count > 1) {
        qsort(domains->items, domains->count, sizeof *domains->items, compare_domain_names);
    }
}

void libvirt_domains_free(struct libvirt_domains *domains)
{
    for (size_t i = 0; i < domains->count; i++) {
        free(domains->items[i].name);
        free(domains->items[i].xml);
    }
    free(domains->items);
    *domains = (struct libvirt_domains){0};
}

int libvirt_running(const char *uri, struct libvirt_domains *domains, struct error *err)
{
    const struct question question = {.uri = uri};
    struct buffer answer = {0};
    if (libvirt_ask(&question, &answer, err) < 0 || libvirt_check(&question, &answer, err) < 0) {
        return -1;
    }
    split_answer(&answer, domains);
    buffer_free(&answer);
    return 0;
}

int libvirt_domain_xml(const char *uri, const char *name, struct buffer *xml, struct error *err)
{
    const struct question question = {.uri = uri, .name = name};
    struct libvirt_domains domains;
    struct buffer answer = {0};
    if (libvirt_ask(&question, &answer, err) < 0 || libvirt_check(&question, &answer, err) < 0) {
        return -1;
    }
    split_answer(&answer, &domains);
    buffer_free(&answer);
    if (domains.count != 1) {
        libvirt_domains_free(&domains);
        return error_set(err, STATUS_HARDWARE, "libvirt (%s) gave no XML of '%s'", uri, name);
    }
    *xml = (struct buffer){.data = memory_copy_text(domains.items[0].xml), .length = strlen(domains.items[0].xml)};
    libvirt_domains_free(&domains);
    return 0;
}
