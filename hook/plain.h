/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Every letter of TEXT stands in it as itself, one byte each (ASCII, UTF-8),
 * unless it is a character reference: no other encoding, no NUL byte, no
 * document type declaration. */
bool plain_is_bytewise(const char *text, size_t length);

/* Blank as XML means it.  Public for its test. */
bool plain_is_blank(char byte);
/* The first byte from AT that is not blank, or END. */
const char *plain_skip_blanks(const char *at, const char *end);

/* A complete domain that certainly takes no host PCI device, because none of
 * the words that every such device needs occurs anywhere in it. */
bool plain_cannot_hold(const char *text, size_t length);
