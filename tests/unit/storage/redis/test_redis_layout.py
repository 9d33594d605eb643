"""What lies where in Redis, and that it comes back as it was."""

from __future__ import annotations

import datetime
import re
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.errors import IncompatibleStore
from antiphon.events.event_id import EventId
from antiphon.storage.journal import JournalEntry, Version
from antiphon.storage.metadata import encode, encode_conditions, matches, normalise
from antiphon.storage.redis_layout import (
    INDEXED_BYTES,
    Header,
    Layout,
    fulfils,
    metadata_lines,
    metadata_of,
    parse_entry,
)
from antiphon.storage.redis_scripts import load_script

_text = st.text(st.characters(codec="utf-8"), max_size=20)
_scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats()
    | _text
    | st.binary(max_size=20)
    | st.uuids()
    | st.dates()
    | st.datetimes()
)
_values = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_text, inner, max_size=3),
    max_leaves=8,
)
_metadata = st.dictionaries(_text, _values, max_size=4)


@given(_metadata)
def test_metadata_come_back_as_they_were(metadata: dict[str, Any]) -> None:
    """Whatever names and values hold, also tabs, line feeds and marks of the codec."""
    plain = normalise(metadata)

    again = metadata_of(metadata_lines(plain).encode())
    assert encode(plain) == encode(again)
    assert [type(plain[name]) for name in plain] == [type(again[name]) for name in plain]


@given(_metadata)
def test_metadata_lines_can_be_parted_by_a_script(metadata: dict[str, Any]) -> None:
    """One line an entry, one tab in each, and no other control characters."""
    lines = metadata_lines(normalise(metadata)).split("\n") if metadata else []

    assert len(metadata) == len(lines)
    for line in lines:
        assert re.fullmatch(r'"[ -~]*"\t[ -~]+', line)


@given(_metadata, st.dictionaries(_text, _scalars, min_size=1, max_size=1))
def test_a_condition_holds_as_in_every_other_store(
    metadata: dict[str, Any], condition: dict[str, Any]
) -> None:
    """Lines are equal exactly if the values are the same to the last type."""
    plain = normalise(metadata)
    for wanted in (condition, dict(list(metadata.items())[:1])):
        if not wanted:
            continue
        lines = {metadata_lines(normalise(wanted)).encode()}

        expected = matches(plain, encode_conditions(wanted))
        assert expected == fulfils(metadata_lines(plain).encode(), lines)


def test_long_lines_are_indexed_by_a_digest() -> None:
    """The key of the set of a long value has a bounded length, and differs for each value."""
    one, other = ("x" * 5000 + end for end in "ab")
    names = {Layout.of("n").index(metadata_lines({"n": text})) for text in (one, other)}

    assert 2 == len(names)
    assert all(re.fullmatch(rb"\{n\}:i:#[0-9a-f]{40}", name) for name in names)


def test_the_script_and_the_reader_index_alike() -> None:
    """The limit that decides about digests stands in both languages."""
    source = load_script("apply", "lines").source.decode()

    assert f"local INDEXED_BYTES = {INDEXED_BYTES}\n" in source


@pytest.mark.parametrize(
    "header",
    [
        Header(Version(1, 2, b"12345678"), 1.5, 2.25, 0),
        Header(Version(3, 2**53, b"\0" * 8), 1732180000.123456, None, 1 << 40, "abcd", 1 << 19),
        Header(None, None, None, 7),
    ],
)
def test_a_header_comes_back_as_it_was(header: Header) -> None:
    """Text and parts of a header say the same."""
    assert header == Header.parse(str(header).encode())


@pytest.mark.parametrize("text", [b"", b"1-2-3 x y", b"\xff", b"a b c d e f", b"1 2 3 4 5 6 7"])
def test_what_is_no_header_is_refused(text: bytes) -> None:
    """A record of somebody else is an error of ours."""
    with pytest.raises(IncompatibleStore, match="no record"):
        Header.parse(text)


def _entry(**parts: bytes) -> list[bytes]:
    words = {
        "id": b"3132333435363738",
        "event": b"000000000000000000000001-7",
        "action": b"set",
        "owner": b"000000000000000000000001",
        "last": b"1",
        "time": b"1732180000123456000",
        "key": "ü and spaces".encode(),
        **parts,
    }
    return [b"e", b" ".join(words.values()), b"later", b"unknown fields are no harm"]


def test_a_journal_entry_comes_back_as_it_was() -> None:
    """All fields of the stream become the entry, and unknown ones are ignored."""
    publisher = bytes(11) + b"\1"

    assert JournalEntry(
        Version(2, 9, b"12345678"),
        "ü and spaces",
        "set",
        EventId(publisher, 7),
        publisher,
        True,
        1732180000123456000,
    ) == parse_entry(b"2-9", _entry())
    assert parse_entry(b"2-9", _entry(event=b"-")).event_id is None
    assert b"" == parse_entry(b"2-9", _entry(owner=b"-")).owner


@pytest.mark.parametrize("broken", [{"id": b"xyz"}, {"time": b""}, {"key": b"\xff"}])
def test_what_is_no_journal_entry_is_refused(broken: dict[str, bytes]) -> None:
    """A stream of somebody else is an error of ours."""
    with pytest.raises(IncompatibleStore, match="entry 1-1 of the journal"):
        parse_entry(b"1-1", _entry(**broken))


def test_all_keys_of_a_namespace_are_in_one_slot() -> None:
    """What stands in the first braces decides the slot; no key of a user changes that."""
    for namespace in ("n", "a:b", "ü x", "*"):
        layout = Layout.of(namespace)
        for name in (
            layout.name("meta"),
            layout.record("a{b}c"),
            layout.record("}"),
            layout.generation("00"),
            layout.index("00"),
            layout.cached("{"),
            layout.reservation(b"1"),
        ):
            assert namespace.encode() == name[1 : name.index(b"}")]
            assert name.startswith(b"{")


def test_names_of_different_parts_never_meet() -> None:
    """No key of a user looks like another part of the store."""
    layout = Layout.of("n")
    names = [layout.name(part) for part in ("meta", "journal", "keys", "intent", "cache:state")] + [
        make(key)
        for make in (layout.record, layout.generation, layout.cached, layout.index)
        for key in ("", "k:", "cache:k:", "meta", ":")
    ]

    assert len(names) == len(set(names))


def test_dates_in_metadata_are_told_apart() -> None:
    """A date, a moment and the text of either are three conditions."""
    day = datetime.date(2024, 1, 2)
    lines = {
        metadata_lines(normalise({"n": value}))
        for value in (day, datetime.datetime(2024, 1, 2), "2024-01-02", UUID(int=1))
    }

    assert 4 == len(lines)
