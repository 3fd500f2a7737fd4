# SPDX-License-Identifier: LGPL-2.1-or-later
"""The documents say what the programs do: the man pages against the table of verbs and
options, the settings and the JSON, their worked example word for word, and the two
READMEs against each other."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from bystander import vm
from domain_xml import PREPARE
from log_sockets import JournalSocket
from simhost import SimHost
from stored_journal import StoredJournal

TREE = Path(__file__).resolve().parent.parent.parent
PAGES = {name: TREE / "doc/man" / name for name in ("icn-hook.8", "icn-hook.conf.5", "icn_topo.cfg.5")}
OPTIONS_OF_OTHERS = {"--topo_read", "--query-ppu", "--format"}


def sections_of(page):
    """(heading, subheading) -> the lines below it, without indentation."""
    done = subprocess.run(
        ["mandoc", "-T", "utf8", "-O", "width=400", PAGES[page]], capture_output=True, text=True, check=True
    )
    found, heading, subheading = {}, None, None
    for line in re.sub(".\b", "", done.stdout).replace("\u2010", "-").replace("\u2212", "-").splitlines():
        if re.match(r"[A-Z]", line):
            heading, subheading = line, None
        elif re.match(r" {3}\S", line):
            subheading = line.strip()
        elif line.strip():
            found.setdefault((heading, subheading), []).append(line.strip())
    return found


@pytest.fixture(name="page", scope="module")
def fixture_page():
    return sections_of("icn-hook.8")


@pytest.fixture(name="table", scope="module")
def fixture_table(tmp_path_factory):
    return SimHost(tmp_path_factory.mktemp("documents")).engine("help", "--json").json()


def text_of(sections, heading):
    return "\n".join(line for (found, _), lines in sections.items() if found == heading for line in lines)


def tag_of(option):
    letter = f"-{option['letter']}, " if option["letter"] else ""
    return f"{letter}--{option['name']}{' ' + option['value'] if option['value'] else ''}"


def has_tag(lines, tag):
    return any(line == tag or line.startswith(tag + " ") for line in lines)


# The man pages against the program


@pytest.mark.parametrize("name", PAGES)
def test_mandoc_has_nothing_to_say(name):
    done = subprocess.run(["mandoc", "-T", "lint", PAGES[name]], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)


def test_verbs(page, table):
    usages = {f"{verb['name']} {verb['argument'] or ''}".strip() for verb in table["verbs"]}
    assert {subheading for heading, subheading in page if heading == "VERBS"} == usages
    synopsis = page["SYNOPSIS", None]
    assert [f"icn-hook {usage}" for usage in usages if f"icn-hook {usage}" not in synopsis] == []


def test_options_stand_with_every_verb_that_takes_them(page, table):
    verbs = {f"{verb['name']} {verb['argument'] or ''}".strip(): verb["name"] for verb in table["verbs"]}
    for option in table["options"]:
        if not option["vendor"] and len(option["verbs"]) == len(verbs):
            assert has_tag(page["OPTIONS", None], tag_of(option)), tag_of(option)
            continue
        for usage, verb in verbs.items():
            stands_there = has_tag(page["VERBS", usage], tag_of(option))
            wanted = not option["vendor"] and verb in option["verbs"]
            assert stands_there == wanted, f"{tag_of(option)} with {verb}"


def test_the_vendors_options(page, table):
    spellings = text_of(page, "THE VENDOR SCRIPT'S OPTIONS")
    for option in table["options"]:
        if option["vendor"]:
            assert re.search(rf"\B--{option['name']}\b( {option['value']})?", spellings), option["name"]


def test_no_option_that_is_not_there(page, table):
    known = {f"--{option['name']}" for option in table["options"]} | OPTIONS_OF_OTHERS
    text = "\n".join(line for lines in page.values() for line in lines)
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z_-]*", text)) - known == set()


def test_settings():
    source = (TREE / "src/host/settings.c").read_text()
    keys = re.findall(r'^    \{"([\w-]+)", "(\w+)", ', source, re.M)
    assert len(keys) == len(re.findall(r"FIELD\((?!field\))", source)) >= 15
    page = sections_of("icn-hook.conf.5")
    for section in {section for section, _ in keys}:
        documented = re.findall(r"^(\w+) = ", "\n".join(page[f"SECTION [{section}]", None]), re.M)
        assert documented == [key for of, key in keys if of == section]
    assert has_tag(page["SECTION [map]", None], "ID = ADDRESS")


def test_every_code_of_doctor(page):
    """What the source can print is in the table, in its order, and the source prints all of it."""
    source = (TREE / "src/doctor/report.c").read_text()
    codes = dict(re.findall(r'^    \[(CHECK_\w+)\] = "([A-Z-]+)",$', source, re.M))
    assert len(codes) == source.count("[CHECK_") - 1 >= 50
    assert [code.replace("-", "_") for code in codes.values()] == [name.removeprefix("CHECK_") for name in codes]
    documented = re.findall(r"^(\w+-\w+) +\S", "\n".join(page["FINDINGS OF DOCTOR", None]), re.M)
    assert documented == list(codes.values())
    others = [path.read_text() for path in (TREE / "src").rglob("*.c") if path.name != "report.c"]
    assert [name for name in codes if not any(re.search(rf"\b{name}\b", text) for text in others)] == []


def test_the_runbook_names_codes_that_are_there():
    codes = re.findall(r'^    \[CHECK_\w+\] = "([A-Z-]+)",$', (TREE / "src/doctor/report.c").read_text(), re.M)
    named = re.findall(r"\b[A-Z]{2,}-[A-Z]+\b", (TREE / "doc/runbook.md").read_text())
    assert named and set(named) - set(codes) == set()


def test_help_fits_a_terminal(host, table):
    for verb in [None, *(verb["name"] for verb in table["verbs"])]:
        text = host.engine("help", *([verb] if verb else [])).stdout.decode()
        assert [line for line in text.splitlines() if len(line) > 80] == []


# The worked example


def worked_example(page):
    """(command, its output) of the section, in order."""
    calls = []
    with open(page, encoding="utf-8") as source:
        section = source.read().split('.SH "THREE TENANTS BY HAND"\n')[1].split("\n.SH ")[0]
    for block in re.findall(r"^\.EX\n(.*?)^\.EE$", section, re.M | re.S):
        for line in block.replace(r"\(dq", '"').replace(r"\-", "-").replace(r"\&", "").splitlines():
            if line.startswith("# "):
                calls.append((line[2:], []))
            else:
                calls[-1][1].append(line)
    return calls


def test_three_tenants_by_hand(host):
    """Whoever has only the man page gets what it says.  A command without output in the
    page may print anything, and reset ends groups in any order."""
    calls = worked_example(PAGES["icn-hook.8"])
    assert len(calls) >= 8
    for command, wanted in calls:
        program, *arguments = shlex.split(command)
        assert program == "icn-hook"
        result = host.engine(*arguments)
        if wanted:
            printed = (result.stdout.decode() + result.stderr).splitlines()
            assert printed == wanted, command
        if any(line.startswith("group ") for line in wanted) and arguments[0] == "apply":
            assert host.masks() == host.topology.required_masks(
                {0: {"r"}, 1: {"r"}, 2: {"g"}, 3: {"g"}, 4: {"b"}, 5: {"b"}, 7: {"b"}}
            )
    assert set(host.masks().values()) == {0}


# JSON


def keys_of(value):
    if isinstance(value, dict):
        return set(value).union(*(keys_of(item) for item in value.values()))
    return set().union(*(keys_of(item) for item in value)) if isinstance(value, list) else set()


def objects_of_every_verb(host, libvirt):
    file = host.write("/root/vm.xml", vm("web", 4, 5).xml(PREPARE))
    topology = host.path("/etc/icn-hook/icn_topo.cfg")
    yield host.engine("setup", "--dry-run", "--topology", topology, "--ids-by-address", "--json").json()
    listener = JournalSocket(host)
    assert libvirt.start(vm("web", 4, 5)).running
    for arguments in (
        ("help",),
        ("plan", file),
        ("apply", "--name", "red", "0,1"),
        ("status",),
        ("explain", "red"),
        ("topo",),
        ("topo", "--validate", topology),
        ("check", "0,1"),
        ("suggest", "2"),
        ("doctor",),
        ("doctor", file),
        ("reset",),
        ("release", "red"),
        ("release", "red"),
        ("reset", "--force"),
        ("repair",),
        ("confirm", "--wait", "0"),
    ):
        yield host.engine(*arguments, "--json").json()
    host.write_register(4, 0)
    yield host.engine("check", "--json").json()
    journal = StoredJournal(host)
    for at, entry in enumerate(listener.entries()):
        journal.store(entry, 1764072000 + at)
    yield host.engine("history", "--json").json()


def schema_sections(page):
    found = {}
    for (heading, subheading), lines in page.items():
        if heading == "JSON" and subheading:
            found.setdefault(subheading, []).extend(lines)
    return found


def test_every_key_of_the_json(page, host, libvirt):
    texts = {of: " ".join(lines) for of, lines in schema_sections(page).items()}
    documented = {}
    for schema, text in texts.items():
        followed = [text, *(texts[other] for other in re.findall(r"[Aa]s in (icn-hook/\w+/\d+)", text))]
        documented[schema] = set(re.findall(r"\w+", " ".join(followed)))
    printed = set()
    for found in objects_of_every_verb(host, libvirt):
        printed.add(found["schema"])
        missing = keys_of(found) - documented.get(found["schema"], set()) - {"schema"}
        assert missing == set(), found["schema"]
    # attach and detach ask libvirt: test_hotplug.py has all that they print
    others = {"icn-hook/generate/1", "icn-hook/attach/1", "icn-hook/detach/1"}
    assert printed | others == set(documented)


# The READMEs

READMES = [TREE / "README.md", TREE / "README.zh_CN.md"]


def code_blocks(text):
    return [block.strip("\n") for block in re.findall(r"(?:^(?: {4}.*|)\n)*^ {4}.*$", text, re.M)]


def test_both_readmes_have_the_same_form():
    english, chinese = (path.read_text() for path in READMES)
    assert [re.match("#+", line)[0] for line in english.splitlines() if line.startswith("#")] == [
        re.match("#+", line)[0] for line in chinese.splitlines() if line.startswith("#")
    ]
    assert code_blocks(english) == code_blocks(chinese)
    assert len(re.findall("^[|]", english, re.M)) == len(re.findall("^[|]", chinese, re.M))
    assert re.findall(r"^!\[.*\]\((.*)\)", english, re.M) == re.findall(r"^!\[.*\]\((.*)\)", chinese, re.M)


def test_the_readmes_link_each_other():
    english, chinese = (path.read_text() for path in READMES)
    assert "(README.zh_CN.md)" in english.splitlines()[2] and "(README.md)" in chinese.splitlines()[2]


@pytest.mark.parametrize("readme", READMES)
def test_what_the_readmes_link_is_there(readme):
    links = re.findall(r"\]\(([^)#:]+)\)", readme.read_text())
    assert len(links) == 8 and all((TREE / link).is_file() for link in links)


@pytest.mark.parametrize("readme", READMES)
def test_the_readme_has_all_that_the_chinese_reader_types(readme):
    """Literals are the same in both languages, table row by table row."""
    rows = [line for line in readme.read_text().splitlines() if line.startswith("|")]
    other = [line for line in READMES[0].read_text().splitlines() if line.startswith("|")]
    for row, model in zip(rows, other):
        assert sorted(re.findall("`[^`]*`", row)) == sorted(re.findall("`[^`]*`", model)), row


@pytest.mark.parametrize("readme", READMES)
def test_the_readmes_table_has_the_vendors_options(readme, table):
    text = readme.read_text()
    for option in table["options"]:
        if option["vendor"]:
            assert f"`--{option['name']}{' ' + option['value'] if option['value'] else ''}`" in text, option["name"]


def test_the_readmes_status_is_what_status_prints(host):
    """The table in the quick start, of a host on which vm1 was prepared."""
    assert host.hook("vm1", "prepare", vm("vm1", 0, 1).xml(PREPARE)).status == 0
    block = next(block for block in code_blocks(READMES[0].read_text()) if "icn-hook status\n" in block)
    lines = [line[4:] for line in block.splitlines()]
    begin = lines.index("$ build/icn-hook status") + 1
    end = lines.index("$ build/icn-hook check")
    printed = host.engine("status").stdout.decode().splitlines()
    assert printed == lines[begin:end]
