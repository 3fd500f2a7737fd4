# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a verb says when it cannot answer."""

CODES = {1: "check-failed", 2: "usage", 3: "invalid", 4: "conflict", 5: "hardware", 6: "busy", 7: "unverified"}


def assert_error(result, status, message, json):
    """MESSAGE is the one line on stderr; with JSON it is an object on stdout too, which is returned."""
    assert (result.status, result.stderr) == (status, f"icn-hook: {message}\n"), result
    if not json:
        assert result.stdout == b""
        return None
    found = result.json()
    expected = {"schema": "icn-hook/error/1", "status": status, "code": CODES[status], "text": message}
    assert {key: found.get(key) for key in expected} == expected
    return found
