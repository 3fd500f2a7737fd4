# SPDX-License-Identifier: LGPL-2.1-or-later
"""VMs that the daemon starts itself, while it finds others running."""

from scene import VM

BOTH = {0: 0x19, 1: 0x31, 2: 0x19, 3: 0x31, 4: 0x01, 5: 0x01, 6: 0x01, 7: 0x01}


def autostart(scene, vm, rule=""):
    scene.define(vm)
    scene.machine.must(f"virsh -q autostart {rule} {vm.name}")


def test_autostart_races_the_reconnect(scene):
    running, neighbour, thief = VM(1, [0, 1]), VM(2, [2, 3]), VM(3, [1, 4])
    scene.start(running)
    autostart(scene, neighbour)
    autostart(scene, thief)
    scene.stop_daemon("KILL")
    # Autostart happens once per boot: forget that it was.
    scene.machine.must("rm -f /run/libvirt/qemu/autostarted")
    scene.start_daemon()
    scene.machine.wait_for("virsh -q domstate vm-2 | grep -q running")
    scene.machine.wait_for("grep -q 'vm=vm-3 op=release' /var/log/syslog")
    assert scene.running() == {"vm-1", "vm-2"}
    scene.expect(BOTH, "autostarted")
    log = scene.new_log()
    assert "vm=vm-1 op=reconnect" in log
    assert "VM 'vm-3' is not started" in log
    assert scene.icn("check").status == 0
