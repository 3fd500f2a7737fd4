# shellcheck shell=bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# What each purpose needs from Debian, and its installation.

PACKAGES_BUILD="gcc libc6-dev make autoconf automake autoconf-archive pkgconf
    libxml2-dev libpci-dev libjson-c-dev libcmocka-dev python3"
PACKAGES_FUZZ="clang llvm libclang-rt-dev"
PACKAGES_PROVER="frama-c-base why3 z3 cvc4"
PACKAGES_BENCH="python3 valgrind strace time"
PACKAGES_SYSTEM="python3 python3-pytest python3-pytest-xdist qemu-system-x86 debootstrap busybox-static xz-utils e2fsprogs"
PACKAGES_PACKAGES="$PACKAGES_SYSTEM"
PACKAGES_CHECK="python3-pytest-xdist python3-jsonschema libseccomp-dev libvirt-dev libvirt0 valgrind strace gcovr cppcheck clang-tidy
    shellcheck binutils mandoc zsh graphviz git rpm rpmlint secilc apparmor
    systemd prometheus prometheus-node-exporter"

# Debian 12 has Frama-C; elsewhere the proofs run in a chroot of it.
has_prover()
{
    # shellcheck source=/dev/null
    [[ $(. /etc/os-release && echo "${VERSION_CODENAME:-}") == bookworm ]]
}

packages_of_prover()
{
    if has_prover; then
        echo "$PACKAGES_PROVER"
    else
        echo "debootstrap"
    fi
}

packages_for()
{
    case $1 in
    build) echo "$PACKAGES_BUILD" ;;
    demo) echo "$PACKAGES_BUILD" ;;
    fuzz) echo "$PACKAGES_BUILD $PACKAGES_FUZZ" ;;
    prove) packages_of_prover ;;
    torture) echo "$PACKAGES_BUILD" ;;
    bench) echo "$PACKAGES_BUILD $PACKAGES_BENCH" ;;
    system) echo "$PACKAGES_BUILD $PACKAGES_SYSTEM" ;;
    packages) echo "$PACKAGES_BUILD $PACKAGES_PACKAGES" ;;
    check)
        echo "$PACKAGES_BUILD $PACKAGES_FUZZ $(packages_of_prover)" \
            "$PACKAGES_SYSTEM $PACKAGES_PACKAGES $PACKAGES_CHECK"
        ;;
    esac
}

is_installed()
{
    [[ $(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null) == installed* ]]
}

as_root()
{
    if [[ $(id -u) -eq 0 ]]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        echo "./dev: root is needed for: $*" >&2
        return 1
    fi
}

# Installs what PURPOSE lacks; a machine that has everything needs no apt.
need_packages()
{
    local purpose=$1 package
    local -a missing=()
    for package in $(packages_for "$purpose"); do
        is_installed "$package" || missing+=("$package")
    done
    if [[ ${#missing[@]} -eq 0 ]]; then
        return 0
    fi
    echo "./dev: installing ${missing[*]}"
    as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
}
