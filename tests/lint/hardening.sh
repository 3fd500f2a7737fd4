#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The hardening that configure promises is in the built programs.
# ICN_BUILD_DIR names the build directory.
set -euo pipefail
: "${ICN_BUILD_DIR:?must name the build directory}"

failures=0

# $3 is what the output of the readelf option $2 must show of the program $1.
demand()
{
    local program=$1 option=$2 expression=$3 meaning=$4
    if ! grep -qE "$expression" <<<"$(readelf "$option" -W "$ICN_BUILD_DIR/$program")"; then
        echo "hardening: $program: $meaning" >&2
        failures=$((failures + 1))
    fi
}

forbid()
{
    local program=$1 option=$2 expression=$3 meaning=$4
    if grep -qE "$expression" <<<"$(readelf "$option" -W "$ICN_BUILD_DIR/$program")"; then
        echo "hardening: $program: $meaning" >&2
        failures=$((failures + 1))
    fi
}

check_program()
{
    local program=$1
    demand "$program" -h 'Type: +DYN' "is not position independent"
    demand "$program" -d 'FLAGS_1.*\bPIE\b' "is not position independent"
    demand "$program" -l 'GNU_RELRO' "has no relocation section that becomes read-only"
    demand "$program" -d 'FLAGS_1.*\bNOW\b' "binds lazily, so its relocations stay writable"
    demand "$program" -l 'GNU_STACK.* RW ' "has an executable stack"
    demand "$program" --dyn-syms '__stack_chk_fail' "has no stack protector"
    demand "$program" --dyn-syms '__[a-z]+_chk(@| )' "has no fortified call"
    forbid "$program" -l 'RWE' "has a segment that is writable and executable"
    forbid "$program" -d '\((RPATH|RUNPATH|TEXTREL)\)' "has a run path or text relocations"
}

for program in icn-hook hook/qemu; do
    if [[ -x $ICN_BUILD_DIR/$program ]]; then
        check_program "$program"
    else
        echo "hardening: $ICN_BUILD_DIR/$program is not built" >&2
        failures=$((failures + 1))
    fi
done
[[ $failures -eq 0 ]]
