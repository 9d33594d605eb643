"""What goes wrong, and when: faults as context managers, and schedules drawn from a seed."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.chaos.stage import Stage


@dataclass(frozen=True, slots=True)
class Step:
    """One fault.

    Attributes:
        fault: a key of ``FAULTS``.
        target: name of a player, a store or a subscription, or a network's index; "" for a server.
        seconds: how long it lasts.
        pause_s: how long everything is left alone afterwards.
        also: what happens in the middle of it.
    """

    fault: str
    target: str = ""
    seconds: float = 0.0
    pause_s: float = 1.0
    also: Step | None = None

    def __str__(self) -> str:
        also = f", meanwhile {self.also}" if self.also else ""
        target = f" of {self.target}" if self.target else ""
        return f"{self.fault}{target} for {self.seconds:.1f} s{also}, then {self.pause_s:.1f} s"


@contextlib.contextmanager
def _broker_kill(stage: Stage, step: Step) -> Iterator[None]:
    stage.wait_declared()
    stage.broker.kill()
    yield
    stage.broker.start()
    stage.broker.wait_ready(90)


@contextlib.contextmanager
def _broker_stop(stage: Stage, step: Step) -> Iterator[None]:
    stage.broker.stop_orderly()
    yield
    stage.broker.start_orderly()
    stage.broker.wait_ready(90)


@contextlib.contextmanager
def _broker_freeze(stage: Stage, step: Step) -> Iterator[None]:
    stage.broker.pause()
    yield
    stage.broker.resume()


@contextlib.contextmanager
def _silence(stage: Stage, step: Step) -> Iterator[None]:
    network = stage.networks[int(step.target)]
    network.silence()
    yield
    network.heal()


@contextlib.contextmanager
def _reset(stage: Stage, step: Step) -> Iterator[None]:
    network = stage.networks[int(step.target)]
    network.reset()
    yield
    network.heal()


@contextlib.contextmanager
def _slow(stage: Stage, step: Step) -> Iterator[None]:
    network = stage.networks[int(step.target)]
    network.slow()
    yield
    network.heal()


def _alarm(kind: str) -> Callable[[Stage, Step], AbstractContextManager[None]]:
    @contextlib.contextmanager
    def alarm(stage: Stage, step: Step) -> Iterator[None]:
        stage.broker.alarm(kind, is_on=True)
        yield
        stage.broker.alarm(kind, is_on=False)

    return alarm


@contextlib.contextmanager
def _close_connections(stage: Stage, step: Step) -> Iterator[None]:
    stage.broker.close_connections()
    yield


@contextlib.contextmanager
def _delete_queue(stage: Stage, step: Step) -> Iterator[None]:
    stage.broker.delete_queue(f"{stage.system}.sub.{step.target}")
    yield
    stage.note_declared()  # about now


@contextlib.contextmanager
def _delete_broadcast(stage: Stage, step: Step) -> Iterator[None]:
    """Delete private queues under their consumers: the broker cancels these."""
    for name in stage.broker.queues():
        if name.startswith("amq.gen"):
            stage.broker.delete_queue(name)
    yield


@contextlib.contextmanager
def _player_kill(stage: Stage, step: Step) -> Iterator[None]:
    player = stage.player(step.target)
    player.kill()
    yield
    player.start()
    player.wait_begun()


@contextlib.contextmanager
def _player_freeze(stage: Stage, step: Step) -> Iterator[None]:
    player = stage.player(step.target)
    player.freeze()
    yield
    player.thaw()


FAULTS: dict[str, Callable[[Stage, Step], AbstractContextManager[None]]] = {
    "broker-kill": _broker_kill,
    "broker-stop": _broker_stop,
    "broker-freeze": _broker_freeze,
    "network-silence": _silence,
    "network-reset": _reset,
    "network-slow": _slow,
    "memory-alarm": _alarm("memory"),
    "disk-alarm": _alarm("disk"),
    "close-connections": _close_connections,
    "delete-queue": _delete_queue,
    "delete-broadcast": _delete_broadcast,
    "kill": _player_kill,
    "freeze": _player_freeze,
}

#: Seconds that a fault may last: shorter and longer than it takes to be noticed.
_SECONDS: dict[str, tuple[float, float]] = {
    "broker-kill": (0.0, 3.0),
    "broker-stop": (0.0, 2.0),
    "broker-freeze": (0.5, 9.0),
    "network-silence": (0.5, 9.0),
    "network-reset": (0.2, 3.0),
    "network-slow": (1.0, 6.0),
    "memory-alarm": (0.5, 4.0),
    "disk-alarm": (0.5, 4.0),
    "kill": (0.0, 2.0),
    "freeze": (0.5, 9.0),
}


@dataclass(frozen=True, slots=True)
class Victims:
    """Whom faults may hit.

    Attributes:
        publishers, subscribers: names of players.
        subscriptions: names of durable ones.
        networks: how many there are.
    """

    publishers: Sequence[str]
    subscribers: Sequence[str]
    subscriptions: Sequence[str]
    networks: int


def draw_schedule(seed: int, victims: Victims, kills: int, others: int) -> list[Step]:
    """Return a schedule; the same for the same arguments.

    Args:
        seed: whatever.
        victims: whom to hit.
        kills: how often the broker is killed with SIGKILL.
        others: how many other faults there are between.
    """
    rng = random.Random(seed)
    kinds = ["broker-kill"] * kills
    rest = [fault for fault in FAULTS if fault != "broker-kill"]
    if not victims.subscriptions:
        rest.remove("delete-queue")
    # Players are killed often: theirs are the most different consequences.
    weights = [4 if fault == "kill" else 1 for fault in rest]
    kinds += rng.choices(rest, weights, k=others)
    rng.shuffle(kinds)
    return [_draw_step(rng, kind, victims) for kind in kinds]


def _draw_step(rng: random.Random, fault: str, victims: Victims, *, depth: int = 0) -> Step:
    also = None
    if depth == 0 and fault not in ("kill", "freeze") and rng.random() < 0.25:
        also = _draw_step(rng, rng.choice(("kill", "kill", "freeze")), victims, depth=1)
    return Step(
        fault,
        _draw_target(rng, fault, victims),
        rng.uniform(*_SECONDS.get(fault, (0.0, 0.5))),
        rng.choice((0.2, 0.5, 1.0, 2.0, 4.0)),
        also,
    )


def _draw_target(rng: random.Random, fault: str, victims: Victims) -> str:
    if fault in ("kill", "freeze"):
        # A publisher that is frozen shows nothing that a slow one does not.
        both = [*victims.subscribers, *(victims.publishers if fault == "kill" else ())]
        return rng.choice(both)
    if fault.startswith("network-"):
        return str(rng.randrange(victims.networks))
    return rng.choice(list(victims.subscriptions)) if fault == "delete-queue" else ""


def carry_out(stage: Stage, step: Step) -> None:
    """Do what *step* says, and let everything be well again."""
    began = time.monotonic()
    with FAULTS[step.fault](stage, step):
        if step.also is not None:
            carry_out(stage, step.also)
        stage.wait(step.seconds)
    stage.note_trouble(step.fault, step.target, began)
    if step.also is None or step.pause_s:
        stage.wait(step.pause_s)
