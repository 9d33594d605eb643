"""Events as lines of JSON: out of one archive, into another."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from antiphon.archive import (
    Event,
    EventStore,
    Imported,
    InvalidLine,
    InvalidSearch,
    export_lines,
    import_lines,
    open_archive,
)
from antiphon.archive.exchange import from_line, to_line


@pytest.fixture
def other(tmp_path: Path) -> Iterator[EventStore]:
    """Another archive."""
    with open_archive(f"sqlite:///{tmp_path / 'other.db'}") as store:
        yield store


def line(**changed: Any) -> str:
    """Return a line with some fields of an event changed; None leaves one out."""
    fields = {"id": "a", "source": "shop", "timestamp": 1.5, "tags": ["x"], "content": "tea"}
    found = {name: value for name, value in {**fields, **changed}.items() if value is not None}
    return json.dumps(found) + "\n"


def some(count: int) -> list[Event]:
    return [Event(f"{number:04}", "shop", float(number)) for number in range(count)]


_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(
    st.builds(
        Event,
        _TEXT.filter(bool),
        _TEXT,
        st.floats(allow_nan=False, allow_infinity=False),
        st.lists(_TEXT, max_size=3, unique=True),
        _TEXT,
        received=st.none() | st.floats(0, 1e10),
        message=st.none() | st.binary(max_size=30),
    )
)
@example(Event("a", "\u2028", 1.0, ["\u2029"], "\x85\x1c\x0b\r\x00"))
@settings(max_examples=60, deadline=None)
def test_a_line_says_all_of_an_event(event: Event) -> None:
    """And is one line, whatever is in the event, read as text or as bytes."""
    text = to_line(event)

    assert [text.removesuffix("\n")] == text.splitlines()
    assert event == from_line(text) == from_line(text.encode())


def test_what_is_exported_can_be_imported(archive: EventStore, other: EventStore) -> None:
    """Equal in all, also through a file."""
    events = [
        Event("a", "shop", 2.25, ["x", "y"], 'tea "green"\n', received=3.5, message=b"\x00\xff"),
        Event("b", "", -1.0, [], "\u2028\x85\r"),
    ]
    archive.save_many(events)
    file = Path(str(archive.location)).with_name("lines")  # type: ignore[attr-defined]
    with file.open("w", encoding="utf-8") as out:
        out.writelines(export_lines(archive))

    with file.open(encoding="utf-8") as lines:
        counts = import_lines(other, lines)

    assert Imported(lines=2, events=2, saved=2) == counts
    assert sorted(events, key=lambda one: one.timestamp) == list(other.search(-10))


def test_it_is_readable(archive: EventStore) -> None:
    """People read the lines, and search them."""
    archive.save(Event("a", "Läden", 1, ["x"], "Grüner Tee"))

    assert (
        '{"id": "a", "source": "Läden", "timestamp": 1.0, "tags": ["x"], "content": "Grüner Tee"}\n'
        == "".join(export_lines(archive))
    )


def test_a_part_can_be_exported(archive: EventStore) -> None:
    """By time, flags and pattern."""
    for name, at, tags in (("a", 1, ["x"]), ("b", 2, ["x"]), ("c", 3, []), ("d", 9, ["x"])):
        archive.save(Event(name, "", at, tags, f"content of {name}"))
    archive.save(Event("e", "", 3, ["x"]))
    lines = export_lines(archive, 2, 3, ["x"], "content")

    assert ["b"] == [json.loads(one)["id"] for one in lines]


def test_what_makes_no_sense_is_told_at_the_call(archive: EventStore) -> None:
    """Before anything was written to a file."""
    with pytest.raises(InvalidSearch):
        export_lines(archive, 3, 2)


def test_importing_twice_is_harmless(archive: EventStore, other: EventStore) -> None:
    """What is there is kept as it is."""
    archive.save_many(some(3))
    other.save(Event("0001", "kept", 1.0))
    lines = list(export_lines(archive))

    assert [2, 0] == [import_lines(other, lines).saved for _ in range(2)]
    assert "kept" == other.get("0001").source


def test_blank_lines_and_more_fields_are_passed_over(archive: EventStore) -> None:
    """And a mark of the order of bytes; what is not required may be missing."""
    marked = "\ufeff" + line(colour="green")
    few = line(id="b", tags=None, content=None)
    counts = import_lines(archive, [marked, "\n", b"  \r\n", marked.encode(), few])

    assert Imported(lines=5, events=3, saved=2) == counts
    assert [["x"], []] == [one.tags for one in archive.search(0)]


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ("{", "no JSON"),
        (b"\xff\xfe{}", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ("9" * 5000, "no JSON"),
        ("7", "no JSON object, but int"),
        ("[]", "no JSON object, but list"),
        (line(id=None), "lacks id"),
        ('{"source": ""}', "lacks id and timestamp"),
        (line(id=""), "needs an id"),
        (line(id=7), "id must be text"),
        (line(timestamp="yesterday"), "timestamp must be seconds"),
        (line(timestamp=True), "timestamp must be seconds"),
        (line(timestamp=float("nan")), "timestamp"),
        (line(timestamp=10**400), "timestamp"),
        (line(received="now"), "received must be seconds"),
        (line(tags="x"), "tags"),
        (line(tags=[1]), "tag"),
        (line(content=1), "content must be text"),
        (line(content="\ud800"), "half a character"),
        (line(message=7), "text in base64"),
        (line(message="€"), "no base64"),
        (line(message="AAA"), "no base64"),
        (line(message="A A="), "no base64"),
        (line(message="QUJD!"), "no base64"),
    ],
)
def test_a_bad_line_is_told_with_its_number(
    archive: EventStore, bad: str | bytes, why: str
) -> None:
    """What stands before it is saved, and what follows is not."""
    with pytest.raises(InvalidLine, match=f"^line 3: .*{why}"):
        import_lines(archive, [line(), "\n", bad, line(id="b")])

    assert ["a"] == [one.id for one in archive.search(0)]


def test_mended_lines_can_be_imported_again(archive: EventStore) -> None:
    """After an error, from the beginning."""
    lines = [line(), "oops", line(id="b")]
    with pytest.raises(InvalidLine):
        import_lines(archive, lines)
    lines[1] = line(id="c")

    assert Imported(lines=3, events=3, saved=2) == import_lines(archive, lines)


def test_progress_is_told_after_each_transaction(archive: EventStore) -> None:
    """Of what is saved by then; and lines are read as they are needed."""
    told: list[tuple[int, int, int]] = []

    def progress(done: Imported) -> None:
        told.append((done.events, done.saved, archive.head()))

    import_lines(archive, map(to_line, some(1200)), progress=progress)

    assert [(500, 500, 500), (1000, 1000, 1000), (1200, 1200, 1200)] == told


def test_long_lines_are_saved_sooner(archive: EventStore) -> None:
    """Few of them are held in memory at a time."""
    told: list[int] = []
    lines = (line(id=str(number), content="x" * 2_500_000) for number in range(4))

    import_lines(archive, lines, progress=lambda done: told.append(done.events))

    assert [2, 4, 4] == told
