"""Purges of an archive in sqlite that spare some events."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from antiphon.archive import Event, EventStore, open_archive
from antiphon.archive import sqlite_sparing as sparing
from antiphon.testing.archive_suite import at_once, event, ids, purge_all


@pytest.fixture
def walks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One number for each part of a walk."""
    seen: list[int] = []
    walk = sparing.keys_after

    def counted(*arguments: Any) -> Any:
        seen.append(1)
        return walk(*arguments)

    monkeypatch.setattr(sparing, "keys_after", counted)
    return seen


def test_what_is_spared_is_walked_over_once(
    archive: EventStore, walks: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A year of audit events costs nothing every minute."""
    monkeypatch.setattr("antiphon.archive.sqlite_walking._STEP_S", 0.0)
    archive.save_many(event(n, n, "Audit") for n in range(3000))
    archive.save_many(event(n, n) for n in range(3000, 3010))
    rule: dict[str, Any] = {"before": 3005.0, "unless": ["Audit"]}

    assert 5 == purge_all(archive, **rule)
    first = len(walks)
    assert 0 == purge_all(archive, **rule)
    assert 2 == archive.purge(before=3007.0, unless=["Audit"])
    assert len(walks) - first <= 3 < first


def test_a_rule_that_reaches_less_far_is_not_misled(archive: EventStore) -> None:
    """What another has passed over may be what comes late for this one."""
    archive.save_many(event(n, n, *(["Audit"] if n % 2 else [])) for n in range(20))
    assert 5 == archive.purge(before=10.0, unless=["Audit"])
    archive.save_many([event(30, 3), event(31, 8)])

    assert 1 == archive.purge(before=5.0, unless=["Audit"])
    assert 1 == archive.purge(before=10.0, unless=["Audit"])
    assert 5 == archive.purge(before=20.0, unless=["Audit"])


def test_two_who_purge_at_once_keep_so_many(archive: EventStore, archive_url: str) -> None:
    """Neither deletes what the other has left."""
    with open_archive(archive_url) as other:
        archive.save_many(event(n, n, *(["Audit"] if n % 3 == 0 else [])) for n in range(900))

        def work(worker: int) -> None:
            purge_all((archive, other)[worker % 2], keep=100, unless=["Audit"], limit=7)

        at_once(work, 4)

    left = [one.id for one in archive.search(0) if not one.tags]
    assert [f"e{n}" for n in range(900) if n % 3][-100:] == left
    assert 300 == len(ids(archive.search(0, flags=["Audit"])))


def test_what_others_deleted_meanwhile_is_passed_over(
    archive: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes on with what is left."""
    archive.save_many(event(n, n) for n in range(10))
    find, met = sparing.Sparing._find, []

    def find_and_lose(self: Any, *arguments: Any) -> Any:
        doomed = find(self, *arguments)
        if not met:
            for key in doomed.keys:
                archive.delete(f"e{key.place - 1}")
        met.append(len(doomed.keys))
        return doomed

    monkeypatch.setattr(sparing.Sparing, "_find", find_and_lose)

    assert 3 == archive.purge(before=6.0, unless=["Audit"], limit=3)
    assert ["e6", "e7", "e8", "e9"] == ids(archive.search(0))
    assert [3, 3] == met


def test_exceptions_take_no_lock_until_something_goes(tmp_path: Path) -> None:
    """While another process holds it, a purge that deletes nothing does not wait."""
    url = f"sqlite:///{tmp_path / 'a.db'}"
    with open_archive(url, timeout_s=0.1) as archive:
        archive.save_many(Event(f"a{n}", "", n, ["Audit"]) for n in range(10))
        with archive._file._borrowed() as connection:  # type: ignore[attr-defined]
            connection.execute("BEGIN IMMEDIATE")
            count = archive.purge(before=100.0, unless=["Audit"])
            connection.execute("ROLLBACK")

        assert 0 == count
