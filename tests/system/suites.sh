# shellcheck shell=bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The systems that the system tests know, and what each needs: a Debian release,
# or a release whose VMs are run by libvirt's modular daemon.  sid is for looking
# ahead: it moves, and what fails there may be Debian's.

SUITES=(bookworm trixie trixie-modular sid)

suite_known()
{
    [[ " ${SUITES[*]} " == *" $1 "* ]]
}

# The release of the machine that runs the tests.
suite_of_host()
{
    # shellcheck source=/dev/null
    (. /etc/os-release && echo "${VERSION_CODENAME:-}")
}

# The Debian release of a suite.
suite_release()
{
    echo "${1%-modular}"
}

# The daemon that runs the VMs.
suite_daemon()
{
    case $1 in
    *-modular) echo virtqemud ;;
    *) echo libvirtd ;;
    esac
}

# What the emulated machine runs, the libraries of icn-hook among it.  libxml2 comes
# with libvirt where its name moves.
suite_packages()
{
    local common="libvirt-daemon-system libvirt-clients qemu-system-x86 kmod procps iproute2 pciutils udev"
    local libraries="libpci3 libjson-c5"
    case $(suite_release "$1") in
    bookworm) echo "$common $libraries libxml2" ;;
    trixie) echo "$common $libraries libxml2 libvirt-daemon-log" ;;
    sid) echo "$common $libraries libvirt-daemon-log" ;;
    esac
}

# What icn-hook is built with where the machine that runs the tests has another
# release.
suite_build_packages()
{
    echo "gcc libc6-dev make autoconf automake autoconf-archive pkgconf" \
        "libxml2-dev libpci-dev libjson-c-dev"
}

# What virtqemud is built with.
suite_daemon_build_packages()
{
    echo "gcc libc6-dev meson ninja-build pkgconf python3 patch xz-utils gettext xsltproc libxml2-utils rpcsvc-proto" \
        "libglib2.0-dev libgnutls28-dev libxml2-dev libtirpc-dev libjson-c-dev libnl-3-dev libnl-route-3-dev"
}
