/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "cli/output.h"
#include "cli/view.h"

/* Prints the cards and their links as a matrix that fits into the terminal. */
void matrix_print(const struct view *view, const struct output *output);
