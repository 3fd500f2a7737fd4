# shellcheck shell=bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The steps of ./dev check.  Each can run alone: it builds what it needs.

# These are read by ./dev.
# shellcheck disable=SC2034
LOGS=$ROOT/build-check/logs
# shellcheck disable=SC2034
STEPS=(build unit e2e torture lint corpus prove model sanitizers valgrind clang coverage static
    distcheck rpm packages system apparmor)
# For daily work: each function's first tests, and a quarter of those.
# shellcheck disable=SC2034
QUICK_STEPS=(build unit lint e2e)
# shellcheck disable=SC2034
declare -A STEP_TITLE=(
    [build]="gcc, every warning an error"
    [unit]="unit tests"
    [e2e]="end-to-end tests of the two programs"
    [torture]="random VMs, kills and faults for 60 seconds, judged after every step; each seeded bug is noticed"
    [lint]="rules of the source tree"
    [corpus]="fuzz targets over their corpus"
    [prove]="proofs of the core"
    [model]="all that can happen to claims, and that each seeded bug is noticed"
    [sanitizers]="unit and end-to-end tests under ASan and UBSan"
    [valgrind]="unit tests and the main job under valgrind"
    [clang]="clang, every warning an error, and its unit tests"
    [coverage]="src/core 100 % of lines and branches, everything else 90 % of lines"
    [static]="cppcheck, clang-tidy, shellcheck"
    [distcheck]="make distcheck, and the same archive made elsewhere"
    [rpm]="the RPM: built, looked at, installed, used, removed"
    [packages]="the Debian package: built, installed, used, upgraded, removed"
    [system]="VMs on a real libvirtd, with vfio and eight cards, watched from outside"
    [apparmor]="the hook inside of libvirtd's AppArmor profile"
)
VALGRIND="valgrind -q --leak-check=full --errors-for-leak-kinds=definite --error-exitcode=99"
# The core's exhaustive tests take hours where code is slow, and have no memory to go wrong: the build that is
# shipped runs them.  It is make that expands this.
# shellcheck disable=SC2016
QUICK_UNIT_TESTS='$(filter-out %/test_all_partitions %/test_random_machines %/test_small_scope, $(unit_tests))'

# Debian's Python, for which python3-pytest is installed.  The simulated hosts are some GiB of small files: in
# memory, where there is room, they take a fifth less time.
run_e2e()
{
    local tree=$1 place=${TMPDIR:-/tmp} status=0
    shift
    if [[ -w /dev/shm && $(df --output=avail -k /dev/shm | tail -n 1) -gt $((4 << 20)) ]]; then
        place=/dev/shm
    fi
    place=$(mktemp -d -p "$place")
    ICN_BUILD_DIR=$ROOT/$tree PYTHONDONTWRITEBYTECODE=1 \
        /usr/bin/python3 -m pytest -p no:cacheprovider -q --durations=12 --basetemp="$place/tests" \
        -n "$(nproc)" "$@" || status=$?
    rm -rf "$place"
    return "$status"
}

step_build()
{
    build_checked
}

step_unit()
{
    build_checked
    make_tree build-check check
}

step_e2e()
{
    build_checked
    # Of the faults that change nothing every sixteenth; ICN_TEST_SAMPLE=1 ./dev step e2e tries all.
    ICN_TEST_SAMPLE=${ICN_TEST_SAMPLE:-16} run_e2e build-check tests/e2e
}

step_torture()
{
    build_checked
    run_on build-check tests/torture/run 60
    run_on build-check tests/torture/mutants
}

step_lint()
{
    build_checked
    local script
    for script in tests/lint/*.sh; do
        echo "$script"
        run_on build-check "$script"
    done
}

# 0 seconds: the corpus once through every target, and nothing else.
step_corpus()
{
    build_fuzzers
    run_on build-fuzz tests/fuzz/run 0
}

# Of the seeded bugs of the proof and the model every third; ./dev prove and tests/model/run try all.
step_prove()
{
    export ICN_MUTANTS_SHARE=${ICN_MUTANTS_SHARE:-3}
    if has_prover; then
        tests/proof/run
    else
        as_root tests/proof/in-chroot build-prover
    fi
}

step_model()
{
    ICN_MUTANTS_SHARE=${ICN_MUTANTS_SHARE:-3} tests/model/run
}

step_sanitizers()
{
    export ASAN_OPTIONS=exitcode=98 UBSAN_OPTIONS=exitcode=98
    # Instrumented code makes gcc warn of what cannot happen: no --enable-werror.
    build_tree build-asan --prefix=/usr --sysconfdir=/etc --enable-sanitizers
    make_tree build-asan check TESTS="$QUICK_UNIT_TESTS"
    # The unit tests and the corpus see every parser; of the end-to-end tests each eighth function's.
    export ICN_TEST_VARIANTS=${ICN_TEST_VARIANTS:-4} ICN_TEST_SHARE=${ICN_TEST_SHARE:-8} ICN_TEST_SAMPLE=60
    # The unit tests look for leaks, and valgrind does; at the end of each program it would double the time.
    ASAN_OPTIONS+=:detect_leaks=0
    # AddressSanitizer takes the xdr functions of glibc for those of libtirpc, with
    # which libvirt talks to its daemon, and crashes.  Its shadow memory does not fit into
    # the address space that the other test leaves.
    run_e2e build-asan tests/e2e --deselect tests/e2e/test_libvirt.py::test_a_daemon_that_hangs \
        --deselect tests/e2e/test_hook_program.py::test_memory_that_runs_out
    run_on build-asan tests/torture/run 20
}

# Programs that run the real ones under valgrind stand in a build directory of
# their own.  A hook that always exits 0 would hide valgrind's exit status, so
# its words are collected too.
make_valgrind_tree()
{
    local tree=build-check/valgrind program
    rm -rf "$tree"
    mkdir -p "$tree/hook" "$tree/words"
    for program in icn-hook hook/qemu; do
        printf '#!/bin/sh\nexec %s --log-file=%s/%s/words/%%p %s "$@"\n' \
            "$VALGRIND" "$ROOT" "$tree" "$ROOT/build-check/$program" >"$tree/$program"
        chmod +x "$tree/$program"
    done
}

step_valgrind()
{
    build_checked
    make_tree build-check check TESTS_ENVIRONMENT="$VALGRIND" TESTS="$QUICK_UNIT_TESTS"
    make_valgrind_tree
    ICN_TEST_VARIANTS=4 ICN_TEST_SHARE=4 run_e2e build-check/valgrind tests/e2e/test_main_job.py -k 'not random_life and not odd_names'
    if [[ -z $(ls build-check/valgrind/words) ]]; then
        echo "no program ran under valgrind" >&2
        return 1
    fi
    # It does not know pidfd_open(2), without which spawn.c does as well.
    sed -i '/WARNING: unhandled [a-z0-9-]* syscall: 434$/,+4d' build-check/valgrind/words/*
    if grep -H . build-check/valgrind/words/*; then
        return 1
    fi
}

step_clang()
{
    build_tree build-clang CC=clang --enable-werror
    make_tree build-clang check TESTS="$QUICK_UNIT_TESTS"
}

step_coverage()
{
    build_tree build-coverage --prefix=/usr --sysconfdir=/etc --enable-coverage
    find build-coverage -name '*.gcda' -delete
    make_tree build-coverage check TESTS="$QUICK_UNIT_TESTS"
    export ICN_TEST_VARIANTS=4 ICN_TEST_SHARE=3 ICN_TEST_SAMPLE=60
    run_e2e build-coverage tests/e2e
    run_on build-coverage tests/torture/run 10
    local -a report=(gcovr --root "$ROOT" --object-directory build-coverage build-coverage)
    echo "src/core, branches:"
    "${report[@]}" --filter src/core/ --branches --fail-under-branch 100
    echo "src/core, lines:"
    "${report[@]}" --filter src/core/ --fail-under-line 100
    echo "everything else, lines:"
    "${report[@]}" --filter 'src/(base|host|registers|engine|hypervisor|doctor|cli)/' --filter hook/ --fail-under-line 90
}

shell_scripts()
{
    find . \( -path ./.git -o -path './build*' \) -prune -o -type f ! -name '*.py' -print0 |
        xargs -0 grep -lE '^#!/bin/(ba)?sh|^# shellcheck shell='
}

step_static()
{
    local -a flags
    read -ra flags <<<"$(pkg-config --cflags libxml-2.0 libpci json-c | sed 's/-I/-isystem /g')"
    build_checked
    shell_scripts | xargs shellcheck -x
    # From 2.12 on cppcheck counts "not all branches looked at" as a finding.
    cppcheck --quiet --std=c11 --enable=warning,performance,portability --inline-suppr --error-exitcode=1 \
        --suppress=normalCheckLevelMaxBranches -D_GNU_SOURCE -DENGINE_PATH='"/usr/bin/icn-hook"' \
        -I include -I src -I . src hook
    find src hook -name '*.c' -print0 |
        xargs -0 -P "$(nproc)" -I '{}' clang-tidy --quiet --warnings-as-errors='*' '{}' -- -std=gnu11 \
            -D_GNU_SOURCE -DPACKAGE_VERSION='"0"' -DENGINE_PATH='"/usr/bin/icn-hook"' \
            -I include -I src -I . "${flags[@]}"
}

# A file that the distribution lacks is missed only by whoever builds from it.
check_distribution()
{
    local missing
    if [[ ! -e .git ]] || ! command -v git >/dev/null; then
        return 0
    fi
    missing=$(comm -23 <(git ls-files | grep -vE '^(\.ci/|\.git(ignore|attributes)$)' | sort) \
        <(tar -tf build-check/icn-hook-*.tar.xz | sed 's|^[^/]*/||' | sort))
    if [[ -n $missing ]]; then
        printf 'EXTRA_DIST lacks:\n%s\n' "$missing" >&2
        return 1
    fi
}

# What is committed or edited, as `git archive` gives it to others.
export_source()
{
    local commit
    commit=$(git -c user.name=nobody -c user.email=nobody@localhost stash create)
    git archive "${commit:-HEAD}" | tar -x -C "$1"
}

# Builds in $1/build from $1/source as somebody with other habits than ours.
distribute_elsewhere()
(
    umask 077
    export TZ=Asia/Shanghai LC_ALL=C XZ_OPT=-0 XZ_DEFAULTS=--threads=2 TAR_OPTIONS=--exclude=NEWS
    cd "$1/source" || exit
    autoreconf -fi
    mkdir "$1/build"
    cd "$1/build" || exit
    ../source/configure --quiet CFLAGS=-O0
    make --no-print-directory -j"$(nproc)" icn-hook hook/qemu
    make --no-print-directory dist
)

# The source that others get builds, and its archive has the same bytes, wherever
# and whenever it is made.
check_reproducible()
{
    local place ours theirs same=0
    if [[ ! -e .git ]] || ! command -v git >/dev/null; then
        return 0
    fi
    place=$(mktemp -d)
    mkdir "$place/source"
    export_source "$place/source"
    # make keeps the owners of root's copies.
    [[ $(id -u) -ne 0 ]] || chown -R 1:1 "$place/source"
    distribute_elsewhere "$place"
    ours=$(echo build-check/icn-hook-*.tar.xz)
    theirs=$place/build/${ours##*/}
    # Two directories of one filesystem may list their files in the same order.
    if ! tar -tf "$ours" | tr / '\001' | LC_ALL=C sort -c; then
        echo "make dist gave an archive that is not sorted" >&2
        same=1
    fi
    if ! cmp "$ours" "$theirs"; then
        diff <(tar -tvf "$ours") <(tar -tvf "$theirs") >&2 || true
        echo "make dist gave two archives that differ" >&2
        same=1
    fi
    rm -rf "$place"
    return "$same"
}

step_distcheck()
{
    build_checked
    # The unit tests of the archive run as the Debian package is built from it.
    make_tree build-check distcheck TESTS=
    check_distribution
    check_reproducible
}

step_rpm()
{
    build_checked
    as_root env ICN_BUILD_DIR="$ROOT/build-check" tests/packages/rpm
}

step_packages()
{
    build_checked
    run_on build-check tests/packages/run
}

step_system()
{
    build_checked
    # The first and every third of each file's scenarios; ./dev system takes all of them.
    ICN_SYSTEM_SHARE=${ICN_SYSTEM_SHARE:-3} ICN_SYSTEM_ROUNDS=${ICN_SYSTEM_ROUNDS:-2} \
        run_on build-check tests/system/run
}

step_apparmor()
{
    build_checked
    as_root env ICN_BUILD_DIR="$ROOT/build-check" tests/packages/apparmor
}
