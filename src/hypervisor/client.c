/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The only user of libvirt.  The library is loaded when it is asked for, so that
 * neither program needs it to start.
 */
#include "hypervisor/client.h"

#ifdef HAVE_LIBVIRT

#include <dlfcn.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

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
} symbols[] = {
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

static void be_quiet(void *data, virErrorPtr error)
{
    (void)data;
    (void)error;
}

static int load_library(struct library *library, FILE *answer)
{
    void *handle = dlopen("libvirt.so.0", RTLD_NOW | RTLD_LOCAL);
    if (!handle) {
        fprintf(answer, "libvirt is not installed: %s", dlerror());
        return -1;
    }
    for (size_t i = 0; i < sizeof symbols / sizeof symbols[0]; i++) {
        void *symbol = dlsym(handle, symbols[i].name);
        if (!symbol) {
            fprintf(answer, "this libvirt has no %s", symbols[i].name);
            return -1;
        }
        memcpy((char *)library + symbols[i].offset, &symbol, sizeof symbol);
    }
    library->set_error_handler(NULL, be_quiet);
    return 0;
}

static int describe(const struct library *library, virDomainPtr domain, unsigned int flags, FILE *answer)
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

static int complain(const struct library *library, const struct question *question, FILE *answer)
{
    rewind(answer);
    fprintf(answer, "libvirt (%s): %s", question->uri, library->message());
    return -1;
}

static int ask_for_one(const struct library *library, virConnectPtr connection, const struct question *question,
                       FILE *answer)
{
    virDomainPtr domain = library->look_up(connection, question->name);
    if (!domain) {
        return complain(library, question, answer);
    }
    int result = describe(library, domain, VIR_DOMAIN_XML_INACTIVE, answer);
    if (result < 0) {
        complain(library, question, answer);
    }
    library->release(domain);
    return result;
}

/* A domain that ends meanwhile is none that runs. */
static int ask_for_all(const struct library *library, virConnectPtr connection, const struct question *question,
                       FILE *answer)
{
    virDomainPtr *domains = NULL;
    int count = library->list(connection, &domains, VIR_CONNECT_LIST_DOMAINS_ACTIVE);
    if (count < 0) {
        return complain(library, question, answer);
    }
    for (int i = 0; i < count; i++) {
        (void)describe(library, domains[i], 0, answer);
        library->release(domains[i]);
    }
    free(domains);
    return 0;
}

int client_ask(const struct question *question, FILE *answer)
{
    struct library library;
    if (load_library(&library, answer) < 0) {
        return -1;
    }
    virConnectPtr connection = library.connect(question->uri);
    if (!connection) {
        return complain(&library, question, answer);
    }
    int result = question->name ? ask_for_one(&library, connection, question, answer)
                                : ask_for_all(&library, connection, question, answer);
    library.close(connection);
    return result;
}

#else

int client_ask(const struct question *question, FILE *answer)
{
    (void)question;
    fputs("this icn-hook was built without libvirt", answer);
    return -1;
}

#endif
