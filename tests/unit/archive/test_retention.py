"""Rules what an archive keeps."""

from __future__ import annotations

import itertools
import math
import threading
import time
from typing import Any

import pytest

from antiphon.archive import ArchiveBusy, Event, EventStore, InvalidRetention, Retention
from antiphon.archive.event_store import PURGED_AT_ONCE
from antiphon.archive.retention import apply

NOW = 1000.0


def fill(store: EventStore, count: int = 10, *tags: str) -> None:
    """Save events of which one is a second older than the next; the newest is of now."""
    begin = NOW - count + 1
    name = "-".join(tags) or "plain"
    store.save_many(Event(f"{name}-{n}", "", begin + n, list(tags)) for n in range(count))


def left(store: EventStore) -> list[str]:
    return [one.id for one in store.search(-math.inf)]


def test_what_is_too_old_goes(archive: EventStore) -> None:
    """An event of exactly that age stays."""
    fill(archive)

    assert 7 == apply(archive, [Retention(max_age_s=2)], now=NOW)
    assert ["plain-7", "plain-8", "plain-9"] == left(archive)


def test_what_is_too_many_goes(archive: EventStore) -> None:
    """The newest by their time stay, not those that were saved last."""
    fill(archive, 3)
    archive.save(Event("old", "", 1.0))

    assert 2 == apply(archive, [Retention(max_events=2)], now=NOW)
    assert ["plain-1", "plain-2"] == left(archive)


def test_both_limits_hold(archive: EventStore) -> None:
    """Whichever is reached first."""
    fill(archive)
    apply(archive, [Retention(max_age_s=5, max_events=2)], now=NOW)
    after_count = left(archive)
    apply(archive, [Retention(max_age_s=0, max_events=2)], now=NOW)

    assert ["plain-8", "plain-9"] == after_count
    assert ["plain-9"] == left(archive)


def test_a_rule_is_for_events_with_all_its_flags(archive: EventStore) -> None:
    """Others stay, and are not counted."""
    fill(archive, 3)
    fill(archive, 3, "Saved")
    fill(archive, 3, "Saved", "key:a")

    assert 2 == apply(archive, [Retention(max_events=1, flags=("Saved", "key:a"))], now=NOW)
    assert ["Saved-key:a-2"] == [one.id for one in archive.search(0, flags=["key:a"])]
    assert 7 == archive.stats().events


def test_an_event_goes_as_soon_as_one_rule_says_so(archive: EventStore) -> None:
    """Each rule is for itself."""
    fill(archive, 10, "Saved")
    rules = [Retention(max_age_s=8), Retention(max_events=3, flags=("Saved",))]

    assert 7 == apply(archive, rules, now=NOW)
    assert 3 == archive.stats().events


def test_exceptions_to_a_rule(archive: EventStore) -> None:
    """Audit events are kept for a year, and everything else for a week."""
    day = 86_400.0
    for age in (400, 300, 8, 6):
        stamp = NOW - age * day
        archive.save_many(
            Event(f"{tag}-{age}", "", stamp, [tag, "BaseEvent"]) for tag in ("AuditEvent", "Saved")
        )
    rules = [
        Retention(max_age_s=365 * day, flags=["AuditEvent"]),
        Retention(max_age_s=7 * day, unless=["AuditEvent"]),
    ]

    assert 4 == apply(archive, rules, now=NOW)
    assert ["AuditEvent-300", "AuditEvent-8", "AuditEvent-6", "Saved-6"] == left(archive)


def test_more_than_one_transaction_deletes(
    archive: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until nothing is left that is to go, in short ones."""
    fill(archive, 25)
    purge, counts = archive.purge, []

    def purge_few(**asked: Any) -> int:
        counts.append(purge(**asked, limit=10))
        return counts[-1]

    monkeypatch.setattr(archive, "purge", purge_few)

    assert 22 == apply(archive, [Retention(max_events=3)], now=NOW)
    assert [10, 10, 2, 0] == counts


def test_it_can_be_ended_between_transactions(
    archive: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest goes the next time."""
    fill(archive, 25)
    purge = archive.purge
    monkeypatch.setattr(archive, "purge", lambda **asked: purge(**asked, limit=10))
    asked = itertools.count()

    assert 20 == apply(
        archive, [Retention(max_events=0)], now=NOW, should_stop=lambda: next(asked) == 2
    )
    assert 5 == archive.stats().events


def test_who_saves_gets_half_of_the_time(
    archive: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two transactions it pauses for as long as the last one took."""
    left = iter([PURGED_AT_ONCE, PURGED_AT_ONCE, 7, 0])
    pauses: list[float] = []

    def purge(**_: Any) -> int:
        threading.Event().wait(0.02)
        return next(left)

    monkeypatch.setattr(archive, "purge", purge)
    monkeypatch.setattr("antiphon.archive.retention.time.sleep", pauses.append)

    assert 2 * PURGED_AT_ONCE + 7 == apply(archive, [Retention(max_events=0)])
    assert [True, True, True] == [0.02 <= pause <= 1.0 for pause in pauses]


def test_an_archive_that_is_locked_is_told(
    archive: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who applies them does so again later."""

    def locked(**_: Any) -> int:
        raise ArchiveBusy("locked")

    monkeypatch.setattr(archive, "purge", locked)

    with pytest.raises(ArchiveBusy):
        apply(archive, [Retention(max_events=0)])


def test_ages_count_from_this_machines_clock(archive: EventStore) -> None:
    """Unless told otherwise."""
    archive.save_many([Event("old", "", time.time() - 100), Event("new", "", time.time())])

    assert 1 == apply(archive, [Retention(max_age_s=50)])
    assert ["new"] == left(archive)


def test_no_rules_delete_nothing(archive: EventStore) -> None:
    """An archive keeps all, unless told otherwise."""
    fill(archive)

    assert 0 == apply(archive, [])


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ({}, "max_age_s or max_events"),
        ({"flags": ("x",)}, "max_age_s or max_events"),
        ({"max_age_s": -1}, "max_age_s is"),
        ({"max_age_s": math.nan}, "max_age_s is"),
        ({"max_age_s": math.inf}, "max_age_s is"),
        ({"max_age_s": "2h"}, "max_age_s is"),
        ({"max_age_s": True}, "max_age_s is"),
        ({"max_events": -1}, "max_events is"),
        ({"max_events": 1.5}, "max_events is"),
        ({"max_events": 1, "flags": "Saved"}, "flags are"),
        ({"max_events": 1, "flags": [7]}, "flags are"),
        ({"max_events": 1, "flags": 7}, "flags are"),
        ({"max_events": 1, "unless": "Saved"}, "unless are"),
        ({"max_events": 1, "unless": [7]}, "unless are"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(rule: dict[str, Any], why: str) -> None:
    """When it is made, not when it has deleted everything."""
    with pytest.raises(InvalidRetention, match=why):
        Retention(**rule)


def test_flags_may_be_a_list() -> None:
    """As settings have them; equal rules are equal."""
    assert Retention(1.0, flags=["a"]) == Retention(1.0, flags=("a",))
