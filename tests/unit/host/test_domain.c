/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/domain.h"

#include <dirent.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/memory.h"

#define FIXTURES TESTS_DIR "/fixtures/domains"
#define UUID "6c4e3d2a-0b5f-4f0e-9c1d-7a2b3c4d5e6f"
#define MDEV "mdev c2177883-f1bb-47f0-914d-32a22e3a8804\n"

static const char *const kinds[] = {
    [DEVICE_HOSTDEV] = "hostdev", [DEVICE_INTERFACE] = "interface",     [DEVICE_NVME] = "nvme",
    [DEVICE_MDEV] = "mdev",       [DEVICE_COMMANDLINE] = "commandline",
};

/* A line for each device and warning; owned by the caller. */
static char *describe(const struct domain *domain)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);

    assert_non_null(out);
    for (size_t i = 0; i < domain->device_count; i++) {
        const struct domain_device *device = &domain->devices[i];
        char bdf[BDF_TEXT_SIZE];
        const char *what = device->sysfs_path;
        if (what == NULL) {
            what = device->mdev_uuid[0] != '\0' ? device->mdev_uuid : bdf_format(device->bdf, bdf);
        }
        fprintf(out, "%s %s%s\n", kinds[device->kind], what, device->unmanaged ? " unmanaged" : "");
    }
    for (size_t i = 0; i < domain->warnings.count; i++) {
        fprintf(out, "! %s\n", domain->warnings.items[i]);
    }
    assert_int_equal(fclose(out), 0);
    return text;
}

static struct buffer read_fixture(const char *name)
{
    char path[512];
    struct buffer text = {0};
    struct error err = {0};

    snprintf(path, sizeof(path), FIXTURES "/%s", name);
    if (file_read(path, DOMAIN_XML_LIMIT, &text, NULL, &err) != 0) {
        fail_msg("%s", err.text);
    }
    return text;
}

static void assert_devices(const char *name, const char *text, size_t length, const char *expected)
{
    struct domain domain;
    struct error err = {0};

    if (domain_parse(text, length, name, &domain, &err) != 0) {
        fail_msg("%s", err.text);
    }
    char *devices = describe(&domain);
    if (strcmp(devices, expected) != 0) {
        fail_msg("%s: devices are\n%sexpected\n%s", name, devices, expected);
    }
    free(devices);
    domain_free(&domain);
}

/* TEXT is refused with MESSAGE, and nothing is handed out. */
static void assert_refused(const char *text, size_t length, const char *message)
{
    struct domain domain;
    struct domain before;
    struct error err = {0};

    memset(&domain, 0xaa, sizeof(domain));
    memcpy(&before, &domain, sizeof(domain));
    assert_int_equal(domain_parse(text, length, "vm.xml", &domain, &err), -1);
    assert_memory_equal(&domain, &before, sizeof(domain));
    assert_int_equal(err.status, STATUS_INVALID);
    if (strchr(message, '*') == NULL ? strcmp(err.text, message) != 0 : fnmatch(message, err.text, 0) != 0) {
        fail_msg("the message is\n%s\nexpected\n%s", err.text, message);
    }
}

static const struct {
    const char *file;
    const char *devices;
} good[] = {
    {"plain.xml", ""},
    {"prepare.xml", "hostdev 0000:08:00.0\nhostdev 0000:09:00.0\n"},
    {"start.xml", "hostdev 0000:08:00.0\nhostdev 0000:09:00.0\n"},
    {"stopped.xml", "hostdev 0000:08:00.0\nhostdev 0000:09:00.0\n"},
    {"unmanaged.xml", "hostdev 0000:08:00.0 unmanaged\n"},
    {"unassigned.xml", "hostdev 0000:08:00.0\n"},
    {"wide_domain.xml", "hostdev 10000:5e:1f.7\nhostdev ffffffff:01:00.0\n"},
    {"zero_address.xml", "hostdev 0000:00:00.0\n"},
    {"teaming.xml", "interface 0000:3b:02.1\nhostdev 0000:3b:02.2\n"},
    {"network_prepare.xml", ""},
    {"network_start.xml", "interface 0000:08:10.2\n"},
    {"network_actual.xml", ""}, /* libvirt reads <actual> in status files only */
    {"interface_usb.xml", ""},
    {"incomplete.xml", "nvme 0000:00:00.0\n"},
    {"nvme.xml", "nvme 0000:41:00.0\nnvme 0000:42:00.0\nnvme 0001:43:00.1\n"},
    {"mdev.xml", MDEV},
    {"other_hostdevs.xml", ""},
    {"numbers.xml", "hostdev 0000:08:1f.7 unmanaged\nhostdev 0000:ff:01.0 unmanaged\n"
                    "hostdev 0000:00:01.0 unmanaged\nhostdev ffffffff:08:00.0 unmanaged\n"
                    "! line 57: there is no function 9 of 0000:00:00; it is ignored\n"},
    {"repeated.xml", "hostdev 0000:09:00.0\nhostdev 0000:08:00.0\n" MDEV "! the device 0000:09:00.0 is named 3 times\n"
                     "! the device c2177883-f1bb-47f0-914d-32a22e3a8804 is named 2 times\n"},
    {"commandline.xml", "hostdev 0000:08:00.0\ncommandline 0000:0a:00.0\ncommandline 0001:0b:1f.7\n"
                        "commandline 0000:0c:00.0\n" MDEV},
    {"override.xml", "hostdev 0000:08:00.0\ncommandline 0000:0d:00.0\n"},
    {"prefix.xml", "commandline 0000:08:00.0\n"},
    {"decoys.xml", "hostdev 0000:08:00.0 unmanaged\n"},
    {"entities.xml", "hostdev 0000:08:00.0\n"},
    {"utf16.xml", "hostdev 0000:08:00.0\n"},
    {"latin1.xml", "hostdev 0000:08:00.0\n"},
    {"ebcdic.xml", "hostdev 0000:08:00.0\n"},
    {"status.xml", "hostdev 0000:08:00.0\nhostdev 0000:09:00.0\ninterface 0000:08:10.2\n"},
    {"status_no_pid.xml", "hostdev 0000:08:00.0\n"},
};

static void test_good(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct buffer text = read_fixture(good[i].file);
        assert_devices(good[i].file, text.data, text.length, good[i].devices);
        buffer_free(&text);
    }
}

static void test_identity(void **state)
{
    static const struct {
        const char *file;
        const char *name;
        pid_t pid;
    } cases[] = {
        {"prepare.xml", "vm1", 0},
        {"decoys.xml", "decoy", 0},
        {"entities.xml", "a <b> & \"c\" \xe2\x80\x94 'd'", 0},
        {"utf16.xml", "größe", 0},
        {"latin1.xml", "größe", 0},
        {"ebcdic.xml", "groesse", 0},
        {"status.xml", "vm1", 4242},
        {"status_no_pid.xml", "vm1", 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct buffer text = read_fixture(cases[i].file);
        struct domain domain;
        struct error err = {0};
        assert_int_equal(domain_parse(text.data, text.length, "vm.xml", &domain, &err), 0);
        assert_string_equal(domain.name, cases[i].name);
        assert_string_equal(domain.uuid, UUID);
        assert_int_equal(domain.pid, cases[i].pid);
        domain_free(&domain);
        buffer_free(&text);
    }
}

static void assert_named(const char *text, const char *name, const char *uuid)
{
    struct domain domain;
    struct error err = {0};

    assert_int_equal(domain_parse(text, strlen(text), "vm.xml", &domain, &err), 0);
    assert_string_equal(domain.name, name);
    assert_string_equal(domain.uuid, uuid);
    assert_int_equal(domain.device_count, 0);
    domain_free(&domain);
    assert_null(domain.name);
}

static void test_bare_identity(void **state)
{
    (void)state;
    assert_named("<domain/>", "", "");
    assert_named("<domain><name/><uuid/><devices/></domain>", "", "");
    assert_named("<domain><name>a</name><name>b</name></domain>", "a", "");
    assert_named("<domain><name>-$(reboot) 'x'</name></domain>", "-$(reboot) 'x'", "");
    assert_named("<domain><uuid> 6C4E3D2A0b5f4f0e9c1d7a2b3c4d5e6f\n</uuid><uuid>x</uuid></domain>", "", UUID);
    assert_named("<?xml version='1.0'?><!-- a --><?b c?><domain><name><![CDATA[<a>]]><!-- b --></name></domain>", "<a>",
                 "");
    assert_named("<domstatus><domain><name>a</name></domain></domstatus>", "a", "");
}

static int is_xml(const struct dirent *entry)
{
    return fnmatch("*.xml", entry->d_name, 0) == 0;
}

/* Everything that is written to stdout and stderr lands in a file until
 * silence_end, which fails if there is any. */
struct silence {
    int saved[2];
    FILE *caught;
};

static struct silence silence_begin(void)
{
    struct silence silence = {.saved = {dup(1), dup(2)}, .caught = tmpfile()};

    assert_non_null(silence.caught);
    fflush(stdout);
    fflush(stderr);
    dup2(fileno(silence.caught), 1);
    dup2(fileno(silence.caught), 2);
    return silence;
}

static void silence_end(struct silence *silence)
{
    fflush(stdout);
    fflush(stderr);
    dup2(silence->saved[0], 1);
    dup2(silence->saved[1], 2);
    close(silence->saved[0]);
    close(silence->saved[1]);
    long length = lseek(fileno(silence->caught), 0, SEEK_END);
    fclose(silence->caught);
    assert_int_equal(length, 0);
}

/* NAME.expected holds the message; with a '*' it is a pattern, for libxml2's
 * own words, which differ between its versions. */
static void test_broken(void **state)
{
    struct dirent **names = NULL;
    int count = scandir(FIXTURES "/broken", &names, is_xml, alphasort);

    (void)state;
    assert_true(count >= 64);
    for (int i = 0; i < count; i++) {
        char file[512];
        snprintf(file, sizeof(file), "broken/%s", names[i]->d_name);
        struct buffer text = read_fixture(file);
        snprintf(file, sizeof(file), "broken/%s.expected", names[i]->d_name);
        struct buffer message = read_fixture(file);
        message.data[strcspn(message.data, "\n")] = '\0';
        print_message("%s\n", names[i]->d_name);

        assert_refused(text.data, text.length, message.data);
        struct silence silence = silence_begin();
        assert_refused(text.data, text.length, message.data);
        silence_end(&silence);
        buffer_free(&text);
        buffer_free(&message);
        free(names[i]);
    }
    free(names);
}

/* Every beginning of a good text is refused or holds no more than the whole. */
static void test_every_truncation(void **state)
{
    struct buffer text = read_fixture("status.xml");
    size_t accepted = 0;

    (void)state;
    for (size_t length = 0; length < text.length; length++) {
        struct domain domain;
        struct error err = {0};
        /* Just as long as needed, so that reading behind it is seen. */
        char *part = memory_alloc(length, 1);
        memcpy(part, text.data, length);
        if (domain_parse(part, length, "vm.xml", &domain, &err) == 0) {
            accepted++;
            assert_int_equal(domain.device_count, 3);
            domain_free(&domain);
        } else {
            assert_int_equal(err.status, STATUS_INVALID);
            assert_int_equal(strncmp(err.text, "vm.xml: ", 8), 0);
        }
        free(part);
    }
    assert_int_equal(accepted, 1); /* all but the last newline */
    buffer_free(&text);
}

static void test_limits(void **state)
{
    size_t length = (size_t)64 << 20;
    char *text = memory_alloc(length, 1);

    (void)state;
    memset(text, ' ', length);
    assert_refused(text, length, "vm.xml: it has 67108864 bytes; more than 16777216 are not accepted");
    assert_refused(text, DOMAIN_XML_LIMIT + 1, "vm.xml: it has 16777217 bytes; more than 16777216 are not accepted");
    assert_refused("", 0, "vm.xml: it is empty; expected a domain's XML");
    assert_refused(text, DOMAIN_XML_LIMIT, "vm.xml: line *: not well-formed XML: *");
    free(text);
}

static char *nested(size_t depth, const char *before, const char *behind)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);

    assert_non_null(out);
    fputs(before, out);
    for (size_t i = 0; i < depth; i++) {
        fputs("<a>", out);
    }
    for (size_t i = 0; i < depth; i++) {
        fputs("</a>", out);
    }
    fputs(behind, out);
    assert_int_equal(fclose(out), 0);
    return text;
}

static void test_nesting(void **state)
{
    char *fine = nested(200, "<domain><metadata>", "</metadata></domain>");
    char *skipped = nested(200000, "<domain><metadata>", "</metadata></domain>");
    char *expanded = nested(200000, "<domain><devices><disk type='nvme'>", "</disk></devices></domain>");
    char *unclosed = nested(200000, "<domain><devices><disk type='nvme'>", "");

    (void)state;
    assert_devices("fine", fine, strlen(fine), "");
    assert_refused(skipped, strlen(skipped), "vm.xml: line 1: not well-formed XML: Excessive depth in document*");
    assert_refused(expanded, strlen(expanded), "vm.xml: line 1: not well-formed XML: Excessive depth in document*");
    assert_refused(unclosed, strlen(unclosed), "vm.xml: line 1: not well-formed XML: Excessive depth in document*");
    free(fine);
    free(skipped);
    free(expanded);
    free(unclosed);
}

/* Documents that would fetch URL if it were followed. */
static const char *const fetching[] = {
    "<!DOCTYPE domain SYSTEM '%s'><domain/>",
    "<!DOCTYPE domain PUBLIC 'a' '%s'><domain/>",
    "<!DOCTYPE domain [<!ENTITY a SYSTEM '%s'>]><domain><name>&a;</name></domain>",
    "<!DOCTYPE domain [<!ENTITY %% a SYSTEM '%s'>%%a;]><domain/>",
    "<?xml-stylesheet href='%s'?><domain/>",
    "<domain xmlns:x='http://www.w3.org/2001/XInclude'><name><x:include href='%s' parse='text'/></name></domain>",
    "<domain xmlns:x='http://www.w3.org/2001/XMLSchema-instance' x:noNamespaceSchemaLocation='%s'/>",
};

static void parse_fetching(const char *url)
{
    for (size_t i = 0; i < sizeof(fetching) / sizeof(fetching[0]); i++) {
        char text[1024];
        struct domain domain;
        struct error err = {0};
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        snprintf(text, sizeof(text), fetching[i], url);
#pragma GCC diagnostic pop
        if (domain_parse(text, strlen(text), "vm.xml", &domain, &err) != 0) {
            assert_string_equal(err.text, "vm.xml: it has a document type declaration (<!DOCTYPE>), which libvirt "
                                          "never writes; remove it");
        } else {
            assert_true(i >= 4);
            assert_string_equal(domain.name, "");
            domain_free(&domain);
        }
    }
}

static void test_no_file_is_opened(void **state)
{
    char path[] = "/tmp/icn-hook-test-XXXXXX";
    char url[64];
    int fd = mkstemp(path);
    int watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    char event[4096];

    (void)state;
    assert_true(fd >= 0 && watch >= 0);
    assert_int_equal(write(fd, "secret", 6), 6);
    close(fd);
    assert_true(inotify_add_watch(watch, path, IN_OPEN) >= 0);
    parse_fetching(path);
    snprintf(url, sizeof(url), "file://%s", path);
    parse_fetching(url);
    assert_int_equal(read(watch, event, sizeof(event)), -1);

    fd = open(path, O_RDONLY | O_CLOEXEC); /* the watch does see an opening */
    assert_true(read(watch, event, sizeof(event)) > 0);
    close(fd);
    close(watch);
    unlink(path);
}

static void test_no_connection_is_made(void **state)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    char url[64];
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    (void)state;
    assert_true(listener >= 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(listener, 8), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &size), 0);
    snprintf(url, sizeof(url), "http://127.0.0.1:%u/a", (unsigned int)ntohs(address.sin_port));
    parse_fetching(url);
    assert_int_equal(accept(listener, NULL, NULL), -1);
    close(listener);
}

/* FIRST, then UNIT again and again up to LENGTH bytes, then LAST. */
static char *fill(size_t length, const char *first, const char *unit, const char *last)
{
    char *text = memory_alloc(length + strlen(first) + strlen(unit) + strlen(last) + 1, 1);
    char *at = stpcpy(text, first);

    while ((size_t)(at - text) < length) {
        at = stpcpy(at, unit);
    }
    stpcpy(at, last);
    return text;
}

/* Linux gives kilobytes. */
static long peak_memory(void)
{
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) == 0 ? usage.ru_maxrss : LONG_MAX;
}

/* The growth in kilobytes of a process of its own that parses TEXT. */
static long parse_growth(const char *text, bool succeeds)
{
    int pipe_fds[2];
    long growth = LONG_MAX;

    assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct domain domain;
        struct error err;
        long before = peak_memory();
        bool fine = domain_parse(text, strlen(text), "vm.xml", &domain, &err) == 0;
        growth = peak_memory() - before;
        _exit(fine == succeeds && write(pipe_fds[1], &growth, sizeof(growth)) == sizeof(growth) ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(read(pipe_fds[0], &growth, sizeof(growth)), sizeof(growth));
    close(pipe_fds[0]);
    close(pipe_fds[1]);
    return growth;
}

/* A checker keeps freed memory and has its own. */
static bool runs_under_checker(void)
{
    const char *preload = getenv("LD_PRELOAD");
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
    return true;
#endif
#elif defined(__SANITIZE_ADDRESS__)
    return true;
#endif
    return preload != NULL && strstr(preload, "vgpreload") != NULL;
}

static void test_memory(void **state)
{
    static const struct {
        size_t length;
        const char *first, *unit, *last;
        bool succeeds;
    } cases[] = {
        {10 << 20, "<domain><metadata>", "<a b='c'>text</a>\n", "</metadata></domain>", true},
        {10 << 20, "<domain><metadata><a>", "text ", "</a></metadata></domain>",
         false}, /* beyond libxml2's limit of a text */
        {9 << 20, "<domain><metadata><a>", "text ", "</a></metadata></domain>", true},
        {9 << 20, "<domain><!--", "text ", "--></domain>", true},
        {9 << 20, "<domain><metadata a='", "text ", "'/></domain>", true},
        {10 << 20, "<domain><devices>", "<disk type='file'><source file='/a'/><target dev='vda'/></disk>\n",
         "</devices></domain>", true},
        {10 << 20, "<domain><devices>",
         "<hostdev mode='subsystem' type='pci' managed='yes'><source><address domain='0x0000' bus='0x08' slot='0x00' "
         "function='0x0'/></source></hostdev>\n",
         "</devices></domain>", true},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char *text = fill(cases[i].length, cases[i].first, cases[i].unit, cases[i].last);
        long growth = parse_growth(text, cases[i].succeeds);
        print_message("%zu MiB '%.30s…': %ld KiB\n", cases[i].length >> 20, cases[i].first, growth);
        assert_true(growth < 40 * 1024 || runs_under_checker());
        free(text);
    }
}

/* As many functions as a PCI domain has, each twice. */
static void test_many_devices(void **state)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    struct domain domain;
    struct error err = {0};

    (void)state;
    fputs("<domain><devices>\n", out);
    for (unsigned int i = 0; i < 2 * 65536; i++) {
        unsigned int function = (i * 40503u) & 0xffff;
        fprintf(out, "<hostdev type='pci'><source><address bus='%u' slot='%u' function='%u'/></source></hostdev>\n",
                function >> 8, function >> 3 & 0x1f, function & 7);
    }
    fputs("</devices></domain>\n", out);
    fclose(out);
    assert_int_equal(domain_parse(text, size, "vm.xml", &domain, &err), 0);
    assert_int_equal(domain.device_count, 65536);
    assert_int_equal(domain.warnings.count, 65536);
    assert_string_equal(domain.warnings.items[0], "the device 0000:00:00.0 is named 2 times");
    assert_int_equal(domain.devices[1].bdf.bus, 40503u >> 8);
    domain_free(&domain);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_identity),
        cmocka_unit_test(test_bare_identity),
        cmocka_unit_test(test_broken),
        cmocka_unit_test(test_every_truncation),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_nesting),
        cmocka_unit_test(test_no_file_is_opened),
        cmocka_unit_test(test_no_connection_is_made),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_many_devices),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
