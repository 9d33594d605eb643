"""A play on disk: who played, what was done, and what each process wrote."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.chaos.history import (
    History,
    PublisherRun,
    SubscriberRun,
    Trouble,
    read_publisher,
    read_subscriber,
)

#: What the conductor knows, beside the players' logs.
_NAME = "play.json"


@dataclass(frozen=True, slots=True)
class Part:
    """Who is to be played.

    Attributes:
        name: of the player.
        role: publisher or subscriber; other plays have more.
        network: index of the network that it lives in.
        mode: of a subscriber: connect, broadcast, group or single.
        subscription: of a subscriber: name of its durable subscription.
        wanted: of a subscriber: class that it listens to.
        rate: of a publisher: events a second.
        is_spooled: of a publisher: whether it has a spool on disk.
        is_ordered: of a subscriber: whether what fails is tried again where it stands.
        options: of the bus of a publisher, or of the subscription; see there.
        slow_share, failing_share: of a subscriber: how many of its calls are slow, and raise.
    """

    name: str
    role: str
    network: int = 0
    mode: str = "connect"
    subscription: str = ""
    wanted: str = "Note"
    rate: float = 100.0
    is_spooled: bool = False
    slow_share: float = 0.01
    failing_share: float = 0.0
    is_ordered: bool = False
    options: tuple[tuple[str, Any], ...] = ()


def log_path(folder: Path, name: str, run: int) -> Path:
    """Return the file with the history of process *run* of player *name*."""
    return folder / f"{name}.{run}.log"


def publisher_runs(
    folder: Path, part: Part, runs: Iterable[int], killed: Mapping[int, float]
) -> list[PublisherRun]:
    """Return what the processes of publisher *part* have written."""
    return [
        read_publisher(
            log_path(folder, part.name, run),
            PublisherRun(
                part.name, run, part.is_spooled, killed=killed.get(run), network=part.network
            ),
        )
        for run in runs
    ]


def subscriber_runs(
    folder: Path, part: Part, runs: Iterable[int], killed: Mapping[int, float]
) -> list[SubscriberRun]:
    """Return what the processes of subscriber *part* have written."""
    return [
        read_subscriber(
            log_path(folder, part.name, run),
            SubscriberRun(
                *(part.name, run, part.mode, part.subscription, part.wanted),
                killed=killed.get(run),
                is_ordered=part.is_ordered,
                network=part.network,
            ),
        )
        for run in runs
    ]


def keep(
    folder: Path,
    players: Sequence[tuple[Part, int, Mapping[int, float]]],
    troubles: Sequence[Trouble],
    dead: int,
    ended: float,
) -> None:
    """Write into *folder* what the players' logs do not say.

    Args:
        folder: of the logs.
        players: each with the number of its last process, and which were killed when.
        troubles, dead, ended: see ``History``.
    """
    play: dict[str, Any] = {
        "players": [[asdict(part), last, dict(killed)] for part, last, killed in players],
        "troubles": [asdict(one) for one in troubles],
        "dead": dead,
        "ended": ended,
    }
    (folder / _NAME).write_text(json.dumps(play, indent=1))


def read_parts(folder: Path) -> list[tuple[Part, range]]:
    """Return who played, each with the numbers of its processes, as ``keep`` has left that."""
    players = json.loads((folder / _NAME).read_text())["players"]
    return [(Part(**kept), range(last + 1)) for kept, last, _ in players]


def read(folder: Path) -> History:
    """Return the history that ``keep`` and the players have left in *folder*."""
    play = json.loads((folder / _NAME).read_text())
    troubles = [Trouble(**one) for one in play["troubles"]]
    history = History(troubles=troubles, dead=play["dead"], ended=play["ended"])
    for kept, last, killed_of in play["players"]:
        part = Part(**kept)
        killed = {int(run): at for run, at in killed_of.items()}
        runs = range(last + 1)
        if part.role == "publisher":
            history.publishers += publisher_runs(folder, part, runs, killed)
        elif part.role == "subscriber":
            history.subscribers += subscriber_runs(folder, part, runs, killed)
    return history
