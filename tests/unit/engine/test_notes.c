/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/notes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"
#include "scene.h"

static struct notes notes;
static char logged[256];

void __wrap_log_message(enum log_level level, const char *format, ...) PRINTF_LIKE(2, 3);
void __wrap_log_message(enum log_level level, const char *format, ...)
{
    static const char *const levels[] = {
        [LOG_LEVEL_ERROR] = "error",
        [LOG_LEVEL_WARNING] = "warning",
        [LOG_LEVEL_NOTICE] = "notice",
        [LOG_LEVEL_INFO] = "info",
    };
    size_t used = strlen(logged);
    va_list arguments;
    used += (size_t)snprintf(logged + used, sizeof logged - used, "%s: ", levels[level]);
    va_start(arguments, format);
    used += (size_t)vsnprintf(logged + used, sizeof logged - used, format, arguments);
    va_end(arguments);
    snprintf(logged + used, sizeof logged - used, "\n");
}

static int stop(void **state)
{
    (void)state;
    notes_free(&notes);
    logged[0] = '\0';
    return 0;
}

/* The words are a contract: JSON has them. */
static void test_words(void **state)
{
    static const char *const codes[] = {
        [NOTE_INPUT] = "input",
        [NOTE_ADVICE] = "advice",
        [NOTE_CARD] = "card",
        [NOTE_CUT_MISSING] = "cut-missing",
        [NOTE_LEAK] = "leak",
        [NOTE_EXTERNAL_LEAK] = "external-leak",
        [NOTE_UNVERIFIED] = "unverified",
        [NOTE_NO_GATE] = "no-gate",
        [NOTE_DEBT] = "owed",
        [NOTE_STRANGER] = "unknown-holder",
        [NOTE_CLAIM] = "claim",
        [NOTE_TOMBSTONE] = "tombstone",
        [NOTE_STATE] = "state",
        [NOTE_IDENTITY] = "identity",
        [NOTE_STATUS] = "status-file",
        [NOTE_LIBVIRT] = "libvirt",
        [NOTE_CHANGE] = "repaired",
    };
    (void)state;
    for (int code = NOTE_INPUT; code <= NOTE_CHANGE; code++) {
        assert_string_equal(note_code_text((enum note_code)code), codes[code]);
    }
    assert_string_equal(severity_text(NOTE_INFO), "info");
    assert_string_equal(severity_text(NOTE_WARNING), "warning");
    assert_string_equal(severity_text(NOTE_ERROR), "error");
}

static void test_order_and_fields(void **state)
{
    char name[] = "vm1";
    (void)state;
    notes_add(&notes, NOTE_ERROR, NOTE_LEAK, 3, name, "first of %d", 2);
    notes_add(&notes, NOTE_INFO, NOTE_CHANGE, -1, NULL, "second");
    name[0] = 'x';
    assert_notes(&notes, "error leak: first of 2\ninfo repaired: second");
    assert_int_equal(notes.items[0].ppu, 3);
    assert_string_equal(notes.items[0].vm, "vm1");
    assert_int_equal(notes.items[1].ppu, -1);
    assert_null(notes.items[1].vm);
}

/* Whatever it is about: what was said is not said again. */
static void test_each_text_once(void **state)
{
    (void)state;
    notes_add(&notes, NOTE_INFO, NOTE_CARD, 1, NULL, "one");
    notes_add(&notes, NOTE_INFO, NOTE_CARD, 2, NULL, "two");
    notes_add(&notes, NOTE_ERROR, NOTE_LEAK, 7, "vm1", "one");
    assert_notes(&notes, "info card: one\ninfo card: two");
    assert_int_equal(notes.items[0].ppu, 1);
}

static void test_have(void **state)
{
    (void)state;
    assert_false(notes_have(&notes, NOTE_INPUT));
    notes_add(&notes, NOTE_INFO, NOTE_CARD, -1, NULL, "one");
    notes_add(&notes, NOTE_INFO, NOTE_DEBT, -1, NULL, "two");
    assert_true(notes_have(&notes, NOTE_DEBT));
    assert_true(notes_have(&notes, NOTE_CARD));
    assert_false(notes_have(&notes, NOTE_LEAK));
}

/* What each severity is in the log; all of them are shown there. */
static void test_log(void **state)
{
    (void)state;
    notes_add(&notes, NOTE_INFO, NOTE_CHANGE, -1, NULL, "100%% was mended");
    notes_add(&notes, NOTE_WARNING, NOTE_CARD, -1, NULL, "is odd");
    notes_add(&notes, NOTE_ERROR, NOTE_LEAK, -1, NULL, "leaks");
    notes_log(&notes);
    assert_string_equal(logged, "notice: 100% was mended\nwarning: is odd\nerror: leaks\n");
}

static void test_freed(void **state)
{
    (void)state;
    notes_add(&notes, NOTE_INFO, NOTE_CARD, -1, "vm1", "one");
    notes_free(&notes);
    assert_int_equal(notes.count, 0);
    assert_null(notes.items);
}

#define EACH(test) cmocka_unit_test_setup_teardown(test, NULL, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        EACH(test_words), EACH(test_order_and_fields), EACH(test_each_text_once), EACH(test_have), EACH(test_log),
        EACH(test_freed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
