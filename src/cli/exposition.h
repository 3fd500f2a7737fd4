/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdio.h>

#include "cli/view.h"

/* Prints a view in Prometheus' text format, for node_exporter's textfile collector. */
void exposition_print(const struct view *view, FILE *stream);
