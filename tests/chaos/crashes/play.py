"""Kill a writer at a system call, and look what it left."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from tests.chaos.crashes.children import in_child
from tests.chaos.crashes.judging import judged, unpublished
from tests.chaos.crashes.media import Medium, RedisServers
from tests.chaos.crashes.recording import published
from tests.chaos.crashes.system_calls import changes_something, is_write
from tests.chaos.crashes.tracing import Call, Fate
from tests.chaos.crashes.work import Step, states
from tests.chaos.crashes.writing import (
    FateOf,
    Signals,
    Target,
    commit,
    commit_from_afar,
    recording_bus,
    serve_until_told,
    watch,
)

#: Seconds in which all that is committed has to be published.
_SWEEP_TIMEOUT_S = 30.0

_VARYING = re.compile(r"[0-9a-f]{6,}|\d+|:\[.*")


class Relay(NamedTuple):
    """When a process that sweeps up is killed.

    Attributes:
        published: how many messages it publishes before, the last one perhaps not.
        calls: how many more calls any of its threads makes then.
    """

    published: int
    calls: int


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

    def judge(self, relays: Sequence[Relay] = ()) -> list[Outcome]:
        """Judge what the writers left, have their events come out, and judge these.

        Args:
            relays: when processes that sweep up are killed, before one that is not.

        Returns:
            What the writers left that were killed since the last time.
        """
        outcomes, self._outcomes = self._outcomes, []
        stores = [(outcome.store, outcome.done) for outcome in outcomes]
        names = [outcome.store for outcome in outcomes]
        # In fresh processes, which have never had these stores open.
        left = in_child(lambda: [judged(self._medium, *store, self._states) for store in stores])
        for relay in relays:
            self._kill_sweeper(names, relay)
        events = in_child(lambda: self._swept(names))
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

    def _write(self, fate_of: FateOf) -> tuple[str, int]:
        """Run a writer; return the name of its store, and how many steps were over."""
        name = self._medium.new_name()
        medium = self._medium
        if isinstance(medium, RedisServers):
            return name, watch(
                lambda signals: _be_redis(medium, name, signals),
                lambda where, signals: self._commit_to(medium, name, signals),
                fate_of,
            )
        if medium.is_served:
            return name, watch(
                lambda signals: self._serve(name, signals),
                lambda url, signals: commit_from_afar(url, self.steps, signals),
                fate_of,
            )
        return name, watch(lambda signals: self._commit(name, signals), None, fate_of)

    def _commit(self, name: str, signals: Signals) -> None:
        with self._opened(name) as store:
            signals.ready()
            signals.wait_go()
            commit(store, self.steps, signals)

    def _serve(self, name: str, signals: Signals) -> None:
        with self._opened(name) as store:
            serve_until_told(store, signals)

    def _commit_to(self, medium: RedisServers, name: str, signals: Signals) -> None:
        signals.wait_begin()
        with self._opened(name) as store:
            commit(store, self.steps, signals)
        medium.shut_down(name)

    @contextlib.contextmanager
    def _opened(self, name: str) -> Iterator[Any]:
        """Make a store, and open it with a bus."""
        self._medium.make(name)
        self._sabotage()
        bus = recording_bus(self._path(name))
        store = self._medium.open(name, bus)
        yield store
        store.disconnect()
        bus.close()

    # -- Those who come after it -----------------------------------------------

    def _kill_sweeper(self, names: Sequence[str], relay: Relay) -> None:
        published, calls = 0, 0

        def fate(call: Call, found: Target, done: int) -> Fate:
            nonlocal published, calls
            if call.name == "write" and call.file == str(self._path("sweeper")):
                published += 1
            calls += published >= relay.published
            return Fate.KILL if calls > relay.calls else Fate.LIVE

        def sweep(signals: Signals) -> None:
            signals.ready()
            signals.wait_go()
            signals.note(0)
            self._swept(names, is_last=False)

        watch(sweep, None, fate)

    def _swept(self, names: Sequence[str], *, is_last: bool = True) -> dict[str, list[str]]:
        """Open the stores with one bus, and return what is wrong with the events of each."""
        self._sabotage()
        path = self._path("sweeper")
        bus = recording_bus(path)
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
            found[name] = unpublished(store, events)
            if name in waiting:
                found[name].append(f"not swept within {_SWEEP_TIMEOUT_S:g} s")
            store.disconnect()
        bus.close()
        if is_last:
            path.unlink(missing_ok=True)
        return found


def _be_redis(medium: RedisServers, name: str, signals: Signals) -> None:
    medium.prepare_folder(name)
    signals.ready()
    signals.wait_go()
    medium.become(name)


def _is_swept(store: Any) -> bool:
    swept: bool = store.outbox_ledger().swept() == store.head()
    return swept
