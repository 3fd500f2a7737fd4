/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>

#include "base/error.h"

/* Parses one fixture's content. */
typedef int fixture_parser(const char *text, size_t length, const char *name, struct error *err);

/* Every NAME that ends with ENDING in tests/fixtures/DIRECTORY: with a
 * NAME.expected beside it PARSE must refuse it as STATUS_INVALID with exactly
 * that line, without one it must take it.  All are tried before the test
 * fails.  AT_LEAST of each kind guard against a directory that is not found. */
void fixtures_check(const char *directory, const char *ending, int at_least, fixture_parser *parse);
