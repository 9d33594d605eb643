"""What the user wrote and has not pushed is the user's; a push is done once or not at all."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from antiphon.caching.events import CacheConflictEvent
from antiphon.caching.invalidator import CacheInvalidator
from antiphon.errors import (
    InvalidValue,
    KeyNotFound,
    StoreUnavailable,
    TransactionError,
    VersionConflict,
)
from antiphon.events.event_manager import EventManager
from antiphon.storage import pushing
from antiphon.storage.abstract_store import AbstractStore
from antiphon.storage.authorizing_store import AuthorizingStore, User
from antiphon.storage.dict_memory_store import DictMemoryStore
from antiphon.storage.joined_store import JoinedStore
from antiphon.storage.journal import ABSENT, Position, Version
from antiphon.storage.ledger import CacheLedger
from antiphon.storage.mounted_store import MountedStore
from antiphon.storage.own_writes import Conflict, OwnWrites
from antiphon.storage.push_note import PushNote, Try
from antiphon.storage.sqlite_store import SqliteStore
from antiphon.storage.string_value import StringValue


class Cut(BaseException):
    """The process is cut off here, as far as the store can tell."""


class Cache:
    """A cache that can be opened again and again over the same media."""

    def __init__(self, backing: Any = None) -> None:
        self.mount = DictMemoryStore()
        self.backing: Any = DictMemoryStore() if backing is None else backing
        self.mounted = self.opened()

    def opened(self) -> MountedStore:
        """Return the cache as another process has it."""
        mounted = MountedStore("p/", self.mount, self.backing, fill=True)
        mounted.connect()
        return mounted

    @property
    def own(self) -> OwnWrites:
        return self.mounted.filling.own

    @property
    def ledger(self) -> CacheLedger:
        return self.mounted.filling.ledger

    def write(self, key: str, data: bytes) -> None:
        self.mounted.set(key, StringValue(data, {"by": "me"}))

    def push_and_die(self, key: str, *, arrives: bool) -> None:
        """Begin to push *key*, and be cut off before or after it has arrived."""
        real = self.backing.set

        def cut(*args: Any, **kwargs: Any) -> None:
            if arrives:
                real(*args, **kwargs)
            raise Cut

        with patch.object(self.backing, "set", cut), pytest.raises(Cut):
            self.mounted.push(key)

    def theirs(self, key: str, data: bytes) -> Version | None:
        """Somebody else changes the source."""
        version: Version | None = self.backing.set(key, StringValue(data))
        return version


@pytest.fixture
def cache() -> Cache:
    return Cache()


def changes_of(store: Any, key: str) -> int:
    """Return how often *key* was changed."""
    head = store.head()
    begin = Position(head.store_id, head.epoch, 0, b"")
    return sum(entry.key == key for entry in store.since(begin))


# -- What the user wrote stays ------------------------------------------------


@pytest.mark.parametrize(
    "harm",
    [
        lambda ledger: ledger.void("p/a", None),
        lambda ledger: ledger.void_many([("p/a", None)]),
        lambda ledger: ledger.void_prefix("", None),
        lambda ledger: ledger.suspect(),
        lambda ledger: ledger.advance(None),
        lambda ledger: ledger.evict(["p/a"]),
        lambda ledger: ledger.doubt(),
    ],
    ids=["key", "keys", "prefix", "suspect", "history", "eviction", "doubt"],
)
@pytest.mark.parametrize("pushed", [False, True])
def test_no_invalidation_reaches_it(
    cache: Cache, harm: Callable[[CacheLedger], object], pushed: bool
) -> None:
    """Neither the value nor what it began from, nor a push that has begun."""
    cache.theirs("p/a", b"one")
    cache.mounted.get("p/a")
    cache.write("p/a", b"mine")
    if pushed:
        cache.push_and_die("p/a", arrives=False)
    base, notes = cache.ledger.base("p/a"), cache.ledger.pushes()
    harm(cache.ledger)

    assert b"mine" == cache.mounted.to_bytes("p/a")
    assert (base, notes) == (cache.ledger.base("p/a"), cache.ledger.pushes())
    cache.mounted.push("p/a")
    assert b"mine" == cache.backing.to_bytes("p/a")


def test_another_source_is_a_conflict(cache: Cache) -> None:
    """A cache that is mounted over another store pushes nothing that began from the first."""
    cache.theirs("p/a", b"one")
    cache.write("p/a", b"mine")
    cache.backing = DictMemoryStore()
    cache.theirs("p/a", b"one")
    other = cache.opened()

    with pytest.raises(VersionConflict):
        other.push("p/a")
    assert b"mine" == other.to_bytes("p/a")
    assert b"one" == cache.backing.to_bytes("p/a")


def test_a_base_that_another_process_forgot_is_noted_again(cache: Cache) -> None:
    """One ends its write while another begins its own: the second still has its base."""
    cache.theirs("p/a", b"one")
    real = cache.mount.set

    def set_and_forget(*args: Any, **kwargs: Any) -> Any:
        cache.ledger.set_base("p/a", None)
        return real(*args, **kwargs)

    with patch.object(cache.mount, "set", set_and_forget):
        cache.write("p/a", b"mine")
    cache.theirs("p/a", b"two")

    with pytest.raises(VersionConflict):
        cache.mounted.push("p/a")


def test_a_write_that_comes_while_another_ends_keeps_a_base(cache: Cache) -> None:
    """Forgetting a base looks again whether it was still needed."""
    version = cache.theirs("p/a", b"one")
    cache.write("p/a", b"mine")
    real = cache.ledger.set_base

    def forget_late(key: str, base: Version | None) -> None:
        cache.mount.set("a", StringValue(b"again"))
        real(key, base)

    cache.mount.delete("a")
    with patch.object(cache.ledger, "set_base", forget_late):
        cache.own.end("p/a")

    assert version == cache.ledger.base("p/a")


# -- Pushes that are cut off ---------------------------------------------------


@pytest.mark.parametrize("how", ["connect", "push"])
def test_what_arrived_is_finished(cache: Cache, how: str) -> None:
    """At the next connect, or when it is pushed again; the source is not written twice."""
    cache.write("p/a", b"mine")
    cache.push_and_die("p/a", arrives=True)
    assert cache.mount.exists("a")
    if how == "connect":
        cache.opened()
    else:
        cache.mounted.push("p/a")

    assert not cache.mount.exists("a")
    assert 1 == changes_of(cache.backing, "p/a")
    assert ({}, None) == (cache.ledger.pushes(), cache.ledger.base("p/a"))


def test_what_did_not_arrive_stays_the_users(cache: Cache) -> None:
    """The next connect finds nothing at the source; the next push brings it."""
    cache.write("p/a", b"mine")
    cache.push_and_die("p/a", arrives=False)
    again = cache.opened()
    assert b"mine" == cache.mount.to_bytes("a")
    again.push("p/a")

    assert b"mine" == cache.backing.to_bytes("p/a")
    assert {} == cache.ledger.pushes()


def test_what_arrives_late_is_recognised(cache: Cache) -> None:
    """A request may be on its way while the cache is opened again."""
    sent: list[Callable[[], Any]] = []
    real = cache.backing.set
    cache.write("p/a", b"mine")

    def lose(*args: Any, **kwargs: Any) -> None:
        value = StringValue(args[1].data.read(), args[1].metadata)
        sent.append(lambda: real(args[0], value, **kwargs))
        raise StoreUnavailable("no answer")

    with patch.object(cache.backing, "set", lose), pytest.raises(StoreUnavailable):
        cache.mounted.push("p/a")
    again = cache.opened()
    sent[0]()
    cache.theirs("p/a", b"theirs")
    again.push("p/a")

    assert not cache.mount.exists("a")
    assert b"theirs" == cache.backing.to_bytes("p/a")


def test_an_earlier_try_may_arrive_during_the_next(cache: Cache) -> None:
    """The second is refused then, and the first recognised, whoever changed the key since."""
    cache.write("p/a", b"mine")
    real, sent = cache.backing.set, []

    def lose(*args: Any, **kwargs: Any) -> None:
        sent.append(kwargs)
        raise StoreUnavailable("no answer")

    def arrive_before(*args: Any, **kwargs: Any) -> Any:
        real(args[0], StringValue(b"mine", {"by": "me"}), **sent[0])
        real(args[0], StringValue(b"theirs"))
        return real(*args, **kwargs)

    with patch.object(cache.backing, "set", lose), pytest.raises(StoreUnavailable):
        cache.mounted.push("p/a")
    with patch.object(cache.backing, "set", arrive_before):
        cache.mounted.push("p/a")

    assert not cache.mount.exists("a")
    assert b"theirs" == cache.backing.to_bytes("p/a")


def test_what_arrives_late_is_the_base_of_what_was_written_since(cache: Cache) -> None:
    """The user wrote the key again: that is pushed after what arrived, and is not lost."""
    cache.write("p/a", b"first")
    cache.push_and_die("p/a", arrives=True)
    cache.write("p/a", b"second")
    cache.mounted.push("p/a")

    assert b"second" == cache.backing.to_bytes("p/a")
    assert 2 == changes_of(cache.backing, "p/a")
    assert {} == cache.ledger.pushes()


def test_what_others_made_of_it_is_a_conflict_with_what_was_written_since(cache: Cache) -> None:
    """What arrived is the base, not what the source has by then."""
    cache.write("p/a", b"first")
    cache.push_and_die("p/a", arrives=True)
    cache.write("p/a", b"second")
    cache.theirs("p/a", b"theirs")

    with pytest.raises(VersionConflict):
        cache.mounted.push("p/a")
    assert b"second" == cache.mounted.to_bytes("p/a")
    assert b"theirs" == cache.backing.to_bytes("p/a")


def test_a_write_during_a_push_begins_from_what_was_pushed(cache: Cache) -> None:
    """Others who change the source right after that are not overwritten."""
    cache.write("p/a", b"mine")
    real = cache.mount.delete

    def delete(*args: Any, **kwargs: Any) -> Any:
        cache.mount.set("a", StringValue(b"again"))
        cache.theirs("p/a", b"theirs")
        return real(*args, **kwargs)

    with patch.object(cache.mount, "delete", delete):
        cache.mounted.push("p/a")

    with pytest.raises(VersionConflict):
        cache.mounted.push("p/a")
    assert b"again" == cache.mounted.to_bytes("p/a")


def test_a_discarded_value_is_not_pushed_after_all(cache: Cache) -> None:
    """Who deletes a key whose push was cut off has what the source has."""
    cache.write("p/a", b"mine")
    cache.push_and_die("p/a", arrives=False)
    cache.mounted.delete("p/a")
    again = cache.opened()

    with pytest.raises(KeyNotFound):
        again.push("p/a")
    assert not cache.backing.exists("p/a")


def test_a_source_that_cannot_be_reached_leaves_it_open(cache: Cache) -> None:
    """The cache opens all the same, and the note stays until the source answers."""
    cache.write("p/a", b"mine")
    cache.push_and_die("p/a", arrives=True)
    with patch.object(cache.backing, "get", side_effect=StoreUnavailable("away")):
        again = cache.opened()
        assert ["p/a"] == list(cache.ledger.pushes())
    again.push("p/a")

    assert {} == cache.ledger.pushes()
    assert not cache.mount.exists("a")


def test_a_push_that_was_refused_leaves_no_note(cache: Cache) -> None:
    """What is known not to have arrived is not looked for again."""
    cache.write("p/a", b"mine")
    with (
        patch.object(cache.backing, "set", side_effect=InvalidValue("too large")),
        pytest.raises(InvalidValue),
    ):
        cache.mounted.push("p/a")

    assert {} == cache.ledger.pushes()
    assert b"mine" == cache.mounted.to_bytes("p/a")


def test_a_note_is_forgotten_in_the_end(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    """What has not arrived for long does not arrive any more."""
    cache.write("p/a", b"mine")
    cache.push_and_die("p/a", arrives=False)
    cache.opened()
    assert ["p/a"] == list(cache.ledger.pushes())
    monkeypatch.setattr(pushing, "PUSH_NOTE_S", 0.0)
    cache.opened()

    assert {} == cache.ledger.pushes()


@pytest.mark.parametrize("note", [b"", b"[]", b'{"format": 2}', b'{"format": 1, "tries": []}'])
def test_a_note_of_a_later_version_is_left_alone(cache: Cache, note: bytes) -> None:
    """Who does not understand it does not act on it, and pushes anew."""
    cache.write("p/a", b"mine")
    cache.ledger.note_push("p/a", note)
    again = cache.opened()
    assert {"p/a": note} == cache.ledger.pushes()
    again.push("p/a")

    assert b"mine" == cache.backing.to_bytes("p/a")
    assert {} == cache.ledger.pushes()


def test_a_note_keeps_everything() -> None:
    """As it was written, so it is read."""
    head = DictMemoryStore().head()
    tries = (Try(b"12345678", None), Try(b"abcdefgh", Version(1, 2, b"x" * 8)))
    note = PushNote(ABSENT, tries, (head,), time.time_ns())

    assert note == PushNote.decode(note.encode())
    assert note.own == tries[1].own
    assert tries[0] == note.tried(b"12345678")
    assert note.tried(b"nobody's") is None


def test_nothing_is_pushed_inside_a_transaction_of_the_source(cache: Cache) -> None:
    """A rollback there would take what is deleted here."""
    cache.write("p/a", b"mine")
    with cache.backing.transaction("t"), pytest.raises(TransactionError):
        cache.mounted.push("p/a")

    assert b"mine" == cache.mounted.to_bytes("p/a")


@pytest.mark.parametrize("kind", ["joined", "permissions"])
def test_it_is_recognised_behind_wrappers(kind: str) -> None:
    """The id of the entry goes with the write through stores that wrap others."""
    inner = DictMemoryStore()
    store: AbstractStore
    if kind == "joined":
        below = DictMemoryStore()
        below.set("p/a", StringValue(b"one"))
        store = JoinedStore([inner, below])
    else:
        store = AuthorizingStore(inner).as_user(User("ann"))
        store.set("p/a", StringValue(b"one"))
    store.is_connected() or store.connect()
    cache = Cache(store)
    cache.write("p/a", b"mine")
    cache.push_and_die("p/a", arrives=True)
    cache.theirs("p/a", b"theirs")
    cache.opened()

    assert not cache.mount.exists("a")
    assert b"theirs" == store.to_bytes("p/a")


# -- Several at once ------------------------------------------------------------


def test_several_push_the_same_key_at_once(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """It arrives once, and none of them fails."""

    def opened(name: str) -> SqliteStore:
        return SqliteStore(tmp_path / name, durable=False)

    stores = [(opened("mount.db"), opened("backing.db")) for _ in range(3)]
    caches = [MountedStore("p/", *pair, fill=True) for pair in stores]
    failures: list[BaseException] = []
    for mounted in caches:
        mounted.connect()

    def push(mounted: MountedStore) -> None:
        barrier.wait()
        try:
            mounted.push("p/a")
        except KeyNotFound:
            pass  # another one was quicker
        except Exception as exc:
            failures.append(exc)

    rounds, interval_s = 200, sys.getswitchinterval()
    # So that they meet at every step.
    request.addfinalizer(lambda: sys.setswitchinterval(interval_s))
    sys.setswitchinterval(1e-5)
    for number in range(rounds):
        caches[0].set("p/a", StringValue(b"%d" % number))
        barrier = threading.Barrier(len(caches))
        threads = [threading.Thread(target=push, args=(mounted,)) for mounted in caches]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert [] == failures
    assert rounds == changes_of(stores[0][1], "p/a")
    assert {} == caches[0].filling.ledger.pushes()
    for pair in stores:
        for store in pair:
            store.disconnect()


# -- Conflicts --------------------------------------------------------------------


def test_conflicts_are_found_without_any_event(cache: Cache) -> None:
    """Whatever happened while nobody looked: changed, deleted, made, or not touched."""
    for key in ("p/changed", "p/deleted", "p/kept"):
        cache.theirs(key, b"one")
    for key in ("p/changed", "p/deleted", "p/kept", "p/made", "p/new"):
        cache.write(key, b"mine")
    bases = {key: cache.ledger.base(key) for key in ("p/changed", "p/deleted")}
    changed, made = cache.theirs("p/changed", b"two"), cache.theirs("p/made", b"two")
    cache.backing.delete("p/deleted")

    assert [
        Conflict("p/changed", bases["p/changed"], changed),
        Conflict("p/deleted", bases["p/deleted"], ABSENT),
        Conflict("p/made", ABSENT, made),
    ] == sorted(cache.own.conflicts())


def test_an_own_push_is_no_conflict(cache: Cache) -> None:
    """Another process that hears of it knows whose it is."""
    cache.write("p/a", b"mine")
    cache.push_and_die("p/a", arrives=True)
    version = cache.backing.get("p/a").version
    other = MountedStore("p/", cache.mount, cache.backing, fill=True)
    with patch.object(pushing.Pushing, "recover"):
        other.connect()
    own = other.filling.own

    assert cache.mount.exists("a")
    assert own.conflict_at("p/a", version) is None
    assert own.conflict_at("p/a", cache.theirs("p/a", b"theirs")) is not None


def test_an_invalidator_tells_of_old_conflicts_when_it_starts(cache: Cache) -> None:
    """The source changed while nobody looked; it is told once."""
    heard: list[Any] = []
    cache.mounted.event_manager = EventManager()
    cache.mounted.event_manager.connect(CacheConflictEvent, heard.append)
    cache.theirs("p/a", b"one")
    with CacheInvalidator(cache.mounted, check_interval_s=0.05):
        pass
    cache.write("p/a", b"mine")
    base, version = cache.ledger.base("p/a"), cache.theirs("p/a", b"two")
    with CacheInvalidator(cache.mounted, check_interval_s=0.05) as invalidator:
        assert 1 == invalidator.stats().conflicts

    assert [("p/a", base, version)] == [(e.key, e.base, e.version) for e in heard]
