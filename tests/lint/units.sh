#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# systemd understands the units, and what they may do is little: an exposure of 3.0 at most.
# udev's rule starts a unit that there is.
# ICN_BUILD_DIR names the build directory.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
: "${ICN_BUILD_DIR:?must name the build directory}"

EXPOSURE_LIMIT=30 # tenths

failures=0
complain()
{
    echo "units: $*" >&2
    failures=$((failures + 1))
}

# Under the names by which they know each other, with programs that are there.
PLACE=$(mktemp -d)
trap 'rm -rf "$PLACE"' EXIT
for unit in "$ICN_BUILD_DIR"/packaging/*.service packaging/*.timer; do
    sed -E 's|^(ExecStart=-?)[^ ]*|\1/bin/true|' "$unit" >"$PLACE/${unit##*/}"
done

mkdir "$PLACE/icn-hook-.service.d"
cp packaging/confinement.conf "$PLACE/icn-hook-.service.d"

for service in "$PLACE"/*.service; do
    if ! grep -q '^ExecStart=' "$service" || grep -q '@[a-z]*dir@' "$service"; then
        complain "${service##*/} is not made of its template"
    fi
    if ! output=$(systemd-analyze security --offline=true --threshold="$EXPOSURE_LIMIT" --no-pager "$service" 2>&1); then
        complain "${service##*/}: $(tail -n 1 <<<"$output")"
    fi
done
for unit in "$PLACE"/*.timer "$PLACE"/*.service; do
    unit=${unit/@./@1.}
    if ! output=$(systemd-analyze verify --man=no "$unit" 2>&1) || [[ -n $output ]]; then
        complain "${unit##*/}: $output"
    fi
done
# It is udev that expands this.
# shellcheck disable=SC2016
started=$(sed -nE 's/.*systemctl --no-block start ([a-z-]+@)\$env\{SEQNUM\}(\.service)".*/\1\2/p' packaging/70-icn-hook.rules)
if [[ -z $started || ! -e $PLACE/$started ]]; then
    complain "70-icn-hook.rules starts '$started', which is no unit"
fi
[[ $failures -eq 0 ]]
