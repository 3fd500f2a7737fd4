/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "cli/options.h"

/* The forms of topo that have to do with a topology file; exit status. */
int topo_validate(const struct options *options);
int topo_generate(const struct options *options);
