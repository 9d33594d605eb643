"""Where all at once would keep others waiting, many changes are made in portions."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence

import pytest

from antiphon.errors import KeyNotFound, StoreUnavailable
from antiphon.events.api import BaseEvent, EventManager
from antiphon.storage.authorizing_store import AuthorizingStore, User
from antiphon.storage.changes import STAGE_ABOVE_BYTES, Change, Committed
from antiphon.storage.dict_memory_store import DictMemoryStore
from antiphon.storage.events import (
    StoreEvent,
    StoreModificationEvent,
    StoreProgressEvent,
    StoreTransactionEndEvent,
)
from antiphon.storage.joined_store import JoinedStore
from antiphon.storage.journal import Position
from antiphon.storage.mounted_store import MountedStore
from antiphon.storage.overlay import Pending
from antiphon.storage.portions import Portion, portions
from antiphon.storage.simple_auth_store import SimpleAuthStore
from antiphon.storage.string_value import StringValue


class PortionedStore(DictMemoryStore):
    """Commits three keys at once; commit number ``fails_at`` fails."""

    _portion = Portion(changes=3, entries=100, size=1000)
    fails_at = 0
    commits = 0

    def _commit(self, changes: Sequence[Change]) -> list[Committed]:
        self.commits += 1
        if self.commits == self.fails_at:
            raise KeyNotFound("as the test wants it")
        return super()._commit(changes)


@pytest.fixture
def store() -> Iterator[PortionedStore]:
    store = PortionedStore()
    store.event_manager = EventManager()
    with store:
        yield store


@pytest.fixture(autouse=True)
def _small_lots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two portions are told of together."""
    monkeypatch.setattr("antiphon.storage.portions.WINDOW", 6)


def _values(count: int) -> Iterator[StringValue]:
    return (StringValue(b"1", {"n": number}) for number in range(count))


def _keys(count: int) -> list[str]:
    return [f"k{number:02}" for number in range(count)]


def _commits(store: DictMemoryStore) -> list[int]:
    """Return how many changes each commit of the journal has."""
    assert store.store_id is not None
    sizes = [0]
    for entry in store.since(Position(store.store_id, 1, 0, b"")):
        sizes[-1] += 1
        if entry.last:
            sizes.append(0)
    return sizes[:-1]


def _heard(store: DictMemoryStore) -> list[str]:
    """Return a list that gets a word for each event from now on."""
    words: list[str] = []

    def hear(event: BaseEvent) -> None:
        if not isinstance(event, StoreProgressEvent):
            words.append(getattr(event, "key", None) or type(event).__name__[16:-5])

    store.event_manager.connect(StoreEvent, hear)
    return words


def test_many_keys_are_several_commits(store: PortionedStore) -> None:
    """Each has its portion, in the order of the keys, and all are there at the end."""
    store.multiset(_keys(8), _values(8))

    assert [3, 3, 2] == _commits(store)
    assert _keys(8) == sorted(store.query_keys())


def test_a_few_keys_are_one_commit(store: PortionedStore) -> None:
    """What one portion has room for is whole."""
    store.multiset(_keys(3), _values(3))

    assert [3] == _commits(store)


def test_a_transaction_stays_one_commit(store: PortionedStore) -> None:
    """Also what is set in it by ``multiset``."""
    with store.transaction():
        store.multiset(_keys(8), _values(8))
        inside = list(_commits(store))

    assert ([], [8]) == (inside, _commits(store))


def test_all_methods_for_many_keys_commit_in_portions(store: PortionedStore) -> None:
    """Data and metadata too."""
    store.multiset_data(_keys(4), (io.BytesIO(b"1") for _ in range(4)))
    store.multiset_metadata(_keys(4), ({} for _ in range(4)))
    store.multiupdate_metadata(_keys(4), ({"n": 1} for _ in range(4)))

    assert [3, 1] * 3 == _commits(store)


def test_events_are_told_in_order_between_those_of_one_transaction(store: PortionedStore) -> None:
    """The last ones after its end, as those of a transaction are."""
    heard = _heard(store)
    store.multiset(_keys(8), _values(8))

    assert ["Start", *_keys(6), "End", "k06", "k07"] == [
        {"ctionStart": "Start", "ctionEnd": "End"}.get(word, word) for word in heard
    ]


def test_after_an_error_the_portions_before_it_stay(store: PortionedStore) -> None:
    """What was not committed is forgotten, and the transaction has failed."""
    ends: list[str] = []
    store.event_manager.connect(StoreTransactionEndEvent, lambda event: ends.append(event.state))

    def values() -> Iterator[StringValue]:
        yield from _values(7)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        store.multiset(_keys(8), values())

    assert ([3, 3], ["failed"], False) == (_commits(store), ends, store.in_transaction)


@pytest.mark.parametrize("fails_at", [1, 2, 3, 4])
def test_a_portion_that_fails_leaves_those_before_it_told(
    store: PortionedStore, fails_at: int
) -> None:
    """Neither the portion nor what follows is there, and nothing of it is told."""
    store.fails_at = fails_at
    told: list[str] = []
    store.event_manager.connect(StoreModificationEvent, lambda event: told.append(event.key))
    with pytest.raises(KeyNotFound):
        store.multiset(_keys(11), _values(11))

    there = _keys(3 * (fails_at - 1))
    assert (there, there) == (sorted(store.query_keys()), told)


def test_staged_values_of_a_portion_that_failed_are_discarded(store: PortionedStore) -> None:
    """And those of the portions after it; those of the portions before it are in use."""
    large = b"1" * (STAGE_ABOVE_BYTES + 1)
    store.fails_at = 3
    with pytest.raises(KeyNotFound):
        store.multiset(_keys(11), (StringValue(large) for _ in range(11)))

    assert (_keys(6), {}) == (sorted(store.query_keys()), store._staged)
    assert large == store.to_bytes("k05")


def test_an_event_that_fails_stops_nothing(
    store: PortionedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All is committed, and the error is raised at the end."""
    manager = store.event_manager
    emit = manager.emit

    def refuse(event: BaseEvent, *args: object, **kwargs: object) -> None:
        if getattr(event, "key", "") == "k01":
            raise StoreUnavailable("as the test wants it")
        emit(event, *args, **kwargs)

    monkeypatch.setattr(manager, "emit", refuse)
    with pytest.raises(StoreUnavailable, match="as the test wants it"):
        store.multiset(_keys(14), _values(14))

    assert [3, 3, 3, 3, 2] == _commits(store)


def test_stores_over_it_commit_in_portions(store: PortionedStore) -> None:
    """Also where each write is on a condition."""
    mounted = MountedStore("", store, DictMemoryStore())
    joined = JoinedStore([store, DictMemoryStore()])
    authorizing = AuthorizingStore(store, user=User("alice"))
    for number, each in enumerate((joined, mounted, authorizing)):
        with each:
            each.multiset((f"{number}/{key}" for key in _keys(8)), _values(8))
            each.multiset_metadata([f"{number}/k00"] * 4, ({"n": n} for n in range(4)))

    assert [3, 3, 2, 3, 1] * 3 == _commits(store)


def test_a_store_that_asks_for_a_password_commits_in_portions(store: PortionedStore) -> None:
    """By all methods for many keys."""
    users = DictMemoryStore()
    users.set(".user_alice", StringValue(b"SECRET"))
    simple = SimpleAuthStore(store, bytes.upper, user_key_store=users)
    simple.connect({"username": "alice", "password": "secret"})
    simple.multiset(_keys(4), _values(4))
    simple.multiset_metadata(_keys(4), ({} for _ in range(4)))
    simple.disconnect()

    assert [3, 1] * 2 == _commits(store)


def test_a_portion_has_room_for_so_much() -> None:
    """So many changes, metadata entries and bytes; what alone is too much is a portion, too."""
    changes = [
        Pending("a", metadata={"n": "x" * 50}),
        Pending("b", data=b"x" * 49),
        Pending("c", data=b"x"),
        Pending("d", data=b"x" * 1000),
        Pending("e", metadata=dict.fromkeys("abc")),
        Pending("f", metadata=dict.fromkeys("abc")),
        Pending("g", metadata=dict.fromkeys("ab")),
        *(Pending(key) for key in "hijk"),
    ]
    found = [
        "".join(change.key for change in some)
        for some in portions(changes, Portion(changes=4, entries=5, size=102))
    ]

    assert ["ab", "c", "d", "e", "fghi", "jk"] == found


def test_no_changes_are_no_portion() -> None:
    """An empty bulk commits nothing."""
    assert [] == list(portions([], Portion(1, 1, 1)))
