"""What docs/reference/wire-format.md says is so."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from antiphon.events.origin import Prefix
from antiphon.wire import binding_keys, envelope, extensions, routing, routing_key, values

DOCUMENT = (Path(__file__).parents[2] / "docs/reference/wire-format.md").read_text()


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the table that begins with *heading*."""
    table = DOCUMENT[DOCUMENT.index(heading) :].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table]


def test_its_program_runs() -> None:
    """A reader who copies it sees it work."""
    (program,) = re.findall(r"^```python\n(.*?)^```", DOCUMENT, re.M | re.S)

    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=60
    )

    assert 0 == done.returncode, done.stderr


def test_its_routing_keys_are_right() -> None:
    """Each row of the table of examples."""
    names = ["antiphon:BaseEvent", "shop:Sold"]
    for classes, origin, key in rows("| classes | origin | routing key |"):
        text = {"none": None, "the empty text": ""}.get(origin, origin.strip("`"))
        long_names = [*names, "x" * 300] if "more than fit" in classes else names
        assert key.strip("`") == routing_key(long_names, text).key


def test_its_bindings_are_right() -> None:
    """The rows whose keys are written out."""
    any_origin, one, prefix, _ = rows("| origin asked for | keys |")

    for row, spec in ((any_origin, None), (one, "a.b"), (prefix, Prefix("a.b"))):
        assert re.findall("`([^`]*C[^`]*|![^`]*)`", row[1]) == binding_keys("C", spec)


@pytest.mark.parametrize(
    ("sentence", "number"),
    [
        ("It has at most {} names.", routing.MAX_CLASSES),
        ("longer than {} bytes after escaping", routing.MAX_WORD_BYTES),
        ("A key has at most {} bytes", routing.MAX_KEY_BYTES),
        ("MUST NOT have more than 65 {} bytes", routing.MAX_HEADER_BYTES - 65_000),
        ("at most {} containers", values.MAX_DEPTH),
        ("at most {} are extensions", values.MAX_EXTENSIONS),
        ("more than {} MiB", envelope.MAX_BODY_BYTES // 1024**2),
        ("first item is the integer {}", envelope.FORMAT_VERSION),
    ],
)
def test_its_limits_are_right(sentence: str, number: int) -> None:
    """Each number is the one in the code."""
    assert sentence.format(number) in DOCUMENT


def test_its_tables_are_complete() -> None:
    """Every field and every extension type has a row."""
    assert envelope.FIELDS == len(rows("| index | field | type |"))
    codes = {int(row[0]) for row in rows("| type | value | payload |")}
    assert set(extensions._DECODERS) == codes


def test_each_requirement_is_shown_by_a_test() -> None:
    """The sentence of some test begins with its number, and no test names one that is not there."""
    required = re.findall(r"^- \*\*([A-Z]\d+)\*\* ", DOCUMENT, re.M)
    sentences = [
        numbers
        for path in (Path(__file__).parents[1]).rglob("test_*.py")
        for numbers in re.findall(r'^    """([A-Z]\d+(?:, [A-Z]\d+)*): ', path.read_text(), re.M)
    ]
    letters = {number[0] for number in required}
    shown = {n for numbers in sentences for n in numbers.split(", ") if n[0] in letters}

    assert len(required) == len(set(required))
    assert set(required) == shown
