/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "hook/plain.h"

#include <string.h>
#include <strings.h>

/*
 * Theory of operation: judging a domain without parsing it.
 *
 * Each way in which a QEMU domain takes a host PCI device needs one of three
 * words in its XML:
 *   hostdev   <hostdev> (a function or a mediated device), <interface
 *             type='hostdev'>, <actual type='hostdev'> of a network pool
 *   nvme      <disk type='nvme'>, <source type='nvme'>, backing stores
 *   vfio      the QEMU device in <qemu:commandline> or <qemu:override>
 * All three are names of elements, values of attributes, or parts of such
 * values; XML and QEMU take them in this case only.
 *
 * So a byte search that finds none of them proves that there is no device, if
 * an XML parser cannot see a word that is not there as bytes.  It could
 *   - in another encoding: UTF-16 and UTF-32 have NUL bytes or do not begin
 *     with '<', EBCDIC does not begin with '<', all others need an XML
 *     declaration that names them (overlong UTF-8 is an error to the parser);
 *   - through an entity: that takes a document type declaration, as the five
 *     predefined entities spell no letter;
 *   - through a character reference, "&#...";
 *   - through a second encoding inside a value: QEMU's -device takes JSON,
 *     where "\u0076" is a letter.
 * Nothing else joins letters: comments, CDATA and processing instructions can
 * stand neither in a name nor in an attribute's value.
 *
 * A text with any of these, and one that does not end where a domain ends, is
 * not judged here; the engine parses it.  It is never refused for that alone.
 */

/* RARE is the byte of WORD that XML has least: memchr is many times faster than memmem. */
static bool holds(const char *text, size_t length, const char *word, char rare)
{
    size_t before = (size_t)(strchr(word, rare) - word);
    size_t rest = strlen(word) - before;
    const char *end = text + length;
    for (const char *at = text; (at = memchr(at, rare, (size_t)(end - at))); at++) {
        if ((size_t)(at - text) >= before && (size_t)(end - at) >= rest &&
            memcmp(at - before, word, before + rest) == 0) {
            return true;
        }
    }
    return false;
}

bool plain_is_blank(char byte)
{
    return byte == ' ' || byte == '\t' || byte == '\n' || byte == '\r';
}

const char *plain_skip_blanks(const char *at, const char *end)
{
    while (at < end && plain_is_blank(*at)) {
        at++;
    }
    return at;
}

/* AT is after the word "encoding" of an XML declaration that ends at END. */
static bool encoding_is_ascii_based(const char *at, const char *end)
{
    static const char *const names[] = {"UTF-8", "US-ASCII", "ASCII"};
    at = plain_skip_blanks(at, end);
    if (at == end || *at != '=') {
        return false;
    }
    at = plain_skip_blanks(at + 1, end);
    if (at == end || (*at != '\'' && *at != '"')) {
        return false;
    }
    const char *value = at + 1;
    const char *quote = memchr(value, *at, (size_t)(end - value));
    size_t length = quote ? (size_t)(quote - value) : 0;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strlen(names[i]) == length && strncasecmp(value, names[i], length) == 0) {
            return true;
        }
    }
    return false;
}

static bool declaration_is_ascii_based(const char *at, const char *end)
{
    static const char start[] = "<?xml";
    static const char word[] = "encoding";
    if ((size_t)(end - at) < sizeof start - 1 || memcmp(at, start, sizeof start - 1) != 0) {
        return true;
    }
    const char *close = memmem(at, (size_t)(end - at), "?>", 2);
    if (!close) {
        return false;
    }
    const char *encoding = memmem(at, (size_t)(close - at), word, sizeof word - 1);
    return !encoding || encoding_is_ascii_based(encoding + sizeof word - 1, close);
}

/* "<!" starts nothing but comments and CDATA sections.  AT begins with '<'. */
static bool has_declarations(const char *at, const char *end)
{
    while ((at = memchr(at, '!', (size_t)(end - at)))) {
        at++;
        if (at[-2] != '<') {
            continue;
        }
        size_t left = (size_t)(end - at);
        if (!(left >= 2 && memcmp(at, "--", 2) == 0) && !(left >= 7 && memcmp(at, "[CDATA[", 7) == 0)) {
            return true;
        }
    }
    return false;
}

bool plain_is_bytewise(const char *text, size_t length)
{
    static const char byte_order_mark[] = "\xef\xbb\xbf";
    const char *end = text + length;
    const char *at = text;
    if (length >= 3 && memcmp(text, byte_order_mark, 3) == 0) {
        at += 3;
    }
    at = plain_skip_blanks(at, end);
    return at < end && *at == '<' && !memchr(at, '\0', (size_t)(end - at)) && declaration_is_ascii_based(at, end) &&
           !has_declarations(at, end);
}

bool plain_cannot_hold(const char *text, size_t length)
{
    static const char close[] = "</domain>";
    const char *end = text + length;
    while (end > text && plain_is_blank(end[-1])) {
        end--;
    }
    return (size_t)(end - text) >= sizeof close - 1 && memcmp(end - (sizeof close - 1), close, sizeof close - 1) == 0 &&
           plain_is_bytewise(text, length) && !holds(text, length, "&#", '&') && !holds(text, length, "\\u", '\\') &&
           !holds(text, length, "hostdev", 'v') && !holds(text, length, "nvme", 'v') &&
           !holds(text, length, "vfio", 'v');
}
