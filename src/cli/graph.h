/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdio.h>

#include "cli/view.h"

/* Prints the cards and their links as a graph, in Graphviz' language. */
void graph_print(const struct view *view, FILE *stream);
