"""human_date says what Encore's says, except where that was wrong."""

from __future__ import annotations

import logging
import random
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from antiphon.util import human_date

NOW = datetime(2026, 3, 29, 12, 30, 0, 250)


class Clock(datetime):
    """A clock that stands still."""

    @classmethod
    def now(cls, tz: Any = None) -> Any:
        return NOW if tz is None else NOW.replace(tzinfo=tz)

    @classmethod
    def utcnow(cls) -> Any:
        return NOW


@pytest.fixture
def stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Our module reads the clock that stands still."""
    monkeypatch.setattr(human_date, "datetime", Clock)


@pytest.fixture
def encore(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Encore's module, reading the same clock."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    import encore.util.human_date as theirs

    # It configures the logging of the whole program.
    root.handlers[:] = handlers
    root.setLevel(level)

    class Module:
        datetime = Clock
        timedelta = timedelta

    monkeypatch.setattr(theirs, "datetime", Module)
    return theirs


@pytest.mark.usefixtures("stopped")
@pytest.mark.parametrize("utc", [False, True])
def test_any_past_reads_as_in_encore(encore: Any, utc: bool) -> None:
    """Over ages of all sizes, and around every limit between units."""
    chance = random.Random(7)
    seconds = [chance.uniform(0, 10**power) for power in range(10) for _ in range(300)]
    limits = [60, 3600, 86400, 30 * 86400, 31 * 86400, 360 * 86400, 365 * 86400, 395 * 86400]
    seconds += [limit * n + by for limit in limits for n in (1, 2) for by in (-1, 0, 1, 3600)]
    times = [NOW - timedelta(seconds=age) for age in seconds]

    for each in times:
        assert encore.convertToHumanReadable(each, utc) == (
            human_date.convertToHumanReadable(each, utc)
        )


def test_seconds_since_the_epoch_are_as_in_encore(encore: Any) -> None:
    """Also for the hours that a change of the clocks skips or repeats."""
    chance = random.Random(7)
    times = [datetime(2026, 3, 29) + timedelta(minutes=30 * n) for n in range(10)]
    times += [datetime(1970, 1, 2) + timedelta(seconds=chance.uniform(0, 3e9)) for _ in range(2000)]

    for each in times:
        assert encore.makeEpochTime(each) == human_date.makeEpochTime(each)


@pytest.mark.usefixtures("stopped")
def test_the_dictionary_has_both() -> None:
    """It is what goes into JSON."""
    when = NOW - timedelta(days=3, hours=2, minutes=5)

    assert {
        "fancy_datetime": "3 days, 2 hours ago.",
        "seconds_since_epoch": int(time.mktime(when.timetuple())),
    } == human_date.makeFancyDatetime(when)


@pytest.mark.usefixtures("stopped")
@pytest.mark.parametrize(
    ("ahead", "expected"),
    [
        (timedelta(seconds=1), "in 1 second."),
        (timedelta(hours=26), "in 1 day, 2 hours."),
        (timedelta(days=400), "in 1 year, 1 month."),
    ],
)
def test_a_time_to_come_is_said_so(ahead: timedelta, expected: str) -> None:
    """Encore counts from the wrong end: 23 hours ago for one hour ahead."""
    assert expected == human_date.convertToHumanReadable(NOW + ahead)


@pytest.mark.usefixtures("stopped")
def test_aware_times_are_understood() -> None:
    """In any time zone; Encore raises TypeError."""
    when = NOW.replace(tzinfo=UTC) - timedelta(hours=1)
    elsewhere = when.astimezone(timezone(timedelta(hours=-7)))

    assert "1 hour ago." == human_date.convertToHumanReadable(elsewhere)
    assert int(when.timestamp()) == human_date.makeEpochTime(elsewhere)


def test_importing_it_leaves_the_logging_alone() -> None:
    """Encore's sends the debug messages of the whole program to standard error."""
    program = "import logging, antiphon.util.human_date; print(logging.getLogger().handlers)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

    assert "[]\n" == done.stdout
