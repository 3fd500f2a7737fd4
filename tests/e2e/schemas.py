# SPDX-License-Identifier: LGPL-2.1-or-later
"""The schemas of what the program prints in JSON, as they are installed."""

import json
from functools import cache
from pathlib import Path

import jsonschema

DIRECTORY = Path(__file__).resolve().parent.parent.parent / "schemas"
COMMON = DIRECTORY / "common.json"


def files():
    """One a schema, and not the parts that several of them have."""
    return [path for path in sorted(DIRECTORY.glob("*.json")) if path != COMMON]


def name_of(path):
    """As the objects name it: "icn-hook/status/2"."""
    return f"icn-hook/{path.stem.replace('-', '/')}"


@cache
def validator(name):
    contents = [json.loads(path.read_text()) for path in (COMMON, DIRECTORY / f"{name.split('/', 1)[1].replace('/', '-')}.json")]
    resolver = jsonschema.RefResolver.from_schema(contents[1], store={content["$id"]: content for content in contents})
    return jsonschema.Draft202012Validator(contents[1], resolver=resolver)


def validate(document):
    """Fails unless the object is as its schema says."""
    validator(document["schema"]).validate(document)
