"""What a process says is confirmed is confirmed, in every interleaving."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest

from antiphon.errors import StoreUnavailable, VersionConflict
from antiphon.events.api import EventManager
from antiphon.events.event_id import EventIds
from antiphon.outbox import vouching
from antiphon.outbox.options import Timing
from antiphon.outbox.vouching import Vouching
from antiphon.storage.changes import Change, Committed
from antiphon.storage.events import StoreSetEvent
from antiphon.storage.journal import JournalEntry, Version
from antiphon.storage.tellings import Tellings, Turn

_ALWAYS = Timing(renew_s=0.0)
_MANAGER = EventManager()
_IDS = EventIds()


class Medium:
    """A journal, a bus and a lease, each a number."""

    def __init__(self) -> None:
        self.sequence = self.appended = self.finished = self.dropped = 0
        self.told: set[int] = set()
        self.arrived: set[int] = set()
        self.buffer: list[int] = []
        self.manager = _MANAGER
        self.ids = _IDS
        self.tellings = Tellings(self.ids, self.manager)
        self.vouching = Vouching(self, self.ids.publisher, _ALWAYS)  # type: ignore[arg-type]
        self.vouching.add(self.tellings)
        self.confirmed = 0

    # -- As a bus ------------------------------------------------------------

    @property
    def sending(self) -> tuple[int, int]:
        return self.appended, self.dropped

    def wait_sent(self, count: int, timeout_s: float) -> bool:
        return self.finished >= count

    def append(self, number: int) -> None:
        self.buffer.append(number)
        self.appended += 1

    def send(self) -> None:
        """The broker confirms the oldest event."""
        if self.buffer:
            self.arrived.add(self.buffer.pop(0))
            self.finished += 1

    # -- As an outbox --------------------------------------------------------

    def tick(self) -> None:
        """Look what is confirmed, and say so."""
        self.vouching.advance()
        lease = self.vouching.due_lease()
        if lease is not None:
            self.vouching.wrote(lease)
            self.confirmed = lease.confirmed

    def check(self) -> None:
        """Nothing that the lease covers may be missing at the broker."""
        missing = set(range(1, self.confirmed + 1)) - self.arrived
        assert not missing, f"{missing} of {self.confirmed} confirmed"

    def writer(self) -> Iterator[None]:
        """Commit one change and tell of it; stop wherever another thread may come."""
        turn = self.tellings.begin()
        yield
        self.sequence += 1
        done = committed(self.sequence, self.ids)
        turn.version = done.entry.version
        event = StoreSetEvent(None, key="k", metadata={})
        turn.event = event
        yield
        self.append(done.entry.version.sequence)
        event.__dict__["_sent"] = ("bus", b"", 1)
        yield
        turn.ended([done], [], self.manager)
        yield

    def ticker(self, times: int) -> Iterator[None]:
        """Tick now and then."""
        for _ in range(times):
            self.tick()
            yield

    def sender(self, times: int) -> Iterator[None]:
        """Confirm now and then."""
        for _ in range(times):
            self.send()
            yield


def committed(sequence: int, ids: EventIds) -> Committed:
    """A commit of one change."""
    version = Version(1, sequence, b"%08d" % sequence)
    event_id = ids.next()
    return Committed(JournalEntry(version, "k", "set", event_id, ids.publisher, True, 0), {})


def interleavings(lengths: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """All orders in which actors with so many steps each can take them."""
    if not any(lengths):
        yield ()
        return
    for actor, left in enumerate(lengths):
        if left:
            rest = (*lengths[:actor], left - 1, *lengths[actor + 1 :])
            for following in interleavings(rest):
                yield (actor, *following)


def test_nothing_is_vouched_for_that_the_broker_has_not() -> None:
    """Two writers, the broker and the outbox, in all orders of their steps."""
    tried = 0
    for order in interleavings((4, 3, 1, 2)):
        medium = Medium()
        actors = [medium.writer(), medium.writer(), medium.sender(1), medium.ticker(2)]
        for actor in order:
            next(actors[actor])
            medium.check()
        tried += 1
        if tried % 500 == 0:  # and it comes to its end
            for actor in actors:
                for _ in actor:
                    pass
            medium.send()
            medium.send()
            medium.tick()
            medium.tick()
            assert medium.sequence == medium.confirmed

    assert tried == 12600


class Late(Tellings):
    """Lets others go on while the outbox looks for the newest commit."""

    meanwhile: Iterator[object] = iter(())

    def newest(self) -> Version | None:
        for _ in self.meanwhile:
            pass
        return super().newest()


def test_a_commit_that_begins_while_the_newest_is_looked_for() -> None:
    """It is seen as one under way, though a later one is told already."""
    medium = Medium()
    late = Late(medium.ids, medium.manager)
    medium.tellings = late
    medium.vouching.add(late)
    slow = medium.writer()
    late.meanwhile = itertools.chain(itertools.islice(slow, 2), medium.writer())
    medium.tick()
    medium.send()
    medium.tick()

    assert 0 == medium.confirmed
    for _ in slow:
        pass
    medium.send()
    medium.tick()
    assert 2 == medium.confirmed


def test_a_turn_that_never_ends_is_not_waited_for_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its thread was interrupted: all that it may not have told goes out once more."""
    medium = Medium()
    lost = medium.writer()
    next(lost)
    next(lost)  # committed, and never told
    for _ in medium.writer():
        pass
    medium.send()
    medium.tick()
    assert 0 == medium.confirmed
    monkeypatch.setattr(vouching, "STUCK_S", 0.0)
    medium.tick()
    entry = committed(1, medium.ids).entry

    assert (True, 0) == (medium.vouching.is_due(entry), medium.confirmed)
    medium.vouching.is_out([entry, committed(2, medium.ids).entry])
    medium.arrived.add(1)
    monkeypatch.undo()
    for _ in medium.writer():
        pass
    medium.send()
    medium.tick()
    medium.tick()
    medium.check()
    assert 3 == medium.confirmed


def changes(ids: EventIds, count: int = 1) -> list[Change]:
    """Changes that are about to be committed."""
    return [Change("k", ids.next(), b"%08d" % number) for number in range(count)]


def begun(medium: Medium) -> tuple[Turn, list[Change]]:
    """A turn, and what is committed in it."""
    return medium.tellings.begin(), changes(medium.ids)


@pytest.mark.parametrize(
    ("why", "is_doubtful"),
    [
        (StoreUnavailable("it may have happened"), True),
        (KeyboardInterrupt(), True),
        (VersionConflict("it has not"), False),
    ],
)
def test_a_commit_that_raised_is_in_doubt_if_it_may_have_happened(
    why: BaseException, is_doubtful: bool
) -> None:
    """And the lease says no more than before until it is found, or long past."""
    medium = Medium()
    for _ in medium.writer():
        pass
    medium.send()
    medium.tick()
    turn, tried = begun(medium)
    turn.failed(tried, why)
    medium.sequence += is_doubtful
    for _ in medium.writer():
        pass
    medium.send()
    medium.tick()
    medium.tick()

    assert is_doubtful == medium.vouching.is_doubtful
    assert (1 if is_doubtful else 2) == medium.confirmed
    entry: Any = JournalEntry(
        Version(1, 2, b""), "k", "set", tried[0].event_id, medium.ids.publisher, True, 0
    )
    assert is_doubtful == medium.vouching.is_due(entry)
    medium.vouching.is_out([entry])
    medium.tick()
    assert medium.sequence == medium.confirmed


def test_a_manager_that_was_replaced_in_the_middle_was_told_in_vain() -> None:
    """What went to another manager is in doubt."""
    medium = Medium()
    turn = medium.tellings.begin()
    medium.sequence += 1
    done = committed(1, medium.ids)
    turn.version = done.entry.version
    turn.ended([done], [], EventManager())
    medium.tick()

    assert (True, 0) == (medium.vouching.is_doubtful, medium.confirmed)


def test_what_the_bus_gave_up_is_published_again() -> None:
    """Which events were given up nobody knows: all since the last that were sure."""
    medium = Medium()
    for _ in itertools.chain(medium.writer(), medium.writer()):
        pass
    medium.send()
    medium.buffer.clear()
    medium.finished, medium.dropped = 2, 1
    medium.tick()
    entries = [committed(number, medium.ids).entry for number in (1, 2, 3)]

    assert 0 == medium.confirmed
    assert [True, True, None] == [medium.vouching.is_due(each) for each in entries]
    assert all(medium.vouching.was_given_up(each) for each in entries[:2])
    medium.vouching.is_out(entries[:2])
    medium.tick()
    assert 2 == medium.confirmed


def test_ids_of_an_outbox_are_not_those_of_the_process() -> None:
    """So that entries of a store without a bus in the same process are not vouched for."""
    one, two = EventIds(), EventIds()

    assert 3 == len({one.publisher, two.publisher, UUID(int=0).bytes})
    assert [1, 2] == [one.next().counter, one.next().counter]
