"""Moments as people write them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import click
import pytest

from antiphon.cli.moments import Moment, parse_moment, told

#: A Saturday.
NOW = datetime(2026, 11, 21, 10, 30)


@pytest.fixture(autouse=True)
def _berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Local time is that of a place with summer time."""
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def utc(*parts: int) -> float:
    """Return a moment of UTC, in seconds since the epoch."""
    return datetime(*parts, tzinfo=UTC).timestamp()  # type: ignore[arg-type, misc]


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("now", utc(2026, 11, 21, 9, 30)),
        ("2h", utc(2026, 11, 21, 7, 30)),
        ("-2h", utc(2026, 11, 21, 7, 30)),
        ("1h30m", utc(2026, 11, 21, 8)),
        ("1.5 hours ago", utc(2026, 11, 21, 8)),
        ("3 Days ago", utc(2026, 11, 18, 9, 30)),
        ("1w 2d", utc(2026, 11, 12, 9, 30)),
        ("90s", utc(2026, 11, 21, 9, 28, 30)),
        ("10:30", utc(2026, 11, 21, 9, 30)),
        ("9:05:30", utc(2026, 11, 21, 8, 5, 30)),
        ("23:00", utc(2026, 11, 20, 22)),
        ("today", utc(2026, 11, 20, 23)),
        ("yesterday", utc(2026, 11, 19, 23)),
        ("yesterday 9:00", utc(2026, 11, 20, 8)),
        ("saturday", utc(2026, 11, 20, 23)),
        ("monday 9:00", utc(2026, 11, 16, 8)),
        ("2026-11-20", utc(2026, 11, 19, 23)),
        ("20261120", utc(2026, 11, 19, 23)),
        ("2026-11-20T10:00", utc(2026, 11, 20, 9)),
        ("2026-07-20 10:00", utc(2026, 7, 20, 8)),
        ("2026-11-20T10:00:00.5Z", utc(2026, 11, 20, 10) + 0.5),
        ("2026-11-20T10:00+05:30", utc(2026, 11, 20, 4, 30)),
        ("@12.5", 12.5),
        ("1763632800.25", 1763632800.25),
    ],
)
def test_moments(text: str, moment: float) -> None:
    """A duration is how long ago; a day its first moment; a time of day the latest such."""
    assert moment == parse_moment(text, NOW)


@pytest.mark.parametrize(
    "text",
    ["", "banana", "5", "2 fortnights", "25:00", "10:30 yesterday", "today 1h", "2026-13-01"],
)
def test_what_is_no_moment(text: str) -> None:
    """It is said, with what is allowed."""
    with pytest.raises(click.BadParameter, match=f"'{text}' is no time; write 2h, '3 days ago'"):
        Moment().convert(text, None, None)


def test_moments_are_told_in_local_time() -> None:
    """To the millisecond; one beyond all years is a number."""
    assert "2026-11-21 10:30:00.250" == told(utc(2026, 11, 21, 9, 30) + 0.25)
    assert ("@1e+18", "never") == (told(1e18), told(None))
