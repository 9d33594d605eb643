"""What the players of a play about caches wrote down, and what the conductor did.

Lines are words, the time first; times are seconds of CLOCK_MONOTONIC.  A writer
writes ``write KEY COUNT`` before and ``wrote KEY COUNT`` after a write, or
``unsure KEY COUNT ERROR`` if it raised.  A reader writes ``read KEY COUNT BEGAN
STATE HITS`` when a read returns (STATE is fresh or unsure, COUNT 0 is no such
key, HITS counts the reads served from the cache so far), ``failed KEY ERROR``,
and of its own unpushed key ``own KEY COUNT``, ``owned KEY COUNT``, ``own-read KEY COUNT``
and ``disowned KEY COUNT`` when it is pushed or given up.  An author writes ``read-at
KEY COUNT BEGAN LEAST`` of a read that asked for what it had written itself, and a
listener ``heard ENTRY EVENT`` of the change with that id in its journal.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from tests.chaos.caches.parts import Part
from tests.chaos.history import Trouble

#: What the conductor knows, beside the players' logs.
_NAME = "play.json"


@dataclass(slots=True)
class Write:
    """One write; *ended* is None if it raised, or its process was killed in it."""

    key: str
    count: int
    began: float
    ended: float | None = None


@dataclass(slots=True)
class Read:
    """One read that returned."""

    key: str
    count: int
    began: float
    ended: float
    state: str


@dataclass(slots=True)
class Own:
    """What became of a key that is not pushed: *kind* is own, owned, own-read or disowned."""

    kind: str
    key: str
    count: int
    at: float
    run: int


@dataclass(slots=True)
class Demand:
    """One read that asked for at least the write that counted *least*."""

    key: str
    count: int
    least: int
    began: float
    ended: float


@dataclass(slots=True)
class Player:
    """All that the processes of one part did."""

    part: Part
    writes: list[Write] = field(default_factory=list)
    reads: list[Read] = field(default_factory=list)
    owns: list[Own] = field(default_factory=list)
    demands: list[Demand] = field(default_factory=list)
    #: Ids of journal entry and event, and the number of the process that heard of them.
    heard: list[tuple[str, str, int]] = field(default_factory=list)
    failures: int = 0
    hits: int = 0
    #: What ended a process of it that nobody killed.
    deaths: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Restore:
    """A backup was put back: *values* are those of all keys then.

    Nobody wrote between *began* and *ended*.
    """

    store: str
    began: float
    ended: float
    values: dict[str, int]


@dataclass(slots=True)
class Healing:
    """How long it took each cache of a reader to be right after everything was healed."""

    name: str
    seconds: float | None
    wrong: str = ""


@dataclass(slots=True)
class History:
    """Everything."""

    players: list[Player] = field(default_factory=list)
    restores: list[Restore] = field(default_factory=list)
    healings: list[Healing] = field(default_factory=list)
    troubles: list[Trouble] = field(default_factory=list)
    #: Changes that were in a journal in the end, and that no event told of.
    untold: list[str] = field(default_factory=list)


def keep(folder: Path, parts: list[Part], history: History) -> None:
    """Write what the conductor knows into *folder*."""
    about: dict[str, Any] = {
        "parts": [part.asdict() for part in parts],
        "restores": [asdict(one) for one in history.restores],
        "healings": [asdict(one) for one in history.healings],
        "troubles": [asdict(one) for one in history.troubles],
        "untold": history.untold,
    }
    (folder / _NAME).write_text(json.dumps(about, indent=1))


def read(folder: Path) -> History:
    """Return the history that is in *folder*."""
    about = json.loads((folder / _NAME).read_text())
    return History(
        [read_player(folder, Part(**one)) for one in about["parts"]],
        [Restore(**one) for one in about["restores"]],
        [Healing(**one) for one in about["healings"]],
        [Trouble(**one) for one in about["troubles"]],
        about.get("untold", []),
    )


def read_player(folder: Path, part: Part) -> Player:
    """Return what the processes of *part* wrote, oldest first."""
    player = Player(part)
    for run in range(1000):
        path = folder / f"{part.name}.{run}.log"
        if not path.exists():
            break
        _read_run(player, path, run)
    return player


def _read_run(player: Player, path: Path, run: int) -> None:
    hits = 0
    open_writes: dict[tuple[str, str], Write] = {}
    for at, kind, words in _lines(path):
        if kind == "read":
            key, count, began, state, hits_now = words
            player.reads.append(Read(key, int(count), float(began), at, state))
            hits = int(hits_now)
        elif kind == "write":
            player.writes.append(Write(words[0], int(words[1]), at))
            open_writes[words[0], words[1]] = player.writes[-1]
        elif kind == "wrote":
            open_writes[words[0], words[1]].ended = at
        elif kind == "read-at":
            key, count, began, least = words
            player.demands.append(Demand(key, int(count), int(least), float(began), at))
        elif kind == "heard":
            player.heard.append((words[0], words[1], run))
        elif kind in ("own", "owned", "own-read", "disowned"):
            player.owns.append(Own(kind, words[0], int(words[1]), at, run))
        elif kind == "failed":
            player.failures += 1
        elif kind == "ended":
            player.deaths.append(words[0])
    player.hits += hits


def _lines(path: Path) -> Iterator[tuple[float, str, list[str]]]:
    for line in path.read_text().splitlines():
        time_text, *words = line.split(" ")
        kind, *rest = map(unquote, words)
        yield float(time_text), kind, rest
