# SPDX-License-Identifier: LGPL-2.1-or-later
"""Calls of the hook program with a stand-in for the engine."""

from domain_xml import INACTIVE, LIVE, PREPARE, CommandLine, Domain, Hostdev, Interface, Mdev, NetworkPool, Nvme, Usb

CARD = "0000:08:00.0"
MDEV = "c0ffee00-0000-4000-8000-000000000001"
STARTING = ["prepare", "start"]
ALIVE = ["started", "reconnect"]
ENDING = ["stopped", "release"]
OPERATIONS = STARTING + ALIVE + ENDING
FORMS = {"prepare": PREPARE, "stopped": INACTIVE, "release": INACTIVE}

PLAIN = Domain("plain")
PASSING = Domain("passing", [Hostdev(CARD)])
USB = Domain("usb", [Usb()])

DEVICES = {
    "hostdev": Hostdev(CARD),
    "interface": Interface(CARD),
    "network pool, live": NetworkPool(CARD),
    "nvme": Nvme(CARD),
    "mdev": Mdev(MDEV, CARD),
    "command line": CommandLine(CARD),
}


def xml_of(domain, operation):
    return domain.xml(FORMS.get(operation, LIVE))


def call(host, domain, operation, engine, **options):
    return host.hook(domain.name, operation, xml_of(domain, operation), ICN_ENGINE=str(engine), **options)


def write_entry(host, domain):
    host.write(f"/run/icn-hook/{domain.uuid}.json", "{}")


def run_shell(host, command, arguments, stdin="", **environment):
    """COMMAND is shell text in which "$@" is the hook with its arguments."""
    return host.run(
        ["/bin/sh", "-c", command, "sh", host.hook_program, *arguments], stdin, host.environment(**environment)
    )
