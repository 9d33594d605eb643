"""Ranges and entity tags."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.server.conditions import (
    Unsatisfiable,
    etag_of,
    is_unmodified,
    matches_any,
    range_of,
    strong_tags,
    version_of,
)
from antiphon.storage.journal import Version

VERSION = Version(1, 7, b"\x01" * 8)


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("bytes=0-0", (0, 1)),
        ("bytes=2-5", (2, 6)),
        ("bytes=2-", (2, 10)),
        ("bytes=-3", (7, 10)),
        ("bytes=-30", (0, 10)),
        ("bytes=9-99", (9, 10)),
        ("Bytes = 1 - 2", (1, 3)),
        ("bytes=5-2", None),
        ("bytes=0-1,3-4", None),
        ("bytes=-", None),
        ("lines=1-2", None),
        ("bytes=a-b", None),
        ("bytes=" + "9" * 5000 + "-", None),
    ],
)
def test_ranges(header: str, found: tuple[int, int] | None) -> None:
    """A range of bytes is found; anything else means all of the data."""
    assert found == range_of(header, 10)


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=11-12", "bytes=-0"])
def test_ranges_after_the_end(header: str) -> None:
    """A range without any byte of the data cannot be sent."""
    with pytest.raises(Unsatisfiable):
        range_of(header, 10)


@given(st.text(max_size=20), st.integers(0, 100))
def test_no_header_is_an_error_of_the_server(header: str, size: int) -> None:
    """Whatever a client sends is a range inside the data, none, or unsatisfiable."""
    try:
        found = range_of(f"bytes={header}", size)
    except Unsatisfiable:
        return

    assert found is None or 0 <= found[0] < found[1] <= size


def test_entity_tags() -> None:
    """Tags of ours are versions; weak ones count for reading only."""
    tag = etag_of(VERSION)

    assert f'"{VERSION}"' == tag
    assert [str(VERSION), "x"] == strong_tags(f'{tag}, W/"weak", "x"')
    assert VERSION == version_of(str(VERSION))
    assert version_of("something") is None
    assert matches_any(f'"a", W/{tag}', tag)
    assert matches_any("*", tag)
    assert not matches_any('"a"', tag)
    assert not matches_any("", tag)


def test_dates() -> None:
    """Seconds are what HTTP's dates can tell apart; a bad date says nothing."""
    assert is_unmodified("Thu, 01 Jan 1970 00:00:10 GMT", 10.9)
    assert not is_unmodified("Thu, 01 Jan 1970 00:00:10 GMT", 11.0)
    assert not is_unmodified("yesterday", 0.0)
    assert not is_unmodified("Thu, 01 Jan 99999999999999999999 00:00:10 GMT", 0.0)
    assert not is_unmodified("Thu, 01 Jan 1970 00:00:10 +99999999999999", 0.0)
