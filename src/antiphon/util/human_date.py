"""How long ago something was, as people say it.

A year is 365 days and a month 30, and only the two largest units are told:
who reads "1 year, 3 months ago." does not ask for the minutes.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TypedDict


class FancyDatetime(TypedDict):
    """What ``makeFancyDatetime()`` returns; fit for JSON."""

    fancy_datetime: str
    seconds_since_epoch: int


def convertToHumanReadable(date_time: datetime, utc: bool = False) -> str:  # noqa: N802
    """Return how long ago *date_time* was, such as ``3 days, 2 hours ago.``

    Args:
        date_time: naive ones are local time; aware ones say themselves.
        utc: a naive *date_time* is UTC.

    A time to come reads ``in 3 days, 2 hours.``
    """
    if date_time.tzinfo is not None:
        age = datetime.now(UTC) - date_time
    elif utc:
        age = datetime.now(UTC).replace(tzinfo=None) - date_time
    else:
        age = datetime.now() - date_time
    if age < timedelta(0):
        return f"in {_in_words(-age)}."
    return f"{_in_words(age)} ago."


def makeEpochTime(date_time: datetime) -> int:  # noqa: N802
    """Return the whole seconds from the Unix epoch to *date_time*; naive ones are local time."""
    if date_time.tzinfo is not None:
        return int(date_time.timestamp() // 1)
    return int(time.mktime(date_time.timetuple()))


def makeFancyDatetime(req_datetime: datetime) -> FancyDatetime:  # noqa: N802
    """Return what the other two say of *req_datetime*, as a dictionary."""
    return {
        "fancy_datetime": convertToHumanReadable(req_datetime),
        "seconds_since_epoch": makeEpochTime(req_datetime),
    }


def _in_words(age: timedelta) -> str:
    years, days = divmod(age.days, 365)
    months, days = divmod(days, 30)
    hours, seconds = divmod(age.seconds, 3600)
    minutes, seconds = divmod(seconds, 60)
    if years:
        told = [(years, "year"), (months, "month")]
    elif months:
        told = [(months, "month"), (days, "day")]
    elif days:
        told = [(days, "day"), (hours, "hour")]
    else:
        told = [(hours, "hour"), (minutes, "minute")]
    words = [f"{count} {unit}{'' if count == 1 else 's'}" for count, unit in told if count]
    return ", ".join(words) or f"{seconds} second{'' if seconds == 1 else 's'}"
