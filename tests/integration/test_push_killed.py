"""A push that is killed between any two of its steps is finished or undone; nothing is lost."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import antiphon
from antiphon.errors import KeyNotFound, VersionConflict
from antiphon.storage.journal import Position
from antiphon.storage.mounted_store import MountedStore
from antiphon.storage.sqlite_store import SqliteStore
from antiphon.storage.string_value import StringValue
from http_media import running_web

_PLAYER = Path(__file__).with_name("push_player.py")

#: More steps than a push has.
_STEPS = 40


class Player:
    """Plays pushes that end early."""

    def __init__(self, mount_url: str, backing_url: str) -> None:
        self.mount_url = mount_url
        self.backing_url = backing_url
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", str(_PLAYER), mount_url, backing_url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def push(self, step: int, key: str) -> bool:
        """Push *key* and be killed at *step*; False if it was over before."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([step, key]) + "\n")
        self._process.stdin.flush()
        status = int(self._process.stdout.readline())
        assert status in (0, 9), "the player failed"
        return bool(status == 9)

    def close(self) -> None:
        self._process.communicate()


@pytest.fixture(params=["sqlite", "files", "redis", "sqlite over http"])
def player(request: pytest.FixtureRequest, tmp_path: Path, redis_url: str) -> Iterator[Player]:
    """One for each kind of mount store."""
    kind, _, over = request.param.partition(" ")
    mount = {
        "sqlite": f"sqlite:///{tmp_path}/mount.db?durable=0",
        "files": f"file:///{tmp_path}/mount?durable=0",
    }.get(kind)
    if mount is None:
        mount = f"{redis_url}?namespace={tmp_path.name}"
    backing = f"sqlite:///{tmp_path}/backing.db?durable=0"
    with antiphon.open_store(backing), antiphon.open_store(mount):
        pass  # made here, so that the players need not
    if not over:
        player = Player(mount, backing)
        yield player
        player.close()
        return
    with running_web() as web, web.serving(SqliteStore(tmp_path / "backing.db")) as url:
        player = Player(mount, f"dynamic+{url}")
        yield player
        player.close()


def entries_of(backing: Any, key: str) -> int:
    """Return how often *key* was changed."""
    head = backing.head()
    begin = Position(head.store_id, head.epoch, 0, b"")
    return sum(entry.key == key for entry in backing.since(begin))


def read(store: Any, key: str) -> bytes | None:
    """Return the data of *key*, if it is there."""
    try:
        data: bytes = store.to_bytes(key)
    except KeyNotFound:
        return None
    return data


def killed_anywhere(player: Player, prefix: str) -> list[str]:
    """Push a key for each step at which a push can be killed; return the keys."""
    keys: list[str] = []
    for step in range(_STEPS):
        key = f"p/{prefix}{step}"
        if not player.push(step, key):
            assert step > 5, "a push has more steps"
            return keys
        keys.append(key)
    raise AssertionError("a push has more steps than are tried")


def test_it_is_finished_or_undone(player: Player) -> None:
    """After the next connect the source has the value once, or after the next push."""
    keys = killed_anywhere(player, "a")
    mount, backing = map(antiphon.open_store, (player.mount_url, player.backing_url))
    mounted = MountedStore("p/", mount, backing, fill=True)
    with mount, backing:
        mounted.connect()
        arrived = {key for key in keys if read(backing, key) is not None}
        for key in keys:
            assert (read(mount, key[2:]) is None) == (key in arrived), key
            if key not in arrived:
                mounted.push(key)
            assert b"mine" == read(backing, key), key
            assert read(mount, key[2:]) is None, key
            assert 1 == entries_of(backing, key), key
            assert mounted.filling.ledger.base(key) is None, key

        assert {} == mounted.filling.ledger.pushes()
        assert 0 < len(arrived) < len(keys)


def test_a_later_change_is_no_conflict_with_what_arrived(player: Player) -> None:
    """What arrived is recognised though others changed it since; what did not is a conflict."""
    keys = killed_anywhere(player, "b")
    mount, backing = map(antiphon.open_store, (player.mount_url, player.backing_url))
    mounted = MountedStore("p/", mount, backing, fill=True)
    with mount, backing:
        arrived = {key for key in keys if read(backing, key) is not None}
        for key in keys:
            backing.set(key, StringValue(b"theirs"))
        mounted.connect()
        for key in keys:
            assert (read(mount, key[2:]) is None) == (key in arrived), key
            if key not in arrived:
                with pytest.raises(VersionConflict):
                    mounted.push(key)
                assert b"mine" == read(mounted, key), key
            assert b"theirs" == read(backing, key), key

        assert {} == mounted.filling.ledger.pushes()
