"""What happened in a play about an archive: its witness's list, and what readers wrote down.

A trigger in the archive's file lists each event that is inserted and each that is
deleted, in the transaction that does it: the list has what was committed, in that
order.  Readers write lines, the time first (see ``tests.chaos.history``).  A tail::

    tail 3 170 1700000.5      its third tail begins: history up to place 170, since then (or -)
    mark 3                    it has caught up
    saw 3 ID                  an event of it

A replayer::

    replay 4 sent 170 Left A B   its fourth replay, of Left from time A to time B, to a
                              subscription (or "called": to a function); the head is 170
    found 4 ID                what it finds in the archive
    called 4 p1 17 True       its function is called with event 17 of p1, marked as replayed
    replayed 4 250 0 0        it has returned: events sent, skipped, unreadable
    broke 4 ERROR             it has raised

The subscription ``audit`` writes ``again p1 17`` for what is replayed to it.  ``ended``
says that a reader's thread has failed, and why.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from antiphon.archive.recorded import unpack_message
from antiphon.archive.retention import Retention
from antiphon.wire.codec import Codec
from tests.chaos.history import History, read_facts
from tests.chaos.keeping import Part, log_path, read_parts
from tests.chaos.keeping import read as read_history

#: What the conductor knows, beside ``play.json``.
_NAME = "archive.json"

_WITNESS = """
CREATE TABLE chaos(n INTEGER PRIMARY KEY, is_gone INTEGER, place INTEGER, id TEXT,
                   timestamp REAL, message BLOB, content TEXT, at REAL);
CREATE TRIGGER chaos_came AFTER INSERT ON events BEGIN
    INSERT INTO chaos VALUES (NULL, 0, new.seq, new.id, new.timestamp, new.message, new.content,
                              (julianday('now') - 2440587.5) * 86400.0);
END;
CREATE TRIGGER chaos_went AFTER DELETE ON events BEGIN
    INSERT INTO chaos VALUES (NULL, 1, old.seq, old.id, old.timestamp, NULL, NULL,
                              (julianday('now') - 2440587.5) * 86400.0);
END;
"""


def flag_of(cls: str) -> str:
    """Return the tag of events of class *cls* of ``events``."""
    return f"chaos:{cls}"


@dataclass(slots=True)
class Entry:
    """A line of the witness: an event was inserted, or deleted.

    Attributes:
        is_gone: whether it was deleted.
        place: of the event.
        id: of the event.
        timestamp: of the event, seconds since the epoch.
        at: when the transaction did so, or a moment before, likewise.
        publisher, number, cls: of the event; "" of one that is no player's, or is gone.
        told: by the recorder itself: that events may be missing.
    """

    is_gone: bool
    place: int
    id: str
    timestamp: float
    at: float
    publisher: str = ""
    number: int = 0
    cls: str = ""
    told: str = ""


@dataclass(slots=True)
class Following:
    """One tail.

    Attributes:
        title: who, which process, which tail of it.
        wanted: class that it follows.
        place: up to where history goes.
        since: from when on, seconds since the epoch; None for no history.
        marks: at which of the events it caught up, by their index.
        seen: when, and the id.
        marked_at: when it caught up first.
    """

    title: str
    wanted: str
    place: int
    since: float | None
    marks: list[int] = field(default_factory=list)
    seen: list[tuple[float, str]] = field(default_factory=list)
    marked_at: float | None = None


@dataclass(slots=True)
class Replay:
    """One replay.

    Attributes:
        title: who, which process, which replay of it.
        is_sent: whether it went to the subscription, and not to a function.
        head: of the archive when it began.
        wanted, start, end: which events.
        found: ids of what it found.
        called: what its function was called with: publisher, number, whether it was marked.
        returned: how many it said to have sent, skipped, and found unreadable.
    """

    title: str
    is_sent: bool
    head: int
    wanted: str
    start: float
    end: float
    found: list[str] = field(default_factory=list)
    called: list[tuple[str, int, bool]] = field(default_factory=list)
    returned: tuple[int, ...] | None = None


@dataclass(slots=True)
class Told:
    """What the conductor knows of the archive, at the end.

    Attributes:
        entries: of the witness, in the order of commits.
        rules: of retention, each for events of one class and not of another.
        offset_s: from the monotonic clock to the time since the epoch.
        ended: when the rules had been applied for the last time, since the epoch.
        found: ids that a search without flags finds in the end, in its order.
        flagged: the same for each class.
        counted: how many events the archive says to have.
        problems: what sqlite says about the file; and who ended that was not to.
        missing_tails: tails that the last event never reached.
    """

    entries: list[Entry] = field(default_factory=list)
    rules: list[Rule] = field(default_factory=list)
    offset_s: float = 0.0
    ended: float = 0.0
    found: list[str] = field(default_factory=list)
    flagged: dict[str, list[str]] = field(default_factory=dict)
    counted: int = 0
    problems: list[str] = field(default_factory=list)
    missing_tails: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of retention: for events of class *cls* that are none of class *spared*."""

    cls: str
    spared: str
    max_age_s: float | None = None
    max_events: int | None = None

    def asdict(self) -> dict[str, Any]:
        """Return it as the recorder's settings have it."""
        limits = {"max_age_s": self.max_age_s, "max_events": self.max_events}
        return {
            **{name: limit for name, limit in limits.items() if limit is not None},
            "flags": [flag_of(self.cls)],
            "unless": [flag_of(self.spared)],
        }

    @property
    def rule(self) -> Retention:
        """It as the library has it."""
        return Retention(**self.asdict())


@dataclass(slots=True)
class Records:
    """Everything.

    Attributes:
        history: publishers, the subscription ``audit``, and troubles.
        told: what the conductor knows.
        followings: all tails.
        replays: all replays.
        again: what was replayed to ``audit``, by process.
        moved: when a recorder put an event aside, by publisher and number.
        failures: of readers' threads.
    """

    history: History
    told: Told
    followings: list[Following] = field(default_factory=list)
    replays: list[Replay] = field(default_factory=list)
    again: dict[str, list[tuple[str, int]]] = field(default_factory=dict)
    moved: dict[tuple[str, int], float] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)


# -- The witness -------------------------------------------------------------------------


def place_witness(path: Path) -> None:
    """Have the archive at *path*, which is there, list what comes and goes."""
    connection = sqlite3.connect(path)
    try:
        connection.executescript(f"BEGIN IMMEDIATE; {_WITNESS} COMMIT;")
    finally:
        connection.close()


def entries_of(connection: sqlite3.Connection, after: int = 0) -> Iterator[Entry]:
    """Yield what the witness has listed, from number *after* on."""
    codec = Codec()
    rows = connection.execute(
        "SELECT is_gone, place, id, timestamp, at, message, content FROM chaos WHERE n > ?"
        " ORDER BY n",
        (after,),
    )
    for is_gone, place, name, timestamp, at, message, content in rows:
        entry = Entry(bool(is_gone), place, name, timestamp, at)
        if message is not None:
            unpacked = unpack_message(message)
            (event,) = codec.decode(unpacked.routing_key, unpacked.headers, unpacked.body)
            entry.publisher, entry.number = event.publisher, event.number  # type: ignore[attr-defined]
            entry.cls = type(event).__name__
        elif content:
            entry.told = content
        yield entry


# -- On disk -----------------------------------------------------------------------------


def keep_told(folder: Path, told: Told) -> None:
    """Write what the conductor knows into *folder*."""
    (folder / _NAME).write_text(json.dumps(asdict(told)))


def read(folder: Path) -> Records:
    """Return what ``keep``, ``keep_told`` and the players have left in *folder*."""
    given = json.loads((folder / _NAME).read_text())
    entries = [Entry(**one) for one in given.pop("entries")]
    rules = [Rule(**one) for one in given.pop("rules")]
    records = Records(read_history(folder), Told(entries, rules, **given))
    for part, runs in read_parts(folder):
        for run in runs:
            path = log_path(folder, part.name, run)
            _read_run(records, part, f"{part.name}/{run}", read_facts(path))
    return records


def _read_run(records: Records, part: Part, title: str, facts: Iterable[Any]) -> None:
    followings: dict[str, Following] = {}
    replays: dict[str, Replay] = {}
    for at, kind, words in facts:
        if kind == "ended":
            records.failures.append(f"{title}: {words[0]}")
        elif kind == "moved" and part.role == "recorder":
            records.moved.setdefault((words[0], int(words[1])), at)
        elif kind == "again":
            records.again.setdefault(title, []).append((words[0], int(words[1])))
        elif part.role == "tail":
            _read_tail(followings, f"{title}", part.wanted, at, kind, words)
        elif part.role == "replayer":
            _read_replay(replays, title, kind, words)
    records.followings += followings.values()
    records.replays += replays.values()


def _read_tail(
    found: dict[str, Following], title: str, wanted: str, at: float, kind: str, words: list[str]
) -> None:
    if kind == "tail":
        since = None if words[2] == "-" else float(words[2])
        found[words[0]] = Following(f"{title}/{words[0]}", wanted, int(words[1]), since)
    elif kind == "saw":
        found[words[0]].seen.append((at, words[1]))
    elif kind == "mark":
        following = found[words[0]]
        following.marks.append(len(following.seen))
        following.marked_at = following.marked_at or at


def _read_replay(found: dict[str, Replay], title: str, kind: str, words: list[str]) -> None:
    if kind == "replay":
        number, how, head, wanted, start, end = words
        found[number] = Replay(
            f"{title}/{number}", how == "sent", int(head), wanted, float(start), float(end)
        )
    elif kind == "found":
        found[words[0]].found.append(words[1])
    elif kind == "called":
        found[words[0]].called.append((words[1], int(words[2]), words[3] == "True"))
    elif kind == "replayed":
        found[words[0]].returned = tuple(map(int, words[1:]))
