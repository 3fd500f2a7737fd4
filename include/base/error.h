/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * One error value, set where the failure is seen and completed with context
 * on the way up.  A function that can fail takes it as its last argument,
 * returns 0 or -1, and leaves its out-parameters untouched on failure.
 * Only programs' entry points print errors.
 */

/* The exit statuses of both programs (contract). */
enum status {
    STATUS_OK = 0,
    STATUS_CHECK_FAILED = 1, /* check found a leak or drift */
    STATUS_USAGE = 2,        /* the command line is wrong */
    STATUS_INVALID = 3,      /* configuration, topology or other input is invalid */
    STATUS_CONFLICT = 4,     /* a card is owned by somebody else */
    STATUS_HARDWARE = 5,     /* a card, the vendor's tool or the host's I/O failed */
    STATUS_BUSY = 6,         /* a lock or deadline was not met */
    STATUS_UNVERIFIED = 7,   /* check: something cannot be verified, and nothing worse is known */
};

struct error {
    enum status status;
    char text[2048]; /* one line, no trailing newline, control characters escaped */
};

#define MUST_CHECK __attribute__((warn_unused_result))
#define PRINTF_LIKE(text, first) __attribute__((format(printf, text, first)))

/* Replaces ERR's content.  Always returns -1, so that a failing function can
 * `return error_set(...)`.  errno must be turned into text by the caller, on
 * the line that saw it (see error_set_errno). */
int error_set(struct error *err, enum status status, const char *format, ...) PRINTF_LIKE(3, 4);

/* The same with ": <strerror(number)>" appended. */
int error_set_errno(struct error *err, enum status status, int number, const char *format, ...) PRINTF_LIKE(4, 5);

/* Puts "<context>: " in front of ERR's text; the status stays.  Returns -1. */
int error_wrap(struct error *err, const char *format, ...) PRINTF_LIKE(2, 3);

/* Adds the formatted text at the end of ERR's; the status stays.  Returns -1. */
int error_append(struct error *err, const char *format, ...) PRINTF_LIKE(2, 3);
