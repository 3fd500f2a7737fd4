/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Stands for libvirt.so.0 in the end-to-end tests: each call is a line to the socket ICN_TEST_LIBVIRT, where the
 * test plays the daemon, and its answer "CODE TEXT" comes back; code 0 is success.  No answer: the daemon has
 * ended.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { LOST = 38 }; /* VIR_ERR_SYSTEM_ERROR */

static int daemon_socket = -1;
static int is_alive;
static int code;
static char text[4096];
static char uuid[64];

static int fail(int number, const char *format, const char *detail)
{
    code = number;
    snprintf(text, sizeof text, format, detail);
    return -1;
}

/* 0, with the answer in TEXT, or -1. */
static int ask(const char *format, ...)
{
    char line[4096];
    size_t used = 0;
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    if (send(daemon_socket, line, (size_t)length, MSG_NOSIGNAL) != length) {
        is_alive = 0;
        return fail(LOST, "Cannot write data: %s", "Broken pipe");
    }
    while (used == 0 || line[used - 1] != '\n') {
        ssize_t got = recv(daemon_socket, line + used, sizeof line - used - 1, 0);
        if (got <= 0) {
            is_alive = 0;
            return fail(LOST, "End of file while reading data: %s", "Input/output error");
        }
        used += (size_t)got;
    }
    line[used - 1] = '\0';
    char *rest = strchr(line, ' ');
    code = atoi(line);
    snprintf(text, sizeof text, "%s", rest ? rest + 1 : "");
    return code == 0 ? 0 : -1;
}

void *virConnectOpen(const char *uri)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)uri;
    snprintf(address.sun_path, sizeof address.sun_path, "%s", getenv("ICN_TEST_LIBVIRT"));
    daemon_socket = socket(AF_UNIX, SOCK_STREAM, 0);
    if (connect(daemon_socket, (struct sockaddr *)&address, sizeof address) < 0) {
        fail(LOST, "Failed to connect socket to '%s'", address.sun_path);
        return NULL;
    }
    is_alive = 1;
    return text;
}

void *virConnectOpenReadOnly(const char *uri)
{
    return virConnectOpen(uri);
}

int virConnectClose(void *connection)
{
    (void)connection;
    return close(daemon_socket);
}

int virConnectIsAlive(void *connection)
{
    (void)connection;
    return is_alive;
}

static void *keep_uuid(int result)
{
    snprintf(uuid, sizeof uuid, "%.63s", text);
    return result == 0 ? uuid : NULL;
}

void *virDomainLookupByName(void *connection, const char *name)
{
    (void)connection;
    return keep_uuid(ask("find %s\n", name));
}

void *virDomainLookupByUUIDString(void *connection, const char *wanted)
{
    (void)connection;
    return keep_uuid(ask("look %s\n", wanted));
}

int virDomainIsActive(void *domain)
{
    (void)domain;
    return ask("active %s\n", uuid) < 0 ? -1 : atoi(text);
}

int virDomainGetUUIDString(void *domain, char *to)
{
    strcpy(to, domain);
    return 0;
}

int virDomainAttachDeviceFlags(void *domain, const char *xml, unsigned int flags)
{
    return ask("attach %s %u %s\n", (char *)domain, flags, xml);
}

int virDomainDetachDeviceFlags(void *domain, const char *xml, unsigned int flags)
{
    return ask("detach %s %u %s\n", (char *)domain, flags, xml);
}

static char device[64];

void *virNodeDeviceLookupByName(void *connection, const char *name)
{
    (void)connection;
    snprintf(device, sizeof device, "%s", name);
    return ask("device %s\n", name) < 0 ? NULL : device;
}

int virNodeDeviceDetachFlags(void *moved, const char *driver, unsigned int flags)
{
    (void)driver;
    (void)flags;
    return ask("take %s\n", (char *)moved);
}

int virNodeDeviceReAttach(void *moved)
{
    return ask("return %s\n", (char *)moved);
}

int virNodeDeviceFree(void *moved)
{
    (void)moved;
    return 0;
}

int virConnectListAllDomains(void *connection, void ***domains, unsigned int flags)
{
    (void)connection;
    (void)domains;
    (void)flags;
    return fail(1, "%s", "the test does not play this");
}

const char *virDomainGetName(void *domain)
{
    return domain;
}

char *virDomainGetXMLDesc(void *domain, unsigned int flags)
{
    (void)domain;
    (void)flags;
    return NULL;
}

int virDomainFree(void *domain)
{
    (void)domain;
    return 0;
}

const char *virGetLastErrorMessage(void)
{
    return text;
}

int virGetLastErrorCode(void)
{
    return code;
}

void virSetErrorFunc(void *data, void *handler)
{
    (void)data;
    (void)handler;
}
