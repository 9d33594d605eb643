"""Trap 14: an old value is cached again by a fill from a source that lags."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from bus_helpers import wait_until
from cache_scene import Scene, cache_url, sqlite_url

from antiphon.storage.string_value import StringValue


class Replica:
    """Lets a store answer with what a key was before, until it has caught up.

    Args:
        store: only its ``get`` is changed.
    """

    def __init__(self, store: Any) -> None:
        self.read = store.get
        self.old: dict[str, tuple[bytes, Any]] = {}
        self.is_behind = False
        store.get = self._get

    def take(self, key: str) -> None:
        """Take over what *key* is now."""
        value = self.read(key)
        with value.data as stream:
            self.old[key] = stream.read(), value.version

    def _get(self, key: str) -> Any:
        if not self.is_behind:
            return self.read(key)
        data, version = self.old[key]
        value = StringValue(data)
        value.version = version
        return value


@pytest.mark.parametrize("medium", ["memory", "sqlite", "redis"])
def test_an_older_version_than_was_heard_of_is_not_kept(
    medium: str, amqp_url: str, redis_url: str, system: str, tmp_path: Path
) -> None:
    """The event came, and then the replica answers with the version before it."""
    cache = cache_url(medium, tmp_path, redis_url)
    with Scene(amqp_url, system, sqlite_url(tmp_path), cache_url=cache) as scene:
        replica = Replica(scene.source)
        scene.write("p/a", "old")
        replica.take("p/a")
        replica.is_behind = True
        scene.write("p/a", "new")
        wait_until(lambda: scene.invalidator.stats().applied >= 1, "an event came")
        wait_until(
            lambda: scene.mounted.filling.ledger.position() == scene.source.head(),
            "all events came",
        )
        scene.read("p/a")

        assert scene.cached("p/a") is None
        replica.is_behind = False
        assert scene.read("p/a") == "new"
        assert scene.cached("p/a") == "new"
