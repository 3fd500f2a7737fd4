/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What a function prints.  Texts are valid until the next capture. */
void capture_begin(void);
void capture_end(void);
const char *captured_stdout(void);
const char *captured_stderr(void);

/* What stands on stdout is one JSON object: a part of it, by a JSON pointer (""
 * is the whole), is EXPECTED, written without blanks. */
void assert_captured_json(const char *pointer, const char *expected);

/* stdin reads TEXT until stdin_restore. */
void stdin_give(const char *text);
void stdin_restore(void);
