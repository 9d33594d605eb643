"""Trap 5: an old value that was under way is cached again after its invalidation."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from bus_helpers import wait_until
from cache_scene import Scene, cache_url, sqlite_url


class Late:
    """Holds the answers of a store up, as a network does, until it is told to let them go.

    Args:
        store: only its ``get`` is changed.
    """

    def __init__(self, store: Any) -> None:
        self._read = store.get
        self.given = threading.Event()
        self.arrives = threading.Event()
        store.get = self._get

    def _get(self, key: str) -> Any:
        value = self._read(key)
        self.given.set()
        assert self.arrives.wait(30)
        return value


@pytest.mark.parametrize("medium", ["memory", "sqlite", "redis"])
def test_an_answer_that_the_event_overtook_is_not_kept(
    medium: str, amqp_url: str, redis_url: str, system: str, tmp_path: Path
) -> None:
    """The store answers, the key changes, the event comes first: the answer is not cached."""
    cache = cache_url(medium, tmp_path, redis_url)
    with Scene(amqp_url, system, sqlite_url(tmp_path), cache_url=cache) as scene:
        scene.write("p/a", "old")
        wait_until(lambda: scene.invalidator.stats().applied == 1, "the first event came")
        late = Late(scene.source)
        answers: list[str] = []
        reader = threading.Thread(target=lambda: answers.append(scene.read("p/a")))
        reader.start()
        assert late.given.wait(30)
        scene.write("p/a", "new")
        wait_until(lambda: scene.invalidator.stats().applied == 2, "the second event came")
        late.arrives.set()
        reader.join(30)

        assert scene.cached("p/a") in (None, "new")
        assert scene.read("p/a") == "new"
        assert scene.cached("p/a") == "new"
