"""What must hold of a store whose writer was killed, and of what was published."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from antiphon.events.event_id import EventId
from antiphon.storage.backend_telling import EVENT_OF_ACTION
from antiphon.storage.journal import Position
from antiphon.storage.string_value import StringValue
from tests.chaos.crashes.media import Medium
from tests.chaos.crashes.recording import Told
from tests.chaos.crashes.work import State, state_of

#: Entries of the journal that were there before the store belonged to a bus.
_SEEDED = 4


def judged(medium: Medium, name: str, done: int, allowed: Sequence[Sequence[State]]) -> list[str]:
    """Return what is wrong with a store whose writer was killed after *done* steps."""
    complaints: list[str] = []
    with medium.open(name) as store:
        found = state_of(store)
        if found not in allowed[done]:
            complaints.append(_difference(found, allowed, done))
        complaints += _disagreements(store)
        # It can be gone on with.
        head = store.head()
        version = store.set("after", StringValue(b"after", {}))
        if version is None or version[:2] != (head.epoch, head.sequence + 1):
            complaints.append(f"the next commit after {head} is {version}")
    return complaints


def _difference(found: State, allowed: Sequence[Sequence[State]], done: int) -> str:
    for number, some in enumerate(allowed):
        if found == some[0]:
            return f"{done} steps were over, and the store is as after {number}"
    parts = []
    for number, state in enumerate(allowed[done]):
        wrong = sorted(
            key
            for key in {*found.contents, *state.contents}
            if found.contents.get(key) != state.contents.get(key)
        )
        agrees = found.journal == state.journal
        parts.append(f"but for {wrong} as {number} commits later, journal {agrees}")
    return f"{done} steps were over, and the store is as after no number of them: {parts}"


def _disagreements(store: Any) -> list[str]:
    """Return where journal, data and index of *store* do not agree."""
    complaints = []
    entries = _journal(store)
    numbers = [entry.version.sequence for entry in entries]
    if numbers != list(range(1, len(entries) + 1)):
        complaints.append(f"the journal has the numbers {numbers}")
    events = [entry.event_id for entry in entries]
    if None in events or len(set(events)) != len(events):
        complaints.append("entries of the journal without event ids of their own")
    last = {entry.key: entry for entry in entries}
    for key, entry in last.items():
        version = store.get(key).version if store.exists(key) else None
        if version != (None if entry.action == "delete" else entry.version):
            complaints.append(f"{key!r:.20} has version {version}, and the journal says {entry}")
    numbers_of = {key: metadata.get("n") for key, metadata in store.query()}
    for n in set(numbers_of.values()) - {None}:
        expected = sorted(key for key, of in numbers_of.items() if of == n)
        if expected != sorted(store.query_keys(n=n)):
            complaints.append(f"the index does not have {expected} under n={n}")
    return complaints


def _journal(store: Any) -> list[Any]:
    head = store.head()
    return list(store.since(head._replace(sequence=0, entry_id=b"")))


def unpublished(store: Any, events: Sequence[Told]) -> list[str]:
    """Return where the events of *store* and its journal do not agree."""
    told: dict[EventId, Told] = {}
    complaints = []
    for event in events:
        if told.setdefault(event.event_id, event) != event:
            complaints.append(f"two events of one id: {event} and {told[event.event_id]}")
    entries = {entry.event_id: entry for entry in _journal(store)[_SEEDED:]}
    for event_id in told.keys() - entries.keys():
        complaints.append(f"an event of nothing that was committed: {told[event_id]}")
    for event_id, entry in entries.items():
        position = Position(store.store_id, *entry.version)
        right = Told(event_id, position, entry.key, EVENT_OF_ACTION[entry.action].__name__)
        if told.get(event_id) != right:
            complaints.append(f"the event of {entry}: {told.get(event_id)}")
    return complaints
