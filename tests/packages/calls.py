# SPDX-License-Identifier: LGPL-2.1-or-later
"""The programs of a root's package, called from outside of it with paths of outside."""

CALL = """\
#!/bin/sh
export ICN_SYSROOT="${{ICN_SYSROOT#{root}}}" ICN_ENGINE=/usr/bin/icn-hook
exec chroot {root} {program} "$@"
"""


def installed(root):
    """A directory for SimHost's build_dir, in the root."""
    for name, program in (("icn-hook", "/usr/bin/icn-hook"), ("hook/qemu", "/etc/libvirt/hooks/qemu")):
        root.write(f"/calls/{name}", CALL.format(root=root.path, program=program), 0o755)
    return root.file("/calls")
