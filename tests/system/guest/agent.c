/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

/*
 * usage: agent LINE
 * Runs what comes over a serial line, each request in the background.
 *   request: ID BASE64_OF_A_SCRIPT
 *   answer:  ID STATUS BASE64_OF_STDOUT BASE64_OF_STDERR     (- for nothing)
 * The line "ready" is the first answer.  It may be the first process: what nobody waits for
 * ends without a zombie.
 */
#define LOCK "/run/agent.lock"

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static void die(const char *what)
{
    fprintf(stderr, "agent: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* In place. */
static void decode(char *text)
{
    uint32_t bits = 0;
    int count = 0;
    char *to = text;
    for (const char *from = text; *from; from++) {
        const char *digit = strchr(digits, *from);
        if (digit) {
            bits = bits << 6 | (uint32_t)(digit - digits);
            count += 6;
            if (count >= 8) {
                count -= 8;
                *to++ = (char)(bits >> count);
            }
        }
    }
    *to = '\0';
}

static void encode(FILE *to, const unsigned char *bytes, size_t size)
{
    if (size == 0) {
        fputc('-', to);
    }
    for (size_t i = 0; i < size; i += 3) {
        uint32_t bits = (uint32_t)bytes[i] << 16;
        bits |= i + 1 < size ? (uint32_t)bytes[i + 1] << 8 : 0;
        bits |= i + 2 < size ? bytes[i + 2] : 0;
        fputc(digits[bits >> 18], to);
        fputc(digits[bits >> 12 & 63], to);
        fputc(i + 1 < size ? digits[bits >> 6 & 63] : '=', to);
        fputc(i + 2 < size ? digits[bits & 63] : '=', to);
    }
}

static void encode_file(FILE *to, int fd)
{
    struct stat status;
    if (fstat(fd, &status) < 0) {
        die("fstat");
    }
    void *bytes = status.st_size > 0 ? mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0) : NULL;
    if (bytes == MAP_FAILED) {
        die("mmap");
    }
    encode(to, bytes, (size_t)status.st_size);
}

static int run_script(const char *script, int out, int err)
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        int in = open("/dev/null", O_RDONLY);
        dup2(in, STDIN_FILENO);
        dup2(out, STDOUT_FILENO);
        dup2(err, STDERR_FILENO);
        close(in);
        execlp("bash", "bash", "-c", script, (char *)NULL);
        _exit(127);
    }
    if (pid < 0 || waitpid(pid, &status, 0) < 0) {
        die("cannot run a script");
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void answer(int line, const char *text, size_t size)
{
    int lock = open(LOCK, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (lock < 0 || flock(lock, LOCK_EX) < 0) {
        die(LOCK);
    }
    while (size > 0) {
        ssize_t written = write(line, text, size);
        if (written < 0) {
            die("cannot answer");
        }
        text += written;
        size -= (size_t)written;
    }
    close(lock);
}

/* What is left running keeps its output, and nobody waits for that. */
static void serve(int line, const char *id, char *script)
{
    char *text = NULL;
    size_t size = 0;
    int out = memfd_create("stdout", MFD_CLOEXEC);
    int err = memfd_create("stderr", MFD_CLOEXEC);
    FILE *stream = open_memstream(&text, &size);
    if (out < 0 || err < 0 || !stream) {
        die("no memory");
    }
    decode(script);
    signal(SIGCHLD, SIG_DFL);
    fprintf(stream, "%s %d ", id, run_script(script, out, err));
    encode_file(stream, out);
    fputc(' ', stream);
    encode_file(stream, err);
    fputc('\n', stream);
    fclose(stream);
    answer(line, text, size);
}

int main(int argc, char **argv)
{
    struct termios raw;
    char *request = NULL;
    size_t size = 0;
    if (argc != 2) {
        fprintf(stderr, "usage: agent LINE\n");
        return 2;
    }
    int line = open(argv[1], O_RDWR | O_NOCTTY | O_CLOEXEC);
    FILE *requests = line < 0 ? NULL : fdopen(dup(line), "r");
    if (!requests || fcntl(fileno(requests), F_SETFD, FD_CLOEXEC) < 0 || tcgetattr(line, &raw) < 0) {
        die(argv[1]);
    }
    cfmakeraw(&raw);
    tcsetattr(line, TCSANOW, &raw);
    signal(SIGCHLD, SIG_IGN);
    answer(line, "ready\n", strlen("ready\n"));
    while (getline(&request, &size, requests) > 0) {
        char *script = strchr(request, ' ');
        if (script && fork() == 0) {
            *script = '\0';
            serve(line, request, script + 1);
            _exit(0);
        }
    }
    return 1;
}
