"""What is wrong with a store that a killed writer left is found, each kind of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from antiphon.events.api import EventManager
from antiphon.storage.dict_memory_store import DictMemoryStore
from antiphon.storage.journal import Position
from antiphon.storage.string_value import StringValue
from tests.chaos.crashes.judging import judged, unpublished
from tests.chaos.crashes.recording import Told
from tests.chaos.crashes.work import BULK, EVERYDAY, SEED, SEVERAL, State, states

_STEPS = (SEVERAL, EVERYDAY[0])


class _Medium:
    """Opens the one store that it has."""

    def __init__(self, store: Any) -> None:
        self._store = store

    def open(self, name: str) -> Any:
        return self._store


@pytest.fixture(scope="module")
def allowed() -> list[list[State]]:
    """The states that there may be."""
    return states(_STEPS)


@pytest.fixture
def store() -> Iterator[DictMemoryStore]:
    """A store after the first step."""
    store = DictMemoryStore()
    store.event_manager = EventManager()
    with store:
        SEED.do(store)
        SEVERAL.do(store)
        yield store


def _judged(store: Any, done: int, allowed: list[list[State]]) -> str:
    medium: Any = _Medium(store)
    return "\n".join(judged(medium, "store", done, allowed))


@pytest.mark.parametrize("done", [0, 1])
def test_the_step_under_way_may_have_happened_or_not(
    store: DictMemoryStore, allowed: list[list[State]], done: int
) -> None:
    """Killed before it returned, or after: both leave this store."""
    assert "" == _judged(store, done, allowed)


def test_a_step_that_had_returned_must_be_there(
    store: DictMemoryStore, allowed: list[list[State]]
) -> None:
    """A store as before a commit that was over has lost it."""
    assert "2 steps were over, and the store is as after 1" in _judged(store, 2, allowed)


def test_a_bulk_may_have_happened_in_part(store: DictMemoryStore) -> None:
    """Each of its portions is a commit; but none happens before it is begun."""
    allowed = states([SEVERAL, BULK])
    BULK.do(store)

    assert [2, 4, 1] == [*map(len, allowed)]
    assert "" == _judged(store, 1, allowed)


def test_half_a_step_is_found(store: DictMemoryStore, allowed: list[list[State]]) -> None:
    """A store between two states has half a commit."""
    store.set("New/key", StringValue(b"half", {"n": 2}))

    assert "as after no number of them" in _judged(store, 1, allowed)


def test_a_version_that_the_journal_does_not_know_is_found(
    store: DictMemoryStore, allowed: list[list[State]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Data that were written without their entry are found by their version."""
    since = store.since
    monkeypatch.setattr(store, "since", lambda position: list(since(position))[:-1])

    told = _judged(store, 1, allowed)
    assert "and the journal says" in told
    assert "as after no number of them" in told


def test_an_index_that_finds_too_little_is_found(
    store: DictMemoryStore, allowed: list[list[State]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Metadata that no query finds are a half commit, too."""
    query_keys = store.query_keys
    monkeypatch.setattr(store, "query_keys", lambda **kw: () if kw else query_keys())

    assert "the index does not have" in _judged(store, 1, allowed)


def _told(store: DictMemoryStore) -> list[Told]:
    """Return the events that must have come out."""
    kinds = {"set": "StoreSetEvent", "update": "StoreUpdateEvent", "delete": "StoreDeleteEvent"}
    head = store.head()
    entries = list(store.since(Position(head.store_id, head.epoch, 0, b"")))
    return [
        Told(
            entry.event_id, Position(head.store_id, *entry.version), entry.key, kinds[entry.action]
        )
        for entry in entries[4:]
        if entry.event_id is not None and entry.key is not None
    ]


def test_events_may_come_twice_but_not_stay_away(store: DictMemoryStore) -> None:
    """Each entry has its event, at least once."""
    told = _told(store)

    assert [] == unpublished(store, [*told, *told])
    assert 1 == len(unpublished(store, told[1:]))


def test_an_event_of_nothing_is_found(store: DictMemoryStore) -> None:
    """What was not committed must not have been published."""
    told = _told(store)
    later = told[-1].event_id._replace(counter=10**6)

    found = unpublished(store, [*told, told[-1]._replace(event_id=later)])
    assert ["an event of nothing"] == [each[:19] for each in found]


def test_two_events_of_one_id_are_found(store: DictMemoryStore) -> None:
    """A sweeper must say what the writer said."""
    told = _told(store)

    found = unpublished(store, [*told, told[0]._replace(key="other")])
    assert ["two events of one id"] == [each[:20] for each in found]
