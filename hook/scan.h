/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* The closer look, for when the engine cannot say it: does this domain name a
 * host PCI device?  True also when in doubt: XML that is malformed, has a
 * document type or another encoding, or a device of an odd kind. */
bool scan_holds_host_device(const char *text, size_t length);
