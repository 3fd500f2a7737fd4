# SPDX-License-Identifier: LGPL-2.1-or-later
"""The schemas of the JSON.  That everything the program prints is as they say is asserted wherever a test reads it:
Result.json in simhost.py, for which conftest.py has the check."""

import json
import re
from copy import deepcopy
from pathlib import Path

import jsonschema
import pytest

import schemas
from simhost import Result

TREE = Path(__file__).resolve().parent.parent.parent


def parts(schema, place=""):
    """(where it is, the part) of a schema, everywhere."""
    if isinstance(schema, dict):
        yield place, schema
        for key, value in schema.items():
            yield from parts(value, f"{place}/{key}")
    elif isinstance(schema, list):
        for index, value in enumerate(schema):
            yield from parts(value, f"{place}/{index}")


def test_there_is_one_for_each_object_that_the_program_prints():
    printed = set()
    for source in (TREE / "src/cli").glob("*.c"):
        printed |= set(re.findall(r'"(icn-hook/[a-z]+/\d+)"', source.read_text()))
    assert {schemas.name_of(path) for path in schemas.files()} == printed


@pytest.mark.parametrize("path", [schemas.COMMON, *schemas.files()], ids=lambda path: path.stem)
def test_each_is_valid_closed_and_described(path):
    schema = json.loads(path.read_text())
    assert path.read_text() == json.dumps(schema, indent=2) + "\n"
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$id"] == f"https://icn-hook.example/schemas/{path.name}"
    if path != schemas.COMMON:
        assert schema["properties"]["schema"] == {"const": schemas.name_of(path)}
        assert "schema" in schema["required"]
    for place, part in parts(schema):
        if part.get("type") == "object":
            assert part["additionalProperties"] is False and set(part["required"]) <= set(part["properties"]), place
            undescribed = [
                key for key, value in part["properties"].items()
                if not {"description", "$ref"} & set(value) and (place, key) != ("", "schema")
            ]
            assert undescribed == [], place
        if "$ref" in part:
            file, pointer = part["$ref"].split("#/$defs/")
            assert pointer in json.loads((path.parent / (file or path.name)).read_text())["$defs"], place


def test_each_is_installed():
    listed = re.findall(r"^\tschemas/(\S+)", (TREE / "Makefile.am").read_text(), re.M)
    assert listed == [path.name for path in sorted(schemas.DIRECTORY.glob("*"))]


def test_common_parts_are_used():
    used = set()
    for path in [schemas.COMMON, *schemas.files()]:
        used |= set(re.findall(r'"(?:common.json)?#/\$defs/(\w+)"', path.read_text()))
    assert used == set(json.loads(schemas.COMMON.read_text())["$defs"])


def words_of(path, function):
    body = re.search(rf"^const char \*{function}\(.*?^}}", (TREE / path).read_text(), re.M | re.S)[0]
    return set(re.findall(r'= "([^"]+)"', body))


@pytest.mark.parametrize("schema, key, path, function", [
    ("common", "code", "src/engine/notes.c", "note_code_text"),
    ("common", "severity", "src/engine/notes.c", "severity_text"),
    ("common", "via", "src/engine/vm_cards.c", "via_text"),
    ("status-2", "kind", "src/engine/owners.c", "owner_kind_text"),
    ("status-2", "state", "src/engine/confirmation.c", "confirmation_text"),
    ("setup-1", "source", "src/engine/setup.c", "setup_source_text"),
    ("history-1", "end", "src/engine/history.c", "tenure_end_text"),
    ("doctor-1", "result", "src/doctor/report.c", "result_text"),
])
def test_words_are_those_of_the_program(schema, key, path, function):
    """Those, too, that no test makes it say."""
    content = json.loads((schemas.DIRECTORY / f"{schema}.json").read_text())
    found = [part["properties"][key]["enum"] for _, part in parts(content) if key in part.get("properties", {})]
    assert set(found[0]) - {None} == words_of(path, function)


# What is not as its schema says is refused


def put(document, place, value):
    for key in place[:-1]:
        document = document[key]
    document[place[-1]] = value


def drop(document, place):
    for key in place[:-1]:
        document = document[key]
    del document[place[-1]]


WRONG = {
    "a key more": lambda found: put(found, ["more"], 1),
    "a key more in a card": lambda found: put(found, ["ppus", 0, "more"], None),
    "a key more in a part that others have": lambda found: put(found, ["coverage", "more"], 1),
    "a key less": lambda found: drop(found, ["ok"]),
    "a key less in a link": lambda found: drop(found, ["ppus", 0, "links", 0, "since"]),
    "a text for a number": lambda found: put(found, ["ppus", 0, "ppu"], "0"),
    "a number for a mask": lambda found: put(found, ["ppus", 0, "expected"], 25),
    "a mask that is not one": lambda found: put(found, ["ppus", 0, "expected"], "0x19"),
    "null for an array": lambda found: put(found, ["leaks"], None),
    "a word that nobody knows": lambda found: put(found, ["ppus", 0, "links", 0, "near"], "closed"),
    "a link that no register has": lambda found: put(found, ["ppus", 0, "links", 0, "link"], 32),
    "an address that is not one": lambda found: put(found, ["ppus", 0, "bdf"], "08:00.0"),
    "a time that is not one": lambda found: put(found, ["ppus", 0, "links", 0, "since"], "yesterday"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_is_refused(scene, wrong):
    result = scene.host.engine("status", "--json")
    document = result.json()
    spoilt = deepcopy(document)
    WRONG[wrong](spoilt)
    with pytest.raises(jsonschema.ValidationError):
        Result(0, json.dumps(spoilt).encode(), "").json()
    schemas.validate(document)


def test_an_object_without_a_schema_is_refused():
    for document in ({}, {"schema": "icn-hook/nothing/1"}):
        with pytest.raises((KeyError, FileNotFoundError)):
            Result(0, json.dumps(document).encode(), "").json()
