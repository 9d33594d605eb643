"""Moments as people write them: ``2h``, ``yesterday``, ``2026-11-20T10:00``."""

from __future__ import annotations

import re
from datetime import date, datetime, time, timedelta

import click

#: Seconds of each unit, by the words for it.
_UNITS = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), 60),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), 3600),
    **dict.fromkeys(("d", "day", "days"), 86400),
    **dict.fromkeys(("w", "week", "weeks"), 7 * 86400),
}

_PART = r"(\d+(?:\.\d+)?) ?([a-z]+)"
_AGO = re.compile(rf"-?{_PART}(?: ?{_PART})*(?: ago)?")
_CLOCK = re.compile(r"\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?")
_NUMBER = re.compile(r"@(-?\d+(?:\.\d+)?)|(\d{9,}(?:\.\d+)?)")
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")

#: Said of what is none.
FORMS = (
    "2h, '3 days ago', 10:30, yesterday, 'monday 9:00', 2026-11-20, 2026-11-20T10:00, @1763632800"
)


def parse_moment(text: str, now: datetime) -> float:
    """Return the moment that *text* says, in seconds since the epoch.

    Args:
        text: a time that has passed (``2h``, ``1h30m``, ``3 days ago``); a time of day, the
            latest such that has been; a day (``today``, ``yesterday``, ``monday``,
            ``2026-11-20``), its first moment, or with a time of day behind it; ISO 8601; or
            seconds since the epoch.
        now: the present, in local time and without a zone, as *text* is if it names none.

    Raises:
        ValueError: it is none of these.
    """
    words = " ".join(text.lower().split())
    if words == "now":
        return now.timestamp()
    if (number := _NUMBER.fullmatch(words)) is not None:
        return float(number[1] or number[2])
    if _AGO.fullmatch(words):
        return now.timestamp() - _seconds(words)
    if _CLOCK.fullmatch(words):
        return _latest(_time(words), now)
    day, _, clock = words.partition(" ")
    if (found := _day(day, now)) is not None and (not clock or _CLOCK.fullmatch(clock)):
        return datetime.combine(found, _time(clock) if clock else time()).timestamp()
    return datetime.fromisoformat(text.strip()).timestamp()


class Moment(click.ParamType):  # type: ignore[type-arg]  # generic since 8.2
    """An option that is a moment; see ``parse_moment``."""

    name = "time"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the moment, or fail with what is allowed."""
        if isinstance(value, float):
            return value
        try:
            return parse_moment(str(value), datetime.now())
        except (ValueError, OverflowError, OSError):
            self.fail(f"'{value}' is no time; write {FORMS}", param, ctx)


def told(seconds: float | None) -> str:
    """Return a moment for people, in local time, to the millisecond; ``never`` for None."""
    if seconds is None:
        return "never"
    try:
        return f"{datetime.fromtimestamp(seconds):%Y-%m-%d %H:%M:%S.%f}"[:-3]
    except (ValueError, OverflowError, OSError):
        return f"@{seconds:g}"  # beyond all years


def _seconds(words: str) -> float:
    total = 0.0
    for number, unit in re.findall(_PART, words.removesuffix(" ago")):
        if unit not in _UNITS:
            raise ValueError(f"no unit of time: {unit}")
        total += float(number) * _UNITS[unit]
    return total


def _day(word: str, now: datetime) -> date | None:
    today = now.date()
    if word in ("today", "yesterday"):
        return today - timedelta(days=word == "yesterday")
    if word in _WEEKDAYS:  # the latest; today's, if it is one
        return today - timedelta(days=(today.weekday() - _WEEKDAYS.index(word)) % 7)
    return None


def _time(words: str) -> time:
    hour, minute, *rest = words.split(":")
    second = float(rest[0]) if rest else 0.0
    return time(int(hour), int(minute), int(second), round(second % 1 * 1e6) % 1_000_000)


def _latest(clock: time, now: datetime) -> float:
    at = datetime.combine(now.date(), clock)
    return (at if at <= now else at - timedelta(days=1)).timestamp()
