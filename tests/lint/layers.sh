#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Includes go one way only, every library has one place, and the built programs
# link what they may.  ICN_BUILD_DIR names the build directory.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
: "${ICN_BUILD_DIR:?must name the build directory}"

failures=0
complain()
{
    echo "layers: $*" >&2
    failures=$((failures + 1))
}

# What a layer may include: itself and what stands below it.
declare -A MAY_INCLUDE=(
    [base]="base"
    [core]="base core"
    [host]="base core host"
    [registers]="base core host registers"
    [engine]="base core host registers engine"
    [doctor]="base core host registers engine hypervisor doctor"
    [hypervisor]="base hypervisor"
    [cli]="base core host registers engine hypervisor doctor cli"
    [hook]="base hook"
)

sources_of()
{
    local layer=$1
    if [[ $layer == hook ]]; then
        find hook -name '*.[ch]'
    else
        find "src/$layer" "include/$layer" -name '*.[ch]' 2>/dev/null || true
    fi
}

check_includes()
{
    local layer file line used
    for layer in "${!MAY_INCLUDE[@]}"; do
        while read -r file; do
            while IFS=: read -r line used; do
                if [[ " ${MAY_INCLUDE[$layer]} " != *" ${used%%/*} "* ]]; then
                    complain "$file:$line: $layer must not include $used"
                fi
            done < <(sed -nE '/^[[:space:]]*#[[:space:]]*include "/{=;s/.*include "([^"]*)".*/\1/p}' "$file" |
                paste -d: - -)
        done < <(sources_of "$layer")
    done
}

# What the objects call and none of them defines.
symbols_from_outside()
{
    comm -23 <(nm -u "$@" | awk '$1 == "U" { print $2 }' | sort -u) \
        <(nm -g --defined-only "$@" | awk 'NF == 3 { print $3 }' | sort -u)
}

# The core does no input or output, does not allocate, and has no clock: it calls
# itself and a few pure functions of libc.
check_core()
{
    local file include symbol
    while read -r symbol; do
        if [[ ! $symbol =~ ^(mem|str)[a-z]+$|snprintf|^__.*_chk(_fail)?$ ]]; then
            complain "the core must not call $symbol"
        fi
    done < <(symbols_from_outside "$ICN_BUILD_DIR"/src/core/*.o)
    for file in src/core/*.[ch] include/core/*.h; do
        while read -r include; do
            case $include in
            '"core/'* | '"base/error.h"' | '<limits.h>' | '<stdbool.h>' | '<stddef.h>' | '<stdint.h>' | '<stdio.h>' | '<string.h>') ;;
            *) complain "$file: the core must not include $include" ;;
            esac
        done < <(sed -nE 's/^[[:space:]]*#[[:space:]]*include ([<"][^>"]*[>"]).*/\1/p' "$file")
    done
}

# The headers $2 belong to the files $3 (extended regular expressions) only.
check_library()
{
    local name=$1 headers=$2 places=$3 file
    while read -r file; do
        if [[ ! $file =~ ^($places)$ ]]; then
            complain "$file: $name belongs to $places only"
        fi
    done < <(grep -rlE "#[[:space:]]*include [<\"]($headers)" src include hook)
}

needed_by()
{
    readelf -dW "$1" | sed -nE 's/.*\(NEEDED\).*\[(.*)\]/\1/p'
}

# $2: the libraries that the program $1 may need.
check_linking()
{
    local program=$1 allowed=$2 library
    if [[ ! -x $ICN_BUILD_DIR/$program ]]; then
        complain "$ICN_BUILD_DIR/$program is not built"
        return
    fi
    while read -r library; do
        if [[ ! $library =~ ^($allowed)\.so\. ]]; then
            complain "$program must not be linked to $library"
        fi
    done < <(needed_by "$ICN_BUILD_DIR/$program")
}

check_includes
check_core
check_library libpci 'pci/' 'src/host/pci\.c'
check_library libxml2 'libxml/' 'src/host/domain[a-z_]*\.[ch]'
check_library json-c 'json' 'src/host/(state_|strict_json|confirmed|journal_events)[a-z_]*\.[ch]|src/cli/json[a-z_]*\.[ch]'
check_library libvirt 'libvirt/' 'src/hypervisor/libvirt\.c'
check_linking hook/qemu 'libc'
check_linking icn-hook 'libc|libpci|libxml2|libjson-c'
[[ $failures -eq 0 ]]
