# shellcheck shell=bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# A root to write to, over one that is kept.  Mounts belong to the mount namespace
# that `run` makes, and go with it.

# Makes $2 a writable copy of the root $1, with /proc, /sys (to look at), /dev and an empty
# /run.
layer_mount()
{
    local below=$1 root=$2
    rm -rf --one-file-system "$root" "$root.layer"
    mkdir -p "$root" "$root.layer/upper" "$root.layer/work"
    if ! mount -t overlay overlay -o "lowerdir=$below,upperdir=$root.layer/upper,workdir=$root.layer/work" "$root" \
        2>/dev/null; then
        cp -a "$below/." "$root/"
    fi
    mount -t proc proc "$root/proc"
    mount -t sysfs -o ro sysfs "$root/sys"
    mount --rbind /dev "$root/dev"
    mount -t tmpfs -o mode=755 tmpfs "$root/run"
    mkdir -m 1777 "$root/run/lock"
    cp /etc/resolv.conf "$root/etc/resolv.conf"
}

# Lazily, for a process may be about to end.
layer_remove()
{
    local root=$1
    umount -R -l "$root/proc" "$root/sys" "$root/dev" "$root/run"
    umount -l "$root" 2>/dev/null || true
    rm -rf --one-file-system "$root" "$root.layer"
}
