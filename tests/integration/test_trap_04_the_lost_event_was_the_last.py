"""Trap 4: stale after a partition, worst when the lost event was the last one."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from bus_helpers import wait_until
from cache_scene import BOUND_S, Scene, sqlite_url


def test_a_lost_last_event_is_stale_for_the_bound_at_most(
    amqp_url: str, system: str, tmp_path: Path
) -> None:
    """The network falls silent, one key is written, and nothing more: the reader finds out."""
    with Scene(amqp_url, system, sqlite_url(tmp_path)) as scene:
        scene.write("p/a", "old")
        scene.warm("p/a", "old")
        with scene.silence():
            scene.write("p/a", "new")

            assert scene.seconds_until("p/a", "new") <= BOUND_S


def test_it_heals_although_nothing_is_written_any_more(
    amqp_url: str, system: str, tmp_path: Path
) -> None:
    """After the silence the cache drops what changed, vouches for itself, and is of use again."""
    with Scene(amqp_url, system, sqlite_url(tmp_path)) as scene:
        scene.write("p/a", "old")
        scene.warm("p/a", "old")
        with scene.silence():
            wait_until(lambda: not scene.invalidator.is_trusted, "the silence is noticed")
            scene.write("p/a", "new")
        wait_until(lambda: scene.invalidator.is_trusted, "it is vouched for again")
        head = scene.source.head()

        assert head == scene.mounted.filling.ledger.position()
        assert scene.read("p/a") == "new"
        hits = scene.mounted.cache_stats().hits
        assert scene.read("p/a") == "new"
        assert scene.mounted.cache_stats().hits == hits + 1


def truncate(path: Path) -> None:
    """Leave the newest entry of the journal only."""
    connection = sqlite3.connect(path, isolation_level=None, timeout=10)
    connection.execute(
        'DELETE FROM "store.journal" WHERE sequence < (SELECT max(sequence) FROM "store.journal")'
    )
    connection.close()


def restore(path: Path) -> None:
    """Put the backup back that was made before."""
    with (
        sqlite3.connect(path.with_suffix(".backup"), timeout=10) as backup,
        sqlite3.connect(path, timeout=10) as store,
    ):
        backup.backup(store)
    backup.close()
    store.close()


@pytest.mark.parametrize(
    ("lose", "text"), [(truncate, "new"), (restore, "old")], ids=["truncated", "restored"]
)
def test_a_lost_history_is_found_after_the_silence(
    lose: Callable[[Path], None], text: str, amqp_url: str, system: str, tmp_path: Path
) -> None:
    """What the journal cannot tell any more is checked against the source, key by key."""
    path = tmp_path / "store.db"
    with Scene(amqp_url, system, sqlite_url(tmp_path), check_interval_s=0.5) as scene:
        scene.write("p/a", "old")
        scene.write("p/b", "same")
        with (
            sqlite3.connect(path, timeout=10) as store,
            sqlite3.connect(path.with_suffix(".backup")) as backup,
        ):
            store.backup(backup)
        store.close()
        backup.close()
        with scene.silence():
            scene.write("p/c", "more")
            scene.write("p/a", "new")
            scene.seconds_until("p/a", "new")
            scene.read("p/b")
            lose(path)

        assert scene.seconds_until("p/a", text) <= BOUND_S
        assert scene.read("p/b") == "same"
        wait_until(
            lambda: scene.mounted.filling.ledger.position() == scene.source.head(),
            "the position is at the head",
        )
        assert scene.read("p/a") == text
