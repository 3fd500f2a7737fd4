#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Every source file and private header stands in a list of the build, or `make
# dist` would leave it out.  A unit test is listed by its program's name.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

failures=0
listed=$(cat Makefile.am hook/sources.am src/*/sources.am tests/unit/*.am tests/fuzz/targets.am | tr -s '[:space:]' '\n')
listed+=$(sed -nE 's/^unit_tests \+= (.*)$/\n\1.c/p' tests/unit/*.am)
while read -r file; do
    if ! grep -qxF "$file" <<<"$listed"; then
        echo "listed: $file stands in no sources.am, tests/unit/*.am or Makefile.am" >&2
        failures=$((failures + 1))
    fi
done < <(find src hook tests/unit -name '*.[ch]')
[[ $failures -eq 0 ]]
