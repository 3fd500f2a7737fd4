#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# How the source is written, where clang-format has no say.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

# Directories that are written so already.
CLEAN=(src include hook)

failures=0

complain()
{
    if [[ -n $2 ]]; then
        printf 'style: %s:\n%s\n' "$1" "$2" >&2
        failures=$((failures + 1))
    fi
}

# $2: a Perl regular expression.  Comments and texts are not looked at.
ban()
{
    local found
    # shellcheck disable=SC2016
    found=$(find "${CLEAN[@]}" -name '*.[ch]' -print0 |
        xargs -0 perl -ne 's{^\s*(?:/\*|\*[ /]|\*$).*|/\*.*?\*/|//.*|"(?:\\.|[^"\\])*"}{""}g;
            print "$ARGV:$.: $_" if /'"$2"'/; close ARGV if eof')
    complain "$1" "$found"
}

# Declarations at the start of a block, then a blank line.  A declaration begins with a
# type; it may go over several lines.
blank_lines()
{
    find "${CLEAN[@]}" -name '*.c' -exec awk '
        FNR == 1 { inside = 0 }
        {
            begins = $0 ~ /\{$/ && $0 !~ /= \{$/ && $0 !~ /^ *((static|const) )*(struct|enum|union)( [a-z_]+)? \{$/
            type = "((static|const|unsigned|signed|volatile|struct|enum|union|CLEANUP_[A-Z]+) )+[a-z_]"
            named = "[a-z_][a-z0-9_]* [*]*[a-z_][a-zA-Z0-9_]*(\\[|;| =|,)"
            declares = $0 ~ ("^ +(" type "|" named ")") && $0 !~ /^ +(return|goto|case|else|do) ?/
            if (inside && !continued && declared && $0 == "") {
                print FILENAME ":" FNR
                inside = 0
            } else if (inside && (continued || declares)) {
                declared = 1
                continued = $0 !~ /;( \/\*.*\*\/)?$/
            } else {
                inside = 0
            }
            if (begins && !(inside && continued)) {
                inside = 1
                declared = continued = 0
            }
        }' {} +
}

# A name in a backtrace is to say where it is: no two files have a static function of the
# same name, at least none of a clean directory with any other.
repeated_names()
{
    find src hook -name '*.c' -exec awk '
        FNR == 1 { declared = "" }
        /^static .*[a-z0-9_]+\(/ && !/;$/ && !/= / {
            name = $0
            sub(/PRINTF_LIKE\([^)]*\) /, "", name)
            sub(/\(.*/, "", name)
            sub(/.*[ *]/, "", name)
            print name, FILENAME
        }' {} + | sort -u | awk -v clean="${CLEAN[*]}" '
        function is_clean(file,    list, count, i) {
            count = split(clean, list, " ")
            for (i = 1; i <= count; i++) {
                if (index(file, list[i] "/") == 1) {
                    return 1
                }
            }
            return 0
        }
        {
            files[$1] = files[$1] " " $2
            number[$1]++
            if (is_clean($2)) {
                counts[$1] = 1
            }
        }
        END {
            for (name in counts) {
                if (number[name] > 1) {
                    print name ":" files[name]
                }
            }
        }' | sort
}

TYPES='const |unsigned |signed |struct |enum |union |char\b|int\b|long\b|short\b|void\b|bool\b|double\b|[a-z0-9_]+_t\b'
ban 'sizeof(…) of something that is not a type' "\\bsizeof\\((?!(?:$TYPES|\\())"
ban 'a comparison with NULL' '[!=]= NULL\b'
ban 'a call that returns 0 or -1, compared with 0' \
    '\b(?:file_(?:read|read_fd|list|list_at|replace_at|write_all)|spawn_capture|ended_note|engine_run|fstat|fstatat|pipe2|access|rename(?:at)?|unlink(?:at)?|mkdir(?:at)?|fchmod|ftruncate|sigaction)\([^()]*(?:\([^()]*\)[^()]*)*\) != 0'
complain 'a word that CONTRIBUTING.md does without' \
    "$(grep -rnwiE 'whoever|whatever|whenever' --include='*.[ch]' "${CLEAN[@]}" || true)"
complain 'a blank line after declarations' "$(blank_lines)"
complain 'a static function of the same name in several files' "$(repeated_names)"
[[ $failures -eq 0 ]]
