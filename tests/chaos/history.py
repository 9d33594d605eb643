"""What happened, as the players wrote it down.

Each process writes a file of its own, one line a fact, each by one ``write`` to
a file opened for appending: what a process that is killed has written is there.
Times are seconds of CLOCK_MONOTONIC, which all processes of a machine share.

Lines are words, the time first.  A publisher writes::

    emit 17 Left north     begins to emit event 17 of class Left and origin north
    emitted 17             emit returned
    refused 17             emit raised: nobody may ever hear of 17
    flushed 17             a flush that began when 17 was emitted has returned
    slow 17 2.5            emit took 2.5 seconds
    lost                   its publishing connection has gone: the unconfirmed is sent again

A subscriber writes ``ready`` when what is emitted from then on must arrive, and::

    heard p1 17 Left north  its listener returns from event 17 of publisher p1
    failed p1 17            its listener raises instead
    missing named 1.5       EventsMayBeMissing: of that subscription, since that time (or -)
    cut                     its queue is no longer consumed: the broker takes back what was in hand
    moved p1 17             it sends that event to another queue, of isolation or of the group
    returned p1 17          that event comes, and the broker had given it to somebody before
    probe                   it tries a queue that did not answer, and may take one message of it

Both write ``state connected``, ``state disconnected``, and ``closed`` at a clean end.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, unquote


class Recorder:
    """Appends facts to a file.

    Args:
        path: of the file; made if it is not there.
    """

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def note(self, *words: object) -> None:
        """Write one line, with the time."""
        line = " ".join(quote(str(word)) for word in words)
        os.write(self._fd, f"{time.monotonic():.6f} {line}\n".encode())

    def close(self) -> None:
        """Write no more."""
        os.close(self._fd)


@dataclass(slots=True)
class Emission:
    """An event that a publisher began to emit.

    Attributes:
        publisher: name of the publisher; one that was killed comes back under it.
        number: its own count, from 1.
        run: which of the publisher's processes, from 0.
        cls, origin: what is emitted.
        began: when emit was called.
        returned: whether emit returned.
        refused: whether emit raised.
        confirmed: when a flush returned that covers it; None if none has.
    """

    publisher: str
    number: int
    run: int
    cls: str
    origin: str
    began: float
    returned: bool = False
    refused: bool = False
    confirmed: float | None = None


@dataclass(slots=True)
class Hearing:
    """That a listener has handled an event."""

    at: float
    publisher: str
    number: int
    cls: str
    origin: str


@dataclass(slots=True)
class Gap:
    """That a subscriber was told that events may be missing, all between *since* and *at*."""

    at: float
    since: float | None


@dataclass(slots=True)
class PublisherRun:
    """One process of a publisher.

    Attributes:
        name, run: who it is.
        is_spooled: whether its buffer is on disk, and shared by all of its processes.
        killed: when it was killed, if it was.
        closed: when it ended cleanly, if it did.
        emissions: in order.
        slow: events whose emit took long, with the seconds.
        states: when it was connected (True) and disconnected.
        losses: when its publishing connection was lost, also while the other was away.
        flushed: when flushes returned.
        network: index of the network that it lives in.
    """

    name: str
    run: int
    is_spooled: bool = False
    killed: float | None = None
    closed: float | None = None
    emissions: list[Emission] = field(default_factory=list)
    slow: list[tuple[int, float]] = field(default_factory=list)
    states: list[tuple[float, bool]] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    flushed: list[float] = field(default_factory=list)
    network: int = 0

    @property
    def title(self) -> str:
        """Name and process."""
        return f"{self.name}/{self.run}"


@dataclass(slots=True)
class SubscriberRun:
    """One process of a subscriber.

    Attributes:
        name, run: who it is.
        mode: "connect" for a broadcast listener, else the mode of the subscription.
        subscription: name of the durable subscription; "" for none.
        wanted: name of the class that it listens to.
        ready: from when on it must hear everything.
        killed: when it was killed, if it was.
        closed: when it ended cleanly, if it did.
        heard: in order.
        failed: (publisher, number) of events whose listener raised at least once.
        gaps: what it was told to miss.
        states: when it was connected (True) and disconnected.
        cuts: when its queue was no longer consumed.
        moved: when it sent an event on to another queue.
        returned: when an event came that somebody had been given before.
        probes: when it tried a queue that did not answer.
        losses: when its publishing connection was lost, by which it moves events.
        is_ordered: whether it tries what fails again where it stands.
        network: index of the network that it lives in.
    """

    name: str
    run: int
    mode: str
    subscription: str = ""
    wanted: str = "Note"
    ready: float | None = None
    killed: float | None = None
    closed: float | None = None
    heard: list[Hearing] = field(default_factory=list)
    failed: set[tuple[str, int]] = field(default_factory=set)
    gaps: list[Gap] = field(default_factory=list)
    states: list[tuple[float, bool]] = field(default_factory=list)
    cuts: list[float] = field(default_factory=list)
    moved: dict[tuple[str, int], float] = field(default_factory=dict)
    returned: dict[tuple[str, int], float] = field(default_factory=dict)
    probes: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    is_ordered: bool = False
    network: int = 0

    @property
    def title(self) -> str:
        """Name and process."""
        return f"{self.name}/{self.run}"


@dataclass(slots=True)
class Trouble:
    """What the conductor did.

    Attributes:
        fault: its name.
        target: to whom; "" for the broker.
        began: when.
        ended: when it was over, and everything could be well again.
    """

    fault: str
    target: str
    began: float
    ended: float


@dataclass(slots=True)
class History:
    """Everything.

    Attributes:
        publishers, subscribers: what each process wrote.
        troubles: what was done to them.
        dead: how many dead letters there were in the end.
        ended: when it was over.
    """

    publishers: list[PublisherRun] = field(default_factory=list)
    subscribers: list[SubscriberRun] = field(default_factory=list)
    troubles: list[Trouble] = field(default_factory=list)
    dead: int = 0
    ended: float = float("inf")


def read_publisher(path: Path, run: PublisherRun) -> PublisherRun:
    """Fill *run* with what its process wrote."""
    by_number: dict[int, Emission] = {}
    unconfirmed = 0
    for at, kind, words in read_facts(path):
        if kind == "emit":
            number = int(words[0])
            emission = Emission(run.name, number, run.run, words[1], words[2], at)
            by_number[number] = emission
            run.emissions.append(emission)
        elif kind == "emitted":
            by_number[int(words[0])].returned = True
        elif kind == "refused":
            by_number[int(words[0])].refused = True
        elif kind == "flushed":
            run.flushed.append(at)
            upto = int(words[0])
            while unconfirmed < len(run.emissions) and run.emissions[unconfirmed].number <= upto:
                emission = run.emissions[unconfirmed]
                emission.confirmed = None if emission.refused else at
                unconfirmed += 1
        elif kind == "slow":
            run.slow.append((int(words[0]), float(words[1])))
        elif kind == "lost":
            run.losses.append(at)
        elif kind == "closed":
            run.closed = at
        elif kind == "state":
            run.states.append((at, words[0] == "connected"))
    return run


def read_subscriber(path: Path, run: SubscriberRun) -> SubscriberRun:
    """Fill *run* with what its process wrote."""
    for at, kind, words in read_facts(path):
        if kind == "heard":
            run.heard.append(Hearing(at, words[0], int(words[1]), words[2], words[3]))
        elif kind == "failed":
            run.failed.add((words[0], int(words[1])))
        elif kind == "ready":
            run.ready = at
        elif kind == "closed":
            run.closed = at
        elif kind == "missing":
            # A bus tells of its broadcast listeners and of each subscription apart.
            if words[0] == (run.subscription or "broadcast"):
                run.gaps.append(Gap(at, None if words[1] == "-" else float(words[1])))
        elif kind == "cut":
            run.cuts.append(at)
        elif kind == "lost":
            run.losses.append(at)
        elif kind == "probe":
            run.probes.append(at)
        elif kind == "returned":
            run.returned.setdefault((words[0], int(words[1])), at)
        elif kind == "moved":
            run.moved.setdefault((words[0], int(words[1])), at)
        elif kind == "state":
            run.states.append((at, words[0] == "connected"))
    return run


def read_facts(path: Path) -> list[tuple[float, str, list[str]]]:
    """Return the lines of a player's file: when, what, and the other words."""
    if not path.exists():  # killed before its first word
        return []
    facts = []
    for line in path.read_text("ascii").splitlines(keepends=True):
        if line.endswith("\n"):
            at, kind, *words = line.split()
            facts.append((float(at), kind, [unquote(word) for word in words]))
    return facts
