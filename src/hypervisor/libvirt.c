/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation.  Only this file uses libvirt.  A process of its own loads the
 * library, so that neither program needs it to start, asks, and writes the answer to a
 * pipe; this one reads until the end or the deadline, and then kills it.  So a daemon that
 * hangs, libvirt's threads, and what it prints stay out of our way.  The first byte says
 * whether an answer or a reason follows; without it the process died.
 *
 * What was asked to be attached or detached may be done although no answer comes: the daemon goes on
 * without us.  So a lost connection is told apart from a refusal, after which nothing has changed.
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
enum { ANSWER = 'a', REASON = 'r', NONE = 'n', LOST = 'l' };

/* What libvirt is asked for; from WISH_ATTACH on, to change something. */
enum wish { WISH_CONFIGURED, WISH_RUNNING, WISH_UUID, WISH_ATTACH, WISH_DETACH, WISH_TAKE, WISH_RETURN };

/* What a question to libvirt comes down to, in the process that loads it. */
struct question {
    enum wish wish;
    const char *uri;
    const char *name;   /* of the domain; WISH_RUNNING: all that run */
    const char *uuid;   /* its own, of WISH_ATTACH and WISH_DETACH */
    const char *device; /* likewise: the device's XML; WISH_TAKE and WISH_RETURN: libvirt's name of it */
    int64_t deadline;
};

#ifdef HAVE_LIBVIRT

/* The functions of libvirt that are used, and the names that they have here. */
#define LIBVIRT_FUNCTIONS(F)                                                                                           \
    F(connect, virConnectOpenReadOnly)                                                                                 \
    F(connect_to_change, virConnectOpen)                                                                               \
    F(close, virConnectClose)                                                                                          \
    F(is_connected, virConnectIsAlive)                                                                                 \
    F(look_up, virDomainLookupByName)                                                                                  \
    F(look_up_uuid, virDomainLookupByUUIDString)                                                                       \
    F(list, virConnectListAllDomains)                                                                                  \
    F(is_active, virDomainIsActive)                                                                                    \
    F(name, virDomainGetName)                                                                                          \
    F(uuid, virDomainGetUUIDString)                                                                                    \
    F(xml, virDomainGetXMLDesc)                                                                                        \
    F(attach, virDomainAttachDeviceFlags)                                                                              \
    F(detach, virDomainDetachDeviceFlags)                                                                              \
    F(release, virDomainFree)                                                                                          \
    F(look_up_device, virNodeDeviceLookupByName)                                                                       \
    F(take_device, virNodeDeviceDetachFlags)                                                                           \
    F(return_device, virNodeDeviceReAttach)                                                                            \
    F(release_device, virNodeDeviceFree)                                                                               \
    F(code, virGetLastErrorCode)                                                                                       \
    F(message, virGetLastErrorMessage)                                                                                 \
    F(set_error_handler, virSetErrorFunc)

#define LIBVIRT_MEMBER(name, function) __typeof__(function) *name;
#define LIBVIRT_SYMBOL(name, function) {#function, offsetof(struct library, name)},

struct library {
    LIBVIRT_FUNCTIONS(LIBVIRT_MEMBER)
};

static const struct {
    const char *name;
    size_t offset;
} libvirt_symbols[] = {LIBVIRT_FUNCTIONS(LIBVIRT_SYMBOL)};

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

static char libvirt_complain(const struct library *library, const struct question *question, FILE *answer)
{
    rewind(answer);
    fprintf(answer, "libvirt (%s): %s", question->uri, library->message());
    return REASON;
}

static char libvirt_describe_one(const struct library *library, virConnectPtr connection,
                                 const struct question *question, FILE *answer)
{
    virDomainPtr domain = library->look_up(connection, question->name);
    if (!domain) {
        return libvirt_complain(library, question, answer);
    }
    char result = libvirt_describe(library, domain, VIR_DOMAIN_XML_INACTIVE, answer) < 0
                      ? libvirt_complain(library, question, answer)
                      : ANSWER;
    library->release(domain);
    return result;
}

/* A domain that ends meanwhile is none that runs. */
static char libvirt_describe_all(const struct library *library, virConnectPtr connection,
                                 const struct question *question, FILE *answer)
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
    return ANSWER;
}

/* The uuid of a domain that runs. */
static char libvirt_find(const struct library *library, virConnectPtr connection, const struct question *question,
                         FILE *answer)
{
    char uuid[VIR_UUID_STRING_BUFLEN];
    virDomainPtr domain = library->look_up(connection, question->name);
    if (!domain && library->code() == VIR_ERR_NO_DOMAIN) {
        fprintf(answer, "there is no VM '%s' (libvirt, %s)", question->name, question->uri);
        return NONE;
    }
    int active = domain ? library->is_active(domain) : -1;
    char result = ANSWER;
    if (active < 0 || library->uuid(domain, uuid) < 0) {
        result = libvirt_complain(library, question, answer);
    } else if (active == 0) {
        fprintf(answer, "VM '%s' is shut off; give it cards in its configuration (virsh edit)", question->name);
        result = NONE;
    } else {
        fprintf(answer, "%s%c", uuid, '\0');
    }
    if (domain) {
        library->release(domain);
    }
    return result;
}

static char libvirt_change(const struct library *library, virConnectPtr connection, const struct question *question,
                           FILE *answer)
{
    virDomainPtr domain = library->look_up_uuid(connection, question->uuid);
    if (!domain) {
        return libvirt_complain(library, question, answer);
    }
    int result = question->wish == WISH_ATTACH ? library->attach(domain, question->device, VIR_DOMAIN_AFFECT_LIVE)
                                               : library->detach(domain, question->device, VIR_DOMAIN_AFFECT_LIVE);
    if (result < 0) {
        libvirt_complain(library, question, answer);
    }
    bool is_lost = result < 0 && library->is_connected(connection) != 1;
    library->release(domain);
    return result == 0 ? ANSWER : is_lost ? LOST : REASON;
}

/* Takes a device from the driver that has it, if one has, and binds it to vfio-pci; or gives it back. */
static char libvirt_move(const struct library *library, virConnectPtr connection, const struct question *question,
                         FILE *answer)
{
    virNodeDevicePtr device = library->look_up_device(connection, question->device);
    if (!device) {
        return libvirt_complain(library, question, answer);
    }
    int result =
        question->wish == WISH_TAKE ? library->take_device(device, NULL, 0) : library->return_device(device);
    char kind = result < 0 ? libvirt_complain(library, question, answer) : ANSWER;
    library->release_device(device);
    return kind;
}

/* Writes the answer to ANSWER, each text with its zero byte: name, UUID and XML of each domain; or the UUID; or
 * nothing. Returns what it is; if that is not ANSWER, the reason was written instead. */
static char libvirt_answer(const struct question *question, FILE *answer)
{
    struct library library;
    bool changes = question->wish >= WISH_ATTACH;
    if (libvirt_load(&library, answer) < 0) {
        return REASON;
    }
    virConnectPtr connection = changes ? library.connect_to_change(question->uri) : library.connect(question->uri);
    if (!connection) {
        return libvirt_complain(&library, question, answer);
    }
    static char (*const answers[])(const struct library *, virConnectPtr, const struct question *, FILE *) = {
        [WISH_CONFIGURED] = libvirt_describe_one,
        [WISH_RUNNING] = libvirt_describe_all,
        [WISH_UUID] = libvirt_find,
        [WISH_ATTACH] = libvirt_change,
        [WISH_DETACH] = libvirt_change,
        [WISH_TAKE] = libvirt_move,
        [WISH_RETURN] = libvirt_move,
    };
    char result = answers[question->wish](&library, connection, question, answer);
    library.close(connection);
    return result;
}

#else

static char libvirt_answer(const struct question *question, FILE *answer)
{
    (void)question;
    fputs("this icn-hook was built without libvirt", answer);
    return REASON;
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
    char result = libvirt_answer(question, memory);
    fclose(memory);
    fputc(result, out);
    fwrite(text, 1, length, out);
    fclose(out);
    _exit(0);
}

static int libvirt_ask(const struct question *question, struct buffer *answer, struct error *err)
{
    int64_t began = deadline_after_ms(0);
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
    int result = file_read_fd(from, "libvirt's answer", ANSWER_LIMIT, question->deadline, answer, err);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    if (result < 0 && err->status == STATUS_BUSY) {
        return error_set(err, STATUS_BUSY, "libvirt (%s) did not answer within %lld s", question->uri,
                         (long long)(deadline_after_ms(0) - began + 500) / 1000);
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
        error_set(err, answer->data[0] == NONE ? STATUS_INVALID : STATUS_HARDWARE, "%s", answer->data + 1);
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
    const struct question question = {.wish = WISH_RUNNING, .uri = uri, .deadline = deadline_after_ms(DEADLINE_MS)};
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
    const struct question question = {
        .wish = WISH_CONFIGURED, .uri = uri, .name = name, .deadline = deadline_after_ms(DEADLINE_MS)};
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

int libvirt_find_running(const char *uri, const char *name, char uuid[UUID_SIZE], struct error *err)
{
    const struct question question = {
        .wish = WISH_UUID, .uri = uri, .name = name, .deadline = deadline_after_ms(DEADLINE_MS)};
    struct buffer answer = {0};
    if (libvirt_ask(&question, &answer, err) < 0 || libvirt_check(&question, &answer, err) < 0) {
        return -1;
    }
    size_t position = 1;
    const char *text = next_text(&answer, &position);
    bool is_fine = text && text_parse_uuid(text, uuid);
    buffer_free(&answer);
    return is_fine ? 0 : error_set(err, STATUS_HARDWARE, "libvirt (%s) gave no uuid of VM '%s'", uri, name);
}

enum libvirt_outcome libvirt_change_device(const char *uri, const char *uuid, const char *device, bool attach,
                                           int64_t deadline, struct error *err)
{
    const struct question question = {
        .wish = attach ? WISH_ATTACH : WISH_DETACH, .uri = uri, .uuid = uuid, .device = device, .deadline = deadline};
    struct buffer answer = {0};
    if (libvirt_ask(&question, &answer, err) < 0) {
        return LIBVIRT_UNKNOWN;
    }
    bool is_refused = answer.length > 0 && (answer.data[0] == REASON || answer.data[0] == NONE);
    if (libvirt_check(&question, &answer, err) < 0) {
        return is_refused ? LIBVIRT_REFUSED : LIBVIRT_UNKNOWN;
    }
    buffer_free(&answer);
    return LIBVIRT_DONE;
}

int libvirt_move_device(const char *uri, const char *bdf, bool take, int64_t deadline, struct error *err)
{
    char name[64];
    struct buffer answer = {0};
    snprintf(name, sizeof name, "pci_%s", bdf);
    for (char *mark = name; (mark = strpbrk(mark, ":.")); mark++) {
        *mark = '_';
    }
    const struct question question = {
        .wish = take ? WISH_TAKE : WISH_RETURN, .uri = uri, .device = name, .deadline = deadline};
    if (libvirt_ask(&question, &answer, err) < 0 || libvirt_check(&question, &answer, err) < 0) {
        return -1;
    }
    buffer_free(&answer);
    return 0;
}
