"""Without a broker: the journals themselves say that they grew."""

import contextlib
import sqlite3
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from antiphon.caching import following
from antiphon.caching.invalidator import CacheInvalidator
from antiphon.errors import InvalidValue, StoreUnavailable
from antiphon.events.api import EventManager
from antiphon.storage.dict_memory_store import DictMemoryStore
from antiphon.storage.joined_store import JoinedStore
from antiphon.storage.journal import Position
from antiphon.storage.mounted_store import MountedStore
from antiphon.storage.sqlite_store import SqliteStore
from antiphon.storage.string_value import StringValue
from patience import wait_until

#: Seconds that anything here may take.
DEADLINE_S = 10.0


class Remote(DictMemoryStore):
    """A store whose changes come from elsewhere, and that can be out of reach."""

    def __init__(self) -> None:
        super().__init__()
        self.is_away = False
        self.looks = 0
        self.event_manager = EventManager()

    def head(self) -> Position:
        if self.is_away:
            raise StoreUnavailable("no answer")
        return super().head()

    def wait(self, position: Position, timeout_s: float) -> Position:
        if self.is_away:
            raise StoreUnavailable("no answer")
        return super().wait(position, timeout_s)

    def since(self, position: Position) -> Any:
        self.looks += 1
        if self.is_away:
            raise StoreUnavailable("no answer")
        return super().since(position)

    def write(self, key: str, data: bytes) -> None:
        """Change a key so that nobody here is told, as another process does."""
        manager, self.event_manager = self.event_manager, EventManager()
        self.set(key, StringValue(data))
        self.event_manager = manager


class Followed:
    """Remote stores joined, a cache of them, and an invalidator that hears no events."""

    def __init__(self, count: int = 1) -> None:
        self.remotes = [Remote() for _ in range(count)]
        self.backing = JoinedStore(self.remotes) if count > 1 else self.remotes[0]
        own = DictMemoryStore()
        own.event_manager = EventManager()
        self.mounted = MountedStore("p/", own, self.backing, fill=True)
        self.mounted.event_manager = EventManager()
        self.mounted.connect()
        self.invalidator = CacheInvalidator(self.mounted, check_interval_s=0.05)

    def read(self, key: str) -> bytes:
        return self.mounted.get(key).data.read()

    def is_cached(self, key: str) -> bool:
        return key in set(self.mounted.filling.ledger.keys())


@pytest.fixture
def followed() -> Iterator[Followed]:
    made = Followed()
    yield made
    made.invalidator.stop()


def test_a_change_is_heard_from_the_journal(followed: Followed) -> None:
    """What another process writes leaves the cache without any broker."""
    followed.remotes[0].write("p/a", b"one")
    followed.invalidator.start()
    assert followed.invalidator.is_trusted
    assert b"one" == followed.read("p/a")
    followed.remotes[0].write("p/a", b"two")
    wait_until(lambda: not followed.is_cached("p/a"), "the entry is dropped")

    assert b"two" == followed.read("p/a")


def test_nobody_asks_again_and_again(followed: Followed) -> None:
    """Waiting is all that is done while nothing changes."""
    followed.invalidator.start()
    looks = followed.remotes[0].looks
    (follower,) = followed.invalidator._followers
    wait_until(lambda: follower.confirmed_at > 0, "an answer says that nothing changed")
    first = follower.confirmed_at
    wait_until(lambda: follower.confirmed_at > first, "another one does")

    age_s = followed.invalidator.stats().staleness_s
    assert age_s is not None
    assert age_s < DEADLINE_S
    assert looks == followed.remotes[0].looks


def test_an_own_write_needs_no_waiting(followed: Followed) -> None:
    """What this process writes is dropped before the write returns."""
    followed.remotes[0].write("p/a", b"one")
    followed.invalidator.start()
    followed.read("p/a")
    followed.backing.set("p/a", StringValue(b"two"))

    assert not followed.is_cached("p/a")


def test_several_journals_are_followed_each_by_itself() -> None:
    """A joined store is as many journals as it has stores."""
    followed = Followed(3)
    with followed.invalidator:
        followed.remotes[2].write("p/a", b"one")
        wait_until(lambda: followed.invalidator.is_trusted, "it is trusted")
        followed.read("p/a")
        followed.remotes[1].write("p/a", b"two")
        wait_until(lambda: not followed.is_cached("p/a"), "the entry is dropped")

        assert b"two" == followed.read("p/a")
        assert 3 == len(followed.mounted.filling.ledger.positions())


def test_a_store_mounted_at_a_prefix_tells_of_its_keys_there() -> None:
    """Its events and its journal have the keys of that store, the cache those of the whole."""
    top, bottom = Remote(), Remote()
    bottom.write("p/a", b"below")
    whole = MountedStore("p/", top, bottom)
    own = DictMemoryStore()
    own.event_manager = EventManager()
    mounted = MountedStore("", own, whole, fill=True)
    mounted.event_manager = EventManager()
    mounted.connect()
    with CacheInvalidator(mounted, check_interval_s=0.05):
        seen = [mounted.get("p/a").data.read()]
        top.set("a", StringValue(b"above"))
        seen.append(mounted.get("p/a").data.read())
        top.write("a", b"elsewhere")
        wait_until(lambda: mounted.get("p/a").data.read() == b"elsewhere", "the journal tells")

    assert [b"below", b"above"] == seen


def test_a_journal_that_does_not_answer_is_doubt(
    followed: Followed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cache is trusted only while answers come in time, and again when they do."""
    monkeypatch.setattr(following, "GRACE_S", 0.1)
    followed.remotes[0].write("p/a", b"one")
    followed.invalidator.start()
    followed.remotes[0].is_away = True
    wait_until(lambda: not followed.invalidator.is_trusted, "the silence is noticed")
    assert followed.invalidator.doubt is not None
    followed.remotes[0].is_away = False
    wait_until(lambda: followed.invalidator.is_trusted, "it is trusted again")

    assert b"one" == followed.read("p/a")


def test_its_threads_end_with_it(followed: Followed) -> None:
    """stop() leaves nobody behind, and the cache in nobody's care."""
    followed.invalidator.start()
    assert followed.invalidator.is_alive()
    followed.invalidator.stop()

    left = {thread.name for thread in threading.enumerate()}
    ours = ("antiphon-cache", "antiphon-invalidator")
    assert not {name for name in left if name.startswith(ours)}
    assert followed.mounted.filling.ledger.lookup("p/a").beat is None


def test_a_store_without_a_journal_needs_a_bus() -> None:
    """The error says what to do."""

    class Plain(DictMemoryStore):
        since = None  # type: ignore[assignment]

        def journals(self) -> None:
            return None

    own = DictMemoryStore()
    mounted = MountedStore("p/", own, Plain(), fill=True)
    with pytest.raises(InvalidValue, match=r"no journal|give"):
        mounted.connect()
        CacheInvalidator(mounted)


def test_what_is_no_bus_is_refused(followed: Followed) -> None:
    """The error names what was given, and what is meant."""
    with pytest.raises(InvalidValue, match="what open_bus"):
        CacheInvalidator(followed.mounted, EventManager())  # type: ignore[arg-type]


def test_a_write_over_a_locked_cache_is_not_held_up(tmp_path: Any) -> None:
    """The writer goes on within the tenth of a second, and reads what it wrote."""
    store = Remote()
    path = f"{tmp_path}/cache.db"
    own = SqliteStore(path)
    own.event_manager = EventManager()
    mounted = MountedStore("p/", own, store, fill=True)
    mounted.event_manager = EventManager()
    mounted.connect()
    store.write("p/a", b"one")
    with CacheInvalidator(mounted, check_interval_s=0.05):
        assert b"one" == mounted.get("p/a").data.read()
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            began = time.monotonic()
            store.set("p/a", StringValue(b"two"))
            took_s = time.monotonic() - began
            is_fresh = mounted.filling.freshness.covers(1)
            other.execute("ROLLBACK")
        wait_until(lambda: mounted.get("p/a").data.read() == b"two", "the change is applied")

        assert took_s < 2
        assert not is_fresh
    own.disconnect()
