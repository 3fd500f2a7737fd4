# shellcheck shell=bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The build directories: build for people, build-* for the checks.

# Configures the build directory $1 with the other arguments, if it is not
# configured with just these already.
configure_tree()
{
    local tree=$1
    shift
    if [[ ! -x configure || ! -d build-aux || configure.ac -nt configure ]]; then
        autoreconf -fi
    fi
    if [[ -e $tree/Makefile && $(cat "$tree/.options" 2>/dev/null) == "$*" ]]; then
        return 0
    fi
    mkdir -p "$tree"
    (cd "$tree" && ../configure --quiet "$@")
    echo "$*" >"$tree/.options"
}

make_tree()
{
    local tree=$1
    shift
    make -C "$tree" --no-print-directory -j"$(nproc)" "$@"
}

build_tree()
{
    configure_tree "$@"
    make_tree "$1"
}

build_checked()
{
    build_tree build-check --prefix=/usr --sysconfdir=/etc --enable-werror
}

build_fuzzers()
{
    build_tree build-fuzz CC=clang --enable-fuzzers
}
