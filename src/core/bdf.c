/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "core/bdf.h"

#include <stddef.h>
#include <stdio.h>

static int bdf_hex_digit(char character)
{
    if (character >= '0' && character <= '9') {
        return character - '0';
    }
    if (character >= 'a' && character <= 'f') {
        return character - 'a' + 10;
    }
    if (character >= 'A' && character <= 'F') {
        return character - 'A' + 10;
    }
    return -1;
}

/* One or more digits, leading zeros included; moves *TEXT behind them. */
static bool bdf_parse_number(const char **text, uint32_t maximum, uint32_t *number)
{
    uint64_t value = 0;
    const char *at = *text;
    if (bdf_hex_digit(*at) < 0) {
        return false;
    }
    for (; bdf_hex_digit(*at) >= 0; at++) {
        value = value * 16 + (uint64_t)bdf_hex_digit(*at);
        if (value > maximum) {
            return false;
        }
    }
    *text = at;
    *number = (uint32_t)value;
    return true;
}

static bool bdf_parse_character(const char **text, char character)
{
    if (**text != character) {
        return false;
    }
    (*text)++;
    return true;
}

/* BUS:SLOT.FUNCTION */
static bool bdf_parse_in_domain(const char *text, uint32_t domain, struct bdf *bdf)
{
    uint32_t bus = 0;
    uint32_t slot = 0;
    uint32_t function = 0;
    if (!bdf_parse_number(&text, 0xff, &bus) || !bdf_parse_character(&text, ':') ||
        !bdf_parse_number(&text, 0x1f, &slot) || !bdf_parse_character(&text, '.') ||
        !bdf_parse_number(&text, 7, &function) || *text != '\0') {
        return false;
    }
    *bdf = (struct bdf){.domain = domain, .bus = (uint8_t)bus, .slot = (uint8_t)slot, .function = (uint8_t)function};
    return true;
}

bool bdf_parse(const char *text, struct bdf *bdf)
{
    const char *rest = text;
    uint32_t domain = 0;
    if (bdf_parse_in_domain(text, 0, bdf)) {
        return true;
    }
    return bdf_parse_number(&rest, UINT32_MAX, &domain) && bdf_parse_character(&rest, ':') &&
           bdf_parse_in_domain(rest, domain, bdf);
}

const char *bdf_format(struct bdf bdf, char text[BDF_TEXT_SIZE])
{
    /* Slot and function are narrowed to the bits that they have on the bus,
     * so that the text always fits. */
    snprintf(text, BDF_TEXT_SIZE, "%04x:%02x:%02x.%x", bdf.domain, bdf.bus, bdf.slot & 0x1fu, bdf.function & 7u);
    return text;
}

static uint64_t bdf_key(struct bdf bdf)
{
    return (uint64_t)bdf.domain << 24 | (uint64_t)bdf.bus << 16 | (uint64_t)bdf.slot << 8 | bdf.function;
}

int bdf_compare(struct bdf a, struct bdf b)
{
    return (bdf_key(a) > bdf_key(b)) - (bdf_key(a) < bdf_key(b));
}

int bdf_order(const void *a, const void *b)
{
    return bdf_compare(*(const struct bdf *)a, *(const struct bdf *)b);
}
