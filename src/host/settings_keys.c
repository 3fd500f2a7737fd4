/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/settings_keys.h"

#include <string.h>

#include "base/text.h"

/* One field of an lspci -d filter: empty, "*", or 1 to DIGITS hexadecimal
 * digits, of which libpci lets 'x' stand for any in a class. */
static bool filter_field_is_valid(const char *field, size_t length, size_t digits, bool wildcard)
{
    if (length == 1 && field[0] == '*') {
        return true;
    }
    size_t valid = strspn(field, wildcard ? "0123456789abcdefABCDEFxX" : "0123456789abcdefABCDEF");
    return length <= digits && valid >= length;
}

/* [vendor]:[device][:class[:prog-if]] */
static bool filter_is_valid(const char *filter)
{
    static const struct {
        size_t digits;
        bool wildcard;
    } fields[] = {{4, false}, {4, false}, {4, true}, {2, false}};
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        size_t length = strcspn(filter, ":");
        if (!filter_field_is_valid(filter, length, fields[i].digits, fields[i].wildcard)) {
            return false;
        }
        if (filter[length] == '\0') {
            return i >= 1;
        }
        filter += length + 1;
    }
    return false;
}

bool settings_set_match(struct settings *settings, const char *value)
{
    if (strlen(value) >= sizeof settings->match || !filter_is_valid(value)) {
        return false;
    }
    memcpy(settings->match, value, strlen(value) + 1);
    return true;
}

static bool set_path(char path[PATH_MAX], const char *value)
{
    if (value[0] != '/' || strlen(value) >= PATH_MAX) {
        return false;
    }
    memcpy(path, value, strlen(value) + 1);
    return true;
}

static bool set_topology(struct settings *settings, const char *value)
{
    return set_path(settings->topology, value);
}

static bool set_ppudbg_path(struct settings *settings, const char *value)
{
    return set_path(settings->ppudbg_path, value);
}

static bool set_number(int *number, int low, int high, const char *value)
{
    uint64_t parsed;
    if (!text_parse_number(value, (uint64_t)high, &parsed) || (int)parsed < low) {
        return false;
    }
    *number = (int)parsed;
    return true;
}

static bool set_bar(struct settings *settings, const char *value)
{
    return set_number(&settings->bar, 0, 5, value);
}

static bool set_cut_bit(struct settings *settings, const char *value)
{
    return set_number(&settings->cut_bit, 0, 1, value);
}

static bool set_ppudbg_timeout(struct settings *settings, const char *value)
{
    return set_number(&settings->ppudbg_timeout, 1, 3600, value);
}

static bool set_lock_timeout(struct settings *settings, const char *value)
{
    return set_number(&settings->lock_timeout, 0, 3600, value);
}

static bool set_stride(struct settings *settings, const char *value)
{
    int stride;
    if (!set_number(&stride, 1, 4096, value)) {
        return false;
    }
    settings->stride = (uint32_t)stride;
    return true;
}

static bool set_register(uint32_t *number, const char *value)
{
    uint64_t parsed;
    if (!text_parse_number(value, UINT32_MAX, &parsed)) {
        return false;
    }
    *number = (uint32_t)parsed;
    return true;
}

static bool set_link_config(struct settings *settings, const char *value)
{
    return set_register(&settings->link_config, value);
}

static bool set_link_status(struct settings *settings, const char *value)
{
    return set_register(&settings->link_status, value);
}

/* True if VALUE is one of the two words; *second tells which. */
static bool choose(const char *value, const char *first_word, const char *second_word, bool *second)
{
    *second = strcmp(value, second_word) == 0;
    return *second || strcmp(value, first_word) == 0;
}

static bool set_backend(struct settings *settings, const char *value)
{
    bool second;
    bool known = choose(value, "mmio", "ppudbg", &second);
    settings->backend = second ? BACKEND_PPUDBG : BACKEND_MMIO;
    return known;
}

static bool set_idle(struct settings *settings, const char *value)
{
    bool second;
    bool known = choose(value, "restore", "isolate", &second);
    settings->idle = second ? IDLE_ISOLATE : IDLE_RESTORE;
    return known;
}

static bool set_far_end(struct settings *settings, const char *value)
{
    bool second;
    bool known = choose(value, "cut", "leave", &second);
    settings->far_end = second ? FAR_END_LEAVE : FAR_END_CUT;
    return known;
}

static bool set_on_leak(struct settings *settings, const char *value)
{
    bool second;
    bool known = choose(value, "alert", "kill", &second);
    settings->on_leak = second ? LEAK_KILL : LEAK_ALERT;
    return known;
}

static const char filter_form[] = "an lspci filter [vendor]:[device][:class[:prog-if]] in hexadecimal, such as :6001";
static const char register_form[] = "a register number of 32 bits, such as 0xbe382";

const struct settings_key settings_keys[SETTINGS_KEY_COUNT] = {
    {"ppu", "match", settings_set_match, filter_form},
    {"ppu", "topology", set_topology, "an absolute path"},
    {"registers", "backend", set_backend, "mmio or ppudbg"},
    {"registers", "bar", set_bar, "a number from 0 to 5"},
    {"registers", "link_config", set_link_config, register_form},
    {"registers", "link_status", set_link_status, register_form},
    {"registers", "stride", set_stride, "a number of bytes from 1 to 4096"},
    {"registers", "cut_bit", set_cut_bit, "0 or 1"},
    {"ppudbg", "path", set_ppudbg_path, "an absolute path"},
    {"ppudbg", "timeout", set_ppudbg_timeout, "a number of seconds from 1 to 3600"},
    {"policy", "idle", set_idle, "restore or isolate"},
    {"policy", "far_end", set_far_end, "cut or leave"},
    {"policy", "on_leak", set_on_leak, "alert or kill"},
    {"policy", "lock_timeout", set_lock_timeout, "a number of seconds from 0 to 3600"},
};

int settings_find_key(const char *section, const char *name)
{
    int index = 0;
    while (index < SETTINGS_KEY_COUNT &&
           (strcmp(settings_keys[index].section, section) != 0 || strcmp(settings_keys[index].name, name) != 0)) {
        index++;
    }
    return index;
}
