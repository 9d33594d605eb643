"""Logs are JSON and show no password."""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

from services.skeleton.logs import MaskingFormatter


def logged(message: str, *args: object, secrets: tuple[str, ...] = (), **extra: Any) -> str:
    """Return the line for one record."""
    record = logging.LogRecord("a.b", logging.WARNING, "f.py", 1, message, args, None)
    vars(record).update(extra)
    return MaskingFormatter("invalidator", secrets).format(record)


def test_a_record_is_one_json_object() -> None:
    """Time, level, logger, service, message and whatever was given extra."""
    line = logged("read %d keys", 3, address="x:1", created=1.5)

    assert "\n" not in line
    found = json.loads(line)
    assert found["time"] == "1970-01-01T00:00:01.500Z"
    assert found["level"] == "WARNING"
    assert found["logger"] == "a.b"
    assert found["service"] == "invalidator"
    assert found["message"] == "read 3 keys"
    assert found["address"] == "x:1"


def test_an_exception_is_in_the_same_line() -> None:
    """A traceback does not break the line."""
    try:
        raise ValueError("bad\nnews")
    except ValueError:
        line = logged("failed", exc_info=sys.exc_info())

    assert "\n" not in line
    assert "bad\nnews" in json.loads(line)["exc_info"]


def test_secrets_are_masked_wherever_they_are() -> None:
    """In messages, arguments, URLs, extras and tracebacks, with quotes or without."""
    secret = 'p@ss"wörd'
    try:
        raise ValueError(f"cannot log in with {secret}")
    except ValueError:
        line = logged(
            "is %s",
            secret,
            secrets=(secret,),
            url="x://u:p%40ss%22w%C3%B6rd@h",
            exc_info=sys.exc_info(),
        )

    found = json.loads(line)
    assert found["message"] == "is ***"
    assert found["url"] == "x://u:***@h"
    assert "cannot log in with ***" in found["exc_info"]
    assert "wörd" not in line


def test_a_terminal_obeys_no_log() -> None:
    """Names of keys, classes and origins are somebody else's; the JSON says the same."""
    hostile = "a\x1b[2J\x7f\x9b31m\u202eb\U000e0001\ud800"

    line = logged("key %s", hostile)

    assert line.isprintable()
    assert f"key {hostile}" == json.loads(line)["message"]
