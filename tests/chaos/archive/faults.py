"""What goes wrong in a play about an archive, and when."""

from __future__ import annotations

import contextlib
import random
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from tests.chaos.faults import FAULTS as OF_MESSAGES
from tests.chaos.faults import Step

if TYPE_CHECKING:
    from tests.chaos.archive.stage import ArchiveStage

Fault = Callable[[Any, Step], AbstractContextManager[None]]


@contextlib.contextmanager
def _lock(stage: ArchiveStage, step: Step) -> Iterator[None]:
    """Hold the lock of who writes."""
    with stage.sql(timeout_s=60.0) as archive:
        archive.execute("BEGIN IMMEDIATE")
        yield
        archive.execute("ROLLBACK")


@contextlib.contextmanager
def _fill_disk(stage: ArchiveStage, step: Step) -> Iterator[None]:
    """Leave some kilobytes of room, or none."""
    left = random.Random(str(step)).choice((0, 4096, 60_000, 300_000))
    if stage.disk.is_real:
        with stage.disk.full(left):
            yield
        return
    largest = max(path.stat().st_size for path in stage.disk.folder.iterdir())
    pids = [one.pid for one in stage.of_role("recorder")]
    before = [resource.prlimit(pid, resource.RLIMIT_FSIZE) for pid in pids]
    for pid, (_, hard) in zip(pids, before, strict=True):
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (largest + left, hard))
    yield
    for pid, limits in zip(pids, before, strict=True):
        with contextlib.suppress(ProcessLookupError):  # killed meanwhile
            resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)


FAULTS: dict[str, Fault] = {
    **{
        name: OF_MESSAGES[name]
        for name in (
            *("broker-kill", "broker-stop", "broker-freeze", "close-connections"),
            *("network-silence", "network-reset", "network-slow", "kill", "freeze"),
        )
    },
    "archive-lock": _lock,
    "disk-full": _fill_disk,
}

#: Seconds that a fault may last: shorter and longer than it takes to be noticed.
_SECONDS: dict[str, tuple[float, float]] = {
    "broker-kill": (0.0, 2.0),
    "broker-freeze": (0.5, 8.0),
    "broker-stop": (0.0, 1.0),
    "network-silence": (0.5, 9.0),
    "network-reset": (0.2, 3.0),
    "network-slow": (1.0, 5.0),
    "close-connections": (0.0, 0.5),
    "kill": (0.0, 2.0),
    "freeze": (0.5, 8.0),
    "archive-lock": (0.2, 6.0),
    "disk-full": (0.2, 6.0),
}

#: How often faults are drawn; others once.
_WEIGHTS = {"kill": 7, "freeze": 3, "broker-kill": 2, "archive-lock": 2, "disk-full": 2}

#: Seconds that a fault takes beside those that it lasts.
_OVERHEAD_S = {"broker-kill": 5.0, "broker-stop": 2.0, "kill": 1.0}

#: How often players are hit: what is written is in recorders.
_SHARES = {"recorder": 4, "publisher": 1, "tail": 1, "replayer": 1, "subscriber": 1}


def draw_schedule(
    seed: int, stage: ArchiveStage, seconds: float, faults: Sequence[str] = tuple(FAULTS)
) -> list[Step]:
    """Return a schedule of about *seconds* of some faults; the same for the same arguments."""
    rng = random.Random(seed)
    weights = [_WEIGHTS.get(name, 1) for name in faults]
    schedule: list[Step] = []
    while seconds > 0:
        step = _draw(rng, rng.choices(faults, weights)[0], stage)
        schedule.append(step)
        both = [step, *([step.also] if step.also else [])]
        seconds -= sum(one.seconds + _OVERHEAD_S.get(one.fault, 0.3) for one in both)
        seconds -= step.pause_s
    return schedule


def _draw(rng: random.Random, fault: str, stage: ArchiveStage, *, depth: int = 0) -> Step:
    also = None
    target = ""
    if depth == 0 and fault not in ("kill", "freeze") and rng.random() < 0.35:
        also = _draw(rng, rng.choice(("kill", "kill", "freeze")), stage, depth=1)
    if fault in ("kill", "freeze"):
        parts = [one.part for one in stage.players]
        target = rng.choices(parts, [_SHARES[part.role] for part in parts])[0].name
    elif fault.startswith("network-"):
        target = str(rng.randrange(len(stage.networks)))
    seconds = rng.uniform(*_SECONDS[fault])
    return Step(fault, target, seconds, rng.choice((0.1, 0.5, 1.0, 3.0)), also)


def carry_out(stage: ArchiveStage, step: Step) -> None:
    """Do what *step* says, and let everything be well again."""
    began = time.monotonic()
    with FAULTS[step.fault](stage, step):
        if step.also is not None:
            carry_out(stage, step.also)
        stage.wait(step.seconds)
    stage.note_trouble(step.fault, step.target, began)
    stage.wait(step.pause_s)
