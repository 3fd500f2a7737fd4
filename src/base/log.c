/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/paths.h"
#include "base/text.h"

/*
 * Theory of operation.  The log_open_* functions choose where messages go; before that they go
 * nowhere.  An event is one datagram to journald in its native protocol
 * (https://systemd.io/JOURNAL_NATIVE_PROTOCOL/), any other line, or an event that journald does not
 * take, one to /dev/log as syslog(3) sends it.  syslog(3) itself is no use: it waits, for ever if need be, until
 * its line is taken, and a hook that waits for its log keeps a VM from starting.  So both are sent without
 * waiting; only where a queue is full it is tried again for some milliseconds, once for each process.
 *
 * The simulated log is opened for each line: one O_APPEND write is one whole line, also with
 * many hooks at once.  A simulated host that has one of the two sockets gets the lines there, too.
 */
static bool log_is_open;
static bool log_is_verbose;

enum { CONTEXT_SIZE = 1536, MESSAGE_SIZE = 4096, LINE_SIZE = CONTEXT_SIZE + MESSAGE_SIZE };
static char context[CONTEXT_SIZE];
static char log_operation[256];
static bool is_by_caller; /* a verb: somebody called it */
static struct timespec log_began;

static const int priorities[] = {
    [LOG_LEVEL_ERROR] = LOG_ERR, [LOG_LEVEL_WARNING] = LOG_WARNING, [LOG_LEVEL_NOTICE] = LOG_NOTICE};

const char *log_event_id(enum log_event event)
{
    static const char *const ids[EVENT_COUNT] = {
        [EVENT_CARDS_GIVEN] = "0d985993ea894838a94d5c15613bb004", [EVENT_VERIFIED] = "b2a83edc2f7249098fde1839e0565bd0",
        [EVENT_RUNNING] = "0f2613372ab948caa5f7b6bb7cd12298",     [EVENT_ENDED] = "cd84c14d00ac44d6b3c28cd7a3d1f21e",
        [EVENT_REFUSED] = "c4f51677243a49a89c6f16aa1aaa9186",     [EVENT_LEAK] = "79b9851acd334d6aa03df122678f0b4a",
        [EVENT_REPAIRED] = "34556d6bb12948f59231a2eaaa500d2e",    [EVENT_RESET] = "c1a41f2a127345b98c5f363e8937bfae",
        [EVENT_SETUP] = "08296720b6174fb6a2613b7f5d3f041f",       [EVENT_TOPOLOGY] = "01466678d88848f9b4166308531ba871",
        [EVENT_CONFIRMED] = "985c1bb9d7ba49979c78a5733145471a",   [EVENT_PROBED] = "d714ae709b524fd6af06f61548d4d609",
        [EVENT_FAILED] = "4f1a9f4326e24a32bd1d0254bcaf7665",
    };
    return ids[event];
}

static void log_begin(void)
{
    clock_gettime(CLOCK_MONOTONIC, &log_began);
    log_is_open = true;
}

void log_open_hook(const char *vm, const char *operation)
{
    char safe_vm[1024];
    text_escape(safe_vm, sizeof safe_vm, vm);
    text_escape(log_operation, sizeof log_operation, operation);
    snprintf(context, sizeof context, "vm=%s op=%s ", safe_vm, log_operation);
    is_by_caller = false;
    log_begin();
}

void log_open_verb(const char *verb)
{
    snprintf(context, sizeof context, "verb=%s ", verb);
    snprintf(log_operation, sizeof log_operation, "%s", verb);
    is_by_caller = true;
    log_begin();
}

void log_open_verbose(void)
{
    log_is_verbose = true;
}

/* A log that cannot be written has nowhere to say so. */
static void append_simulated(const char *line)
{
    char text[LINE_SIZE + 64];
    CLEANUP_FREE char *path = paths_resolve("%s", PATH_SIMULATED_LOG);
    CLEANUP_FD int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0) {
        return;
    }
    int length = snprintf(text, sizeof text, "icn-hook[%ld]: %s\n", (long)getpid(), line);
    if (length > 0 && write(fd, text, (size_t)length) < 0) {
        return;
    }
}

/* A path that is too long for an address (of a simulated host) is reached through its DIRECTORY, to be closed. */
static bool set_address(struct sockaddr_un *address, const char *path, int *directory)
{
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    size_t size = sizeof address->sun_path;
    if (strlen(path) < size) {
        memcpy(address->sun_path, path, strlen(path) + 1);
        return true;
    }
    CLEANUP_FREE char *parent = memory_copy_text(path);
    *directory = open(dirname(parent), O_PATH | O_DIRECTORY | O_CLOEXEC);
    int length = snprintf(address->sun_path, size, "/proc/self/fd/%d%s", *directory, strrchr(path, '/'));
    return *directory >= 0 && length > 0 && (size_t)length < size;
}

enum { RETRIES_MAX = 10, RETRY_NS = 5000000 };

/* Sends DATA, or the descriptor ATTACHED (-1: none), to the socket ADDRESS.  0 or a negative errno. */
static int send_datagram(int fd, const struct sockaddr_un *address, const void *data, size_t length, int attached)
{
    static int retries;
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {.bytes = {0}};
    struct iovec part = {.iov_base = (void *)(uintptr_t)data, .iov_len = length};
    struct sockaddr_un to = *address;
    struct msghdr message = {.msg_name = &to, .msg_namelen = sizeof to};
    if (attached < 0) {
        message.msg_iov = &part;
        message.msg_iovlen = 1;
    } else {
        message.msg_control = &control;
        message.msg_controllen = sizeof control;
        control.header =
            (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
        memcpy(CMSG_DATA(&control.header), &attached, sizeof attached);
    }
    while (sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
        int number = errno;
        if (number == EAGAIN && retries++ < RETRIES_MAX) {
            nanosleep(&(struct timespec){.tv_nsec = RETRY_NS}, NULL);
        } else if (number != EINTR) {
            return -number;
        }
    }
    return 0;
}

static int log_socket(void)
{
    static int fd = -1;
    if (fd < 0) {
        fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    }
    return fd;
}

/* What is too large for a datagram goes as a sealed file (JOURNAL_NATIVE_PROTOCOL). */
static int send_as_file(const struct sockaddr_un *address, const void *data, size_t length)
{
    CLEANUP_FD int fd = memfd_create("icn-hook", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0 || file_write_all(fd, data, length) < 0 ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) < 0) {
        return -1;
    }
    return send_datagram(log_socket(), address, NULL, 0, fd);
}

/* False: there is no journal, or it did not take it. */
static bool send_to_journal(const void *data, size_t length)
{
    static bool is_missing;
    struct sockaddr_un address;
    CLEANUP_FD int directory = -1;
    CLEANUP_FREE char *path = paths_resolve("%s", PATH_JOURNAL_SOCKET);
    if (is_missing || log_socket() < 0 || !set_address(&address, path, &directory)) {
        return false;
    }
    int result = send_datagram(log_socket(), &address, data, length, -1);
    if (result == -EMSGSIZE || result == -ENOBUFS) {
        result = send_as_file(&address, data, length);
    }
    is_missing = result == -ENOENT;
    return result == 0;
}

/* As syslog(3), but it never waits.  Some daemons listen at a stream. */
static void send_to_syslog(int priority, const char *line)
{
    static bool is_missing;
    char text[LINE_SIZE + 128];
    char stamp[32] = "";
    struct sockaddr_un address;
    struct tm local;
    time_t now = time(NULL);
    CLEANUP_FD int directory = -1;
    CLEANUP_FREE char *path = paths_resolve("%s", PATH_SYSLOG_SOCKET);
    if (is_missing || log_socket() < 0 || !set_address(&address, path, &directory)) {
        return;
    }
    if (localtime_r(&now, &local)) {
        strftime(stamp, sizeof stamp, "%h %e %T ", &local); /* RFC 3164 */
    }
    int length =
        snprintf(text, sizeof text, "<%d>%sicn-hook[%ld]: %s", LOG_DAEMON | priority, stamp, (long)getpid(), line);
    int result = send_datagram(log_socket(), &address, text, (size_t)length, -1);
    is_missing = result == -ENOENT;
    if (result == -EPROTOTYPE) {
        CLEANUP_FD int stream = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (stream >= 0 && connect(stream, (const struct sockaddr *)&address, sizeof address) == 0 &&
            send(stream, text, (size_t)length + 1, MSG_NOSIGNAL) < 0) { /* its zero ends the line */
            return;
        }
    }
}

static void log_line(enum log_level level, const char *message, bool is_sent)
{
    char line[LINE_SIZE];
    bool is_logged = log_is_open && level != LOG_LEVEL_INFO;
    if (log_is_verbose) {
        fprintf(stderr, "icn-hook: %s\n", message);
    }
    if (!is_logged) {
        return;
    }
    snprintf(line, sizeof line, "%s%s", context, message);
    if (paths_simulated()) {
        append_simulated(line);
    }
    if (!is_sent) {
        send_to_syslog(priorities[level], line);
    }
}

void log_message(enum log_level level, const char *format, ...)
{
    char raw[MESSAGE_SIZE];
    char message[MESSAGE_SIZE];
    va_list arguments;
    if (!log_is_verbose && (!log_is_open || level == LOG_LEVEL_INFO)) {
        return;
    }
    va_start(arguments, format);
    vsnprintf(raw, sizeof raw, format, arguments);
    va_end(arguments);
    text_copy_line(message, sizeof message, raw);
    log_line(level, message, false);
}

/* A value with a line break has its length in front, 64 bits little-endian. */
static void put_field(FILE *stream, const char *name, const char *value)
{
    size_t length = strlen(value);
    fputs(name, stream);
    if (!strchr(value, '\n')) {
        fprintf(stream, "=%s\n", value);
        return;
    }
    fputc('\n', stream);
    for (int i = 0; i < 8; i++) {
        fputc((int)((uint64_t)length >> 8 * i & 0xff), stream);
    }
    fprintf(stream, "%s\n", value);
}

static void put_caller(FILE *stream)
{
    char text[32];
    CLEANUP_FREE char *path = paths_resolve("%s", PATH_LOGINUID);
    snprintf(text, sizeof text, "%ld", (long)getuid());
    put_field(stream, "ICN_CALLER_UID", text);
    /* All ones: nobody has logged in (linux/audit.h, AUDIT_UID_UNSET). */
    if (file_read_word_at(AT_FDCWD, path, text, sizeof text) && strcmp(text, "4294967295") != 0) {
        put_field(stream, "ICN_CALLER_LOGINUID", text);
    }
}

static long long log_duration_usec(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (now.tv_sec - log_began.tv_sec) * 1000000LL + (now.tv_nsec - log_began.tv_nsec) / 1000;
}

void log_event(enum log_event event, enum log_level level, const struct log_field fields[], size_t count,
               const char *text)
{
    char message[MESSAGE_SIZE];
    char line[LINE_SIZE];
    char *data = NULL;
    size_t length = 0;
    text_copy_line(message, sizeof message, text);
    FILE *stream = log_is_open ? open_memstream(&data, &length) : NULL;
    if (!stream) {
        log_line(level, message, false);
        return;
    }
    snprintf(line, sizeof line, "%s%s", context, message);
    put_field(stream, "MESSAGE", line);
    fprintf(stream, "PRIORITY=%d\nSYSLOG_FACILITY=%d\nSYSLOG_IDENTIFIER=icn-hook\nMESSAGE_ID=%s\n", priorities[level],
            LOG_DAEMON >> 3, log_event_id(event));
    put_field(stream, "ICN_OPERATION", log_operation);
    fprintf(stream, "ICN_DURATION_USEC=%lld\n", log_duration_usec());
    if (is_by_caller) {
        put_caller(stream);
    }
    for (size_t i = 0; i < count; i++) {
        if (fields[i].value) {
            put_field(stream, fields[i].name, fields[i].value);
        }
    }
    bool is_whole = fclose(stream) == 0;
    log_line(level, message, is_whole && send_to_journal(data, length));
    free(data);
}
