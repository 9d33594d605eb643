"""The archive of a recorder, while its rules are at work."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from antiphon.archive import Event, Retention, open_archive
from antiphon.archive.sqlite_walking import Keys
from patience import wait_until
from services.recorder.archive import KeptArchive


def test_a_rule_that_looks_at_millions_does_not_keep_it_from_stopping(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is ended by closing the archive."""
    url = f"sqlite:///{tmp_path}/archive.db"
    with open_archive(url) as store:
        store.save(Event("old", "", 1.0))
    is_walking = threading.Event()

    def endless(connection: Any, query: Any, after: Any, head: Any, size: int) -> Keys:
        is_walking.set()
        return Keys([], after)

    monkeypatch.setattr("antiphon.archive.sqlite_sparing.keys_after", endless)
    monkeypatch.setattr("services.recorder.archive._ENDING_S", 0.05)
    kept = KeptArchive(url, [Retention(max_age_s=1, unless=["Audit"])])
    kept.start()
    wait_until(is_walking.is_set, "the rule is at work")
    began = time.monotonic()
    kept.stop()

    assert time.monotonic() - began < 5


def test_an_idle_archive_that_was_replaced_is_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without an event to be saved: its figures are those of the file that is there."""
    monkeypatch.setattr("services.recorder.archive.LOOK_S", 0.05)
    path = tmp_path / "archive.db"
    kept = KeptArchive(f"sqlite:///{path}")
    kept.start()
    try:
        wait_until(lambda: kept.stats() is not None, "it was looked at")
        with open_archive(f"sqlite:///{tmp_path}/backup.db") as backup:
            backup.save(Event("restored", "", 1.0))
        for log in ("archive.db-wal", "archive.db-shm"):  # as the reference asks for
            (tmp_path / log).unlink(missing_ok=True)
        (tmp_path / "backup.db").replace(path)
        wait_until(lambda: getattr(kept.stats(), "events", 0) == 1, "the backup is open")
    finally:
        kept.stop()

    assert kept.is_alive()
