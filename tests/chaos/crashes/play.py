"""Kill a writer at a system call, and look what it left."""

from __future__ import annotations

import mmap
import os
import re
import struct
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from antiphon.events.event_id import EventId
from antiphon.messaging.bus import open_bus
from antiphon.messaging.options import BusOptions
from antiphon.outbox.opening import attach
from antiphon.outbox.options import Timing
from antiphon.storage.backend_telling import EVENT_OF_ACTION
from antiphon.storage.journal import Position
from antiphon.storage.string_value import StringValue
from tests.chaos.crashes.children import forked, in_child
from tests.chaos.crashes.media import Medium
from tests.chaos.crashes.recording import Told, published, recorded_url
from tests.chaos.crashes.system_calls import changes_something, is_write
from tests.chaos.crashes.tracing import Call, Fate, Traced
from tests.chaos.crashes.work import State, Step, state_of, states

#: Leases as short as the tests are; and renewed often, so that writers die while they do.
TIMING = Timing(lease_s=0.3, renew_s=0.01, tick_s=0.005, patience_s=0.02)

#: Seconds in which all that is committed has to be published.
_SWEEP_TIMEOUT_S = 30.0

_VARYING = re.compile(r"[0-9a-f]{6,}|\d+|:\[.*")


class Target(NamedTuple):
    """A system call of a writer.

    Attributes:
        is_main: whether the thread makes it that commits; the others are the bus's.
        number: how many calls that others can see it, or the other threads, made before.
        torn: whether half of what it writes is written.
    """

    is_main: bool
    number: int
    torn: bool = False


class Seen(NamedTuple):
    """A system call that a writer made in the rehearsal.

    Attributes:
        target: names it.
        step: number of the step that was under way.
        name: of the call.
        file: kind of file that it is about, ``""`` if of none.
        is_write: whether half of it can be done.
    """

    target: Target
    step: int
    name: str
    file: str
    is_write: bool


@dataclass
class Outcome:
    """What a killed writer left.

    Attributes:
        store: name of the store in its medium.
        target: where it was killed.
        call: the call that it did not make any more; None if it came to its end.
        done: steps that were over.
        complaints: what is wrong.
    """

    store: str
    target: Target
    call: str | None
    done: int
    complaints: list[str]


def distinct(seen: Sequence[Seen]) -> list[Seen]:
    """Return of like calls of one thread in one step the first, and the last if it matters."""
    first: dict[tuple[Any, ...], Seen] = {}
    last: dict[tuple[Any, ...], Seen] = {}
    for each in seen:
        alike = (each.target.is_main, *each[1:])
        first.setdefault(alike, each)
        if changes_something(each.name):
            last[alike] = each
    chosen = {*first.values(), *last.values()}
    return [each for each in seen if each in chosen]


class Play:
    """Writers of one kind, on one medium.

    Args:
        medium: where they write.
        steps: what they write.
        folder: for what is published.
        sabotage: what breaks the writers and sweepers; called in each of them.
    """

    def __init__(
        self,
        medium: Medium,
        steps: Sequence[Step],
        folder: Path,
        sabotage: Callable[[], None] | None = None,
    ) -> None:
        self._sabotage = sabotage or (lambda: None)
        self.steps = steps
        self._medium = medium
        self._folder = folder
        self._states = states(steps)
        self._outcomes: list[Outcome] = []

    def rehearse(self) -> list[Seen]:
        """Return the calls of a writer that nobody kills."""
        seen: list[Seen] = []

        def note(call: Call, target: Target, done: int) -> Fate:
            file = _VARYING.sub("*", os.path.basename(call.file))
            seen.append(Seen(target, done, call.name, file, is_write(call.number)))
            return Fate.LIVE

        name, done = self._write(note)
        if done != len(self.steps):
            raise RuntimeError(f"the writer came to its end after {done} of {len(self.steps)}")
        self._remove(name)
        return seen

    def kill_at(self, target: Target) -> Outcome:
        """Kill a writer at *target*; what it left is judged later."""
        killed: list[str] = []

        def fate(call: Call, found: Target, done: int) -> Fate:
            if found != target._replace(torn=False):
                return Fate.LIVE
            killed.append(call.name)
            return Fate.TEAR if target.torn and is_write(call.number) else Fate.KILL

        store, done = self._write(fate)
        outcome = Outcome(store, target, killed[0] if killed else None, done, [])
        self._outcomes.append(outcome)
        return outcome

    def judge(self) -> list[Outcome]:
        """Judge what the writers left, have their events come out, and judge these.

        Returns:
            What the writers left that were killed since the last time.
        """
        outcomes, self._outcomes = self._outcomes, []
        stores = [(outcome.store, outcome.done) for outcome in outcomes]
        # In fresh processes, which have never had these stores open.
        left = in_child(lambda: [_judged(self._medium, *store, self._states) for store in stores])
        events = in_child(lambda: self._swept([name for name, _ in stores]))
        for outcome, complaints in zip(outcomes, left, strict=True):
            outcome.complaints = complaints + events[outcome.store]
            self._remove(outcome.store)
        return outcomes

    # -- The writer ------------------------------------------------------------

    def _remove(self, store: str) -> None:
        self._medium.remove(store)
        self._path(store).unlink(missing_ok=True)

    def _path(self, store: str) -> Path:
        return self._folder / f"{store}.published"

    def _write(self, fate_of: Callable[[Call, Target, int], Fate]) -> tuple[str, int]:
        """Run a writer; return the name of its store, and how many steps were over."""
        name = self._medium.new_name()
        progress = mmap.mmap(-1, 8)  # shared; and writing to it is no system call
        ready_read, ready = os.pipe()
        go, go_write = os.pipe()
        pid = forked(lambda: self._commit(name, progress, ready, go))
        os.close(ready)
        os.close(go)
        if os.read(ready_read, 1) != b"r":
            raise RuntimeError("the writer did not come so far that it could be killed")
        counts: Counter[bool] = Counter()

        def asked(call: Call) -> Fate:
            is_main = call.thread == pid
            target = Target(is_main, counts[is_main])
            counts[is_main] += 1
            return fate_of(call, target, *struct.unpack("q", progress))

        traced = Traced(pid)
        os.write(go_write, b"g")
        status = traced.run(asked)
        for descriptor in (ready_read, go_write):
            os.close(descriptor)
        if status:
            raise RuntimeError(f"the writer failed by itself: status {status}")
        with progress:
            return name, struct.unpack("q", progress)[0]

    def _commit(self, name: str, progress: mmap.mmap, ready: int, go: int) -> None:
        self._medium.make(name)
        self._sabotage()
        bus = _open_bus(self._path(name))
        store = self._medium.open(name, bus)
        os.write(ready, b"r")
        os.read(go, 1)
        for number, step in enumerate(self.steps, start=1):
            step.do(store)
            progress[:] = struct.pack("q", number)
        store.disconnect()
        bus.close()

    # -- Those who come after it -----------------------------------------------

    def _swept(self, names: Sequence[str]) -> dict[str, list[str]]:
        """Open the stores with one bus, and return what is wrong with the events of each."""
        self._sabotage()
        path = self._path("sweeper")
        bus = _open_bus(path)
        stores = {name: self._medium.open(name, bus) for name in names}
        waiting = set(names)
        deadline = time.monotonic() + _SWEEP_TIMEOUT_S
        while waiting and time.monotonic() < deadline:
            waiting = {name for name in waiting if not _is_swept(stores[name])}
            bus.outbox.wake()
            time.sleep(0.02)
        bus.flush(_SWEEP_TIMEOUT_S)
        late = list(published(path))
        found = {}
        for name, store in stores.items():
            events = [*published(self._path(name))]
            events += [event for event in late if event.position.store_id == store.store_id]
            found[name] = _unpublished(store, events)
            if name in waiting:
                found[name].append(f"not swept within {_SWEEP_TIMEOUT_S:g} s")
            store.disconnect()
        bus.close()
        path.unlink(missing_ok=True)
        return found


def _is_swept(store: Any) -> bool:
    swept: bool = store.outbox_ledger().swept() == store.head()
    return swept


def _open_bus(path: Path) -> Any:
    bus = open_bus(recorded_url(path), options=BusOptions(outbox=False))
    attach(bus, timing=TIMING)
    return bus


# -- Judging -----------------------------------------------------------------------


def _judged(medium: Medium, name: str, done: int, allowed: Sequence[State]) -> list[str]:
    """Return what is wrong with a store whose writer was killed after *done* steps."""
    complaints: list[str] = []
    with medium.open(name) as store:
        found = state_of(store)
        if found not in allowed[done : done + 2]:
            complaints.append(_difference(found, allowed, done))
        complaints += _disagreements(store)
        # It can be gone on with.
        head = store.head()
        version = store.set("after", StringValue(b"after", {}))
        if version is None or version[:2] != (head.epoch, head.sequence + 1):
            complaints.append(f"the next commit after {head} is {version}")
    return complaints


def _difference(found: State, allowed: Sequence[State], done: int) -> str:
    for number, state in enumerate(allowed):
        if found == state:
            return f"{done} steps were over, and the store is as after {number}"
    parts = []
    for number, state in enumerate(allowed[done : done + 2], start=done):
        wrong = sorted(
            key
            for key in {*found.contents, *state.contents}
            if found.contents.get(key) != state.contents.get(key)
        )
        parts.append(f"but for {wrong} as after {number}, journal {found.journal == state.journal}")
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


def _unpublished(store: Any, events: Sequence[Told]) -> list[str]:
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


#: Entries of the journal that were there before the store belonged to a bus.
_SEEDED = 4
