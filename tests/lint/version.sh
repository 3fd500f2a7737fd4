#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The version stands in configure.ac; whatever else names it agrees.
# ICN_BUILD_DIR names the build directory.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
: "${ICN_BUILD_DIR:?must name the build directory}"

version=$(sed -n 's/^AC_INIT(\[icn-hook\], \[\(.*\)\])$/\1/p' configure.ac)
if [[ ! $version =~ ^[0-9]+\.[0-9]+\.[0-9]+$ ]]; then
    echo "version: configure.ac has none that is a number" >&2
    exit 1
fi

failures=0

# $1: who says so; $2: what it says
agree()
{
    if [[ $2 != "$version" ]]; then
        echo "version: configure.ac has $version, but $1 has '$2'" >&2
        failures=$((failures + 1))
    fi
}

agree NEWS "$(sed -nE '1s/^icn-hook (.*) \([0-9]{4}-[0-9]{2}-[0-9]{2}\)$/\1/p' NEWS)"
agree "icn-hook --version" "$("$ICN_BUILD_DIR/icn-hook" --version | sed -n '1s/^icn-hook //p')"
for page in doc/man/*.[58]; do
    agree "$page" "$(sed -nE 's/^\.TH .* "icn-hook ([^"]*)" .*/\1/p' "$page")"
done
for file in README*.md tests/system/README.md; do
    while read -r said; do
        agree "$file" "$said"
    done < <(grep -oE 'icn-hook[-_][0-9]+(\.[0-9]+)+' "$file" | sed 's/^icn-hook.//')
done
agree packaging/icn-hook.spec "$(sed -nE 's/^Version: *//p' packaging/icn-hook.spec)"
agree "the changelog of packaging/icn-hook.spec" \
    "$(sed -nE '/^%changelog/,$s/^\* .* - (.*)-[0-9]+$/\1/p' packaging/icn-hook.spec | head -n 1)"
agree packaging/debian/changelog "$(sed -nE '1s/^icn-hook \((.*)-[^-]*\) .*/\1/p' packaging/debian/changelog)"

[[ $failures -eq 0 ]]
