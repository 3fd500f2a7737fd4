/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * A simulated host for unit tests: a directory tree in ICN_SYSROOT (design:
 * contract of paths and sysroot).  PATH is always the absolute path on the
 * simulated host.  Whatever goes wrong here fails the test at once.
 */

/* cmocka group fixtures: the tree, with an empty /sys/bus/pci/devices. */
int simulated_host_start(void **state);
int simulated_host_stop(void **state);
/* cmocka test fixture: the tree is empty again. */
int simulated_host_clear(void **state);

/* PATH's place on the real host; valid until a few more calls. */
const char *simulated_path(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Missing directories on the way are made. */
void simulated_directory(const char *path);
void simulated_file(const char *path, const void *data, size_t length);
void simulated_text(const char *path, const char *text);
void simulated_link(const char *path, const char *target);
void simulated_remove(const char *path); /* whatever it is */

/* The text of a file; valid until the next call. */
const char *simulated_read(const char *path);

/* A card of the vendor's: sysfs files, no driver, decoding on, resource0 of 4 MiB
 * with zeros. */
void simulated_card(const char *bdf);
void simulated_config(const char *bdf, uint16_t vendor, uint16_t command);

/* The 32 bits at OFFSET of a card's resource0. */
enum { LINK_CONFIG_OFFSET = 0xbe382 * 4 };
uint32_t simulated_register(const char *bdf, size_t offset);
void simulated_set_register(const char *bdf, size_t offset, uint32_t value);

/* When a process of the real host started, where libvirt's daemon is looked up: field 22 of /proc/PID/stat. */
unsigned long long real_process_start(pid_t pid);
