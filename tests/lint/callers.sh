#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Whether the source is in fragments: functions that exist for one caller, and files.  A
# reader jumps at each of them instead of reading on.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

ONE_CALLER_LIMIT=40 # percent of all functions
FILE_LIMIT=120      # .c files in src and hook
ENFORCED=yes        # yes: what is above a limit fails

# Prints "STATIC_WITH_ONE_CALLER ALL".  A function's definition begins in the first column
# and its body with a brace there; every other mention of its name in the file is a call.
count_functions()
{
    # shellcheck disable=SC2016
    find src hook -name '*.c' -print0 | xargs -0 awk '
        function end_of_file(    name) {
            for (name in statics) {
                if (mentions[name] == 1) {
                    one++
                }
            }
            delete statics
            delete mentions
        }
        FNR == 1 { end_of_file(); header = "" }
        /^ *(\/\*|\*[ \/]|\*$)/ { next }
        { gsub(/"([^"\\]|\\.)*"/, "") }
        /^[a-z].*\(/ && !/[={]/ {
            header = $0
            sub(/PRINTF_LIKE\([^)]*\) /, "", header)
            is_static = header ~ /^static /
            sub(/\(.*/, "", header)
            sub(/.*[ *]/, "", header)
            mentions[header]-- # itself
        }
        /^\{/ && header != "" {
            all++
            if (is_static) {
                statics[header] = 1
            }
            header = ""
        }
        {
            rest = $0
            while (match(rest, /[A-Za-z_][A-Za-z_0-9]*/)) {
                mentions[substr(rest, RSTART, RLENGTH)]++
                rest = substr(rest, RSTART + RLENGTH)
            }
        }
        END { end_of_file(); print one + 0, all }'
}

read -r one all < <(count_functions)
files=$(find src hook -name '*.c' | wc -l)
share=$((100 * one / all))
echo "callers: $one of $all functions ($share %) are static with one caller; $files .c files"
if [[ $ENFORCED == yes && ($share -gt $ONE_CALLER_LIMIT || $files -gt $FILE_LIMIT) ]]; then
    echo "callers: at most $ONE_CALLER_LIMIT % and $FILE_LIMIT files" >&2
    exit 1
fi
