#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# No file and no function that nobody wants to read.  Files of tests, flat lists of
# cases, may be longer.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

FILE_LIMIT=450
TEST_FILE_LIMIT=600
FUNCTION_LIMIT=80

readable_files()
{
    find src hook include tests \( -name '*.[ch]' -o -name '*.py' -o -name '*.sh' \)
    echo dev
}

# A function's body begins and ends with a brace in the first column.
long_functions()
{
    find src hook tests -name '*.c' -exec awk -v limit="$FUNCTION_LIMIT" '
        FNR == 1 { begin = 0 }
        /^\{/ { begin = FNR }
        /^\}/ && begin {
            length_ = FNR - begin - 1
            if (length_ > limit) printf "sizes: %s:%d: a function of %d lines\n", FILENAME, begin, length_
            begin = 0
        }' {} +
}

long_files()
{
    readable_files | xargs wc -l | awk -v code="$FILE_LIMIT" -v tests="$TEST_FILE_LIMIT" \
        '$2 != "total" && $1 > ($2 ~ /^tests\// ? tests : code) { printf "sizes: %s: a file of %d lines\n", $2, $1 }'
}

offenders=$(long_files; long_functions)
if [[ -n $offenders ]]; then
    echo "$offenders" >&2
    exit 1
fi
