#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# What must not stand in the tree.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

failures=0

# Complains about what the Perl regular expression $2 finds in the paths behind
# it; $1 says what is wrong.  An expression may go over several lines.
ban()
{
    local what=$1 expression=$2 found
    shift 2
    found=$(find "$@" -type f ! -path tests/lint/banned.sh ! -name '*.pyc' ! -path '*/corpus/*' -print0 |
        xargs -0 -r grep -PzoH --binary-files=text "$expression" | tr '\0' '\n' || true)
    if [[ -n $found ]]; then
        printf 'banned: %s:\n%s\n' "$what" "$found" >&2
        failures=$((failures + 1))
    fi
}

CODE=(src hook include)
TREE=(src hook include tests packaging dev configure.ac Makefile.am .ci)
if [[ -e README.md ]]; then
    TREE+=(README.md README.zh_CN.md doc)
fi

ban "a shell" '\b(system|popen)[ ]?\(.*' "${CODE[@]}"
ban "a copy without bounds" '\b(strcpy|stpcpy|strcat|sprintf|vsprintf|gets)\(.*' "${CODE[@]}"
ban "a number parser that hides errors" '\b(atoi|atol|atoll)\(.*' "${CODE[@]}"
# Flags may come by a name that ends in "flags"; then what that stands for is
# held to the same.  /dev/null fills descriptors 0 to 2, which are to be kept.
ban "a descriptor without O_CLOEXEC" \
    '\bopen(at)?\((?!"/dev/null")(?![^;]*(O_CLOEXEC|(?i:\b\w*flags\b)))[^;]*;' src hook
ban "flags without O_CLOEXEC" \
    '(?i:\b\w*flags\b)[ =]+(?=[^;\n]*O_(RDONLY|WRONLY|RDWR|NOFOLLOW))(?![^;\n]*(O_CLOEXEC|\b[A-Z]+_OPEN_FLAGS))[^;\n]*' src hook
ban "a descriptor without O_CLOEXEC" '\b(pipe|creat|accept|dup2?|mkstemp)\([^;]*;' src hook
ban "a stream without O_CLOEXEC" '\bfopen\([^;]*,\s*"(?![^"]*e)[^"]*"\)' src hook
ban "work that is not done" '\b(TODO|FIXME|XXX)\b.*' "${TREE[@]}"
ban "a path of somebody's machine" '(?<![\w.])/(work|home|tmp/w)/.*' "${TREE[@]}"
[[ $failures -eq 0 ]]
