"""An invalidator that several threads begin and end at once."""

from __future__ import annotations

import sys
import threading
import time

from antiphon.caching.invalidator import CacheInvalidator
from antiphon.messaging.bus import open_bus
from antiphon.storage.dict_memory_store import DictMemoryStore
from antiphon.storage.journal import Position
from antiphon.storage.mounted_store import MountedStore

DEADLINE_S = 20.0

#: What Python sets, or whoever ran before.
USUAL_S = sys.getswitchinterval()


class Source(DictMemoryStore):
    """A store that may be slow to tell its head."""

    def __init__(self) -> None:
        super().__init__()
        self.is_asked, self.may_answer = threading.Event(), threading.Event()
        self.may_answer.set()

    def head(self) -> Position:
        self.is_asked.set()
        assert self.may_answer.wait(DEADLINE_S)
        return super().head()


def cache_of(source: Source) -> MountedStore:
    mounted = MountedStore("", DictMemoryStore(), source, fill=True)
    mounted.connect()
    return mounted


def own_threads() -> set[str]:
    return {each.name for each in threading.enumerate() if each.name.startswith("antiphon-")}


def test_threads_that_begin_and_end_it_at_once_leave_nothing() -> None:
    """None fails, and after the last end no thread and no shorter interval is left."""
    failures: list[BaseException] = []
    invalidator = CacheInvalidator(cache_of(Source()), switch_interval_s=USUAL_S / 2)

    def play() -> None:
        try:
            for _ in range(20):
                invalidator.start()
                invalidator.stop()
        except BaseException as exc:
            failures.append(exc)

    players = [threading.Thread(target=play) for _ in range(4)]
    for player in players:
        player.start()
    for player in players:
        player.join(DEADLINE_S)
    invalidator.stop()

    assert [] == failures
    assert USUAL_S == sys.getswitchinterval()
    assert set() == own_threads()


def test_an_end_while_it_begins_is_an_end() -> None:
    """Who ends it while its first look takes long finds it ended, listeners and all."""
    source = Source()
    invalidator = CacheInvalidator(cache_of(source), bus := open_bus("memory:", system="ended"))
    source.is_asked.clear()
    source.may_answer.clear()
    beginner = threading.Thread(target=invalidator.start)
    beginner.start()
    assert source.is_asked.wait(DEADLINE_S)

    ender = threading.Thread(target=invalidator.stop)
    ender.start()
    deadline = time.monotonic() + DEADLINE_S
    while invalidator._running and time.monotonic() < deadline:
        time.sleep(0.001)
    source.may_answer.set()
    beginner.join(DEADLINE_S)
    ender.join(DEADLINE_S)

    assert not invalidator.is_trusted
    assert "antiphon-invalidator" not in own_threads()
    bus.close()
