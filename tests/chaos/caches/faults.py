"""What goes wrong in a play about caches, and when."""

from __future__ import annotations

import contextlib
import random
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from antiphon.storage.file_layout import HIDDEN
from tests.chaos.caches.records import Restore
from tests.chaos.faults import Step as Step

if TYPE_CHECKING:
    from tests.chaos.caches.stage import Stage


Fault = Callable[["Stage", Step], AbstractContextManager[None]]


@contextlib.contextmanager
def _broker_kill(stage: Stage, step: Step) -> Iterator[None]:
    stage.broker.kill()
    yield
    stage.broker.start()
    stage.broker.wait_ready(90)


@contextlib.contextmanager
def _broker_freeze(stage: Stage, step: Step) -> Iterator[None]:
    stage.broker.pause()
    yield
    stage.broker.resume()


def _network(what: str) -> Fault:
    @contextlib.contextmanager
    def fault(stage: Stage, step: Step) -> Iterator[None]:
        network = stage.way_to_redis if step.target == "redis" else None
        network = network or stage.networks[int(step.target)]
        getattr(network, what)()
        yield
        network.heal()

    return fault


@contextlib.contextmanager
def _redis_kill(stage: Stage, step: Step) -> Iterator[None]:
    assert stage.redis is not None
    stage.redis.kill()
    yield
    stage.redis.start()
    stage.redis.wait_ready(30)


@contextlib.contextmanager
def _redis_freeze(stage: Stage, step: Step) -> Iterator[None]:
    assert stage.redis is not None
    stage.redis.pause()
    yield
    stage.redis.resume()


@contextlib.contextmanager
def _kill(stage: Stage, step: Step) -> Iterator[None]:
    actor = stage.actor(step.target)
    actor.kill()
    yield
    actor.start()
    actor.wait_begun()


@contextlib.contextmanager
def _freeze(stage: Stage, step: Step) -> Iterator[None]:
    actor = stage.actor(step.target)
    actor.freeze()
    yield
    actor.thaw()


@contextlib.contextmanager
def _jump(stage: Stage, step: Step) -> Iterator[None]:
    """Let the wall clock be hours off, in one direction and back."""
    actor = stage.actor(step.target)
    hours = random.Random(str(step)).choice((-5, -1, 1, 5))
    actor.ask(f"jump {hours * 3600}", 30)
    yield
    actor.ask("jump 0", 30)


@contextlib.contextmanager
def _truncate(stage: Stage, step: Step) -> Iterator[None]:
    """Take all entries but the newest from the journal, while nobody hears of anything."""
    for network in stage.networks[1:]:
        network.reset()
    stage.wait(step.seconds)
    if step.target == "redis":
        assert stage.redis is not None
        stage.redis.command("XTRIM", "{store}:journal", "MAXLEN", "1")
    else:
        with stage.sql() as store:
            store.execute(
                'DELETE FROM "store.journal" WHERE sequence <'
                ' (SELECT max(sequence) FROM "store.journal")'
            )
    yield
    for network in stage.networks[1:]:
        network.heal()


@contextlib.contextmanager
def _restore(stage: Stage, step: Step) -> Iterator[None]:
    """Make a backup, let the play go on, and put the backup back."""
    back_up, put_back = _BACKUPS[step.target]
    with stage.held(step.target):
        values = stage.values(step.target)
        back_up(stage)
    yield
    with stage.held(step.target):
        began = time.monotonic()
        put_back(stage)
        stage.history.restores.append(Restore(step.target, began, time.monotonic(), values))


def _back_up_sqlite(stage: Stage) -> None:
    with stage.sql() as store, stage.sql("backup.db") as backup:
        store.backup(backup)


def _put_back_sqlite(stage: Stage) -> None:
    with stage.sql() as store, stage.sql("backup.db") as backup:
        backup.backup(store)


def _back_up_redis(stage: Stage) -> None:
    assert stage.redis is not None
    shutil.rmtree(stage.folder / "redis-backup", ignore_errors=True)
    shutil.copytree(stage.redis.folder / "data", stage.folder / "redis-backup")


def _put_back_redis(stage: Stage) -> None:
    assert stage.redis is not None
    stage.redis.kill()
    data = stage.redis.folder / "data"
    shutil.rmtree(data)
    shutil.copytree(stage.folder / "redis-backup", data)
    stage.redis.start()
    stage.redis.wait_ready(30)


def _back_up_files(stage: Stage) -> None:
    """Copy what people see: data and metadata, and nothing of the store's own."""
    backup = stage.folder / "files-backup"
    shutil.rmtree(backup, ignore_errors=True)
    shutil.copytree(stage.folder / "files", backup, ignore=shutil.ignore_patterns(HIDDEN))


def _put_back_files(stage: Stage) -> None:
    """Copy it back over what is there, remove what was not there then, and tell the store."""
    backup, files = stage.folder / "files-backup", stage.folder / "files"
    wanted = {path.relative_to(backup) for path in backup.rglob("*") if path.is_file()}
    for path in wanted:
        fresh = files / HIDDEN / "put-back"
        shutil.copy(backup / path, fresh)
        fresh.replace(files / path)
    for path in [one for one in files.rglob("*") if one.is_file()]:
        name = path.relative_to(files)
        if name.parts[0] != HIDDEN and name not in wanted:
            path.unlink()
    with stage.opened("files") as store:
        store.rescan()


_BACKUPS: dict[str, Any] = {
    "sqlite": (_back_up_sqlite, _put_back_sqlite),
    "redis": (_back_up_redis, _put_back_redis),
    "files": (_back_up_files, _put_back_files),
}

FAULTS: dict[str, Fault] = {
    "broker-kill": _broker_kill,
    "broker-freeze": _broker_freeze,
    "network-silence": _network("silence"),
    "network-reset": _network("reset"),
    "network-slow": _network("slow"),
    "redis-kill": _redis_kill,
    "redis-freeze": _redis_freeze,
    "kill": _kill,
    "freeze": _freeze,
    "clock-jump": _jump,
    "truncate": _truncate,
    "restore": _restore,
}

#: Seconds that a fault may last: shorter and longer than a bound, and than it takes to be noticed.
_SECONDS: dict[str, tuple[float, float]] = {
    "broker-kill": (0.0, 2.0),
    "broker-freeze": (0.5, 6.0),
    "network-silence": (0.5, 8.0),
    "network-reset": (0.2, 3.0),
    "network-slow": (1.0, 4.0),
    "redis-kill": (0.0, 2.0),
    "redis-freeze": (0.5, 4.0),
    "kill": (0.0, 3.0),
    "freeze": (0.5, 5.0),
    "clock-jump": (0.5, 3.0),
    "truncate": (0.2, 1.0),
    "restore": (0.5, 3.0),
}


def draw_schedule(seed: int, stage: Stage, seconds: float) -> list[Step]:
    """Return a schedule of about *seconds*; the same for the same seed and company."""
    rng = random.Random(seed)
    kinds = [kind for kind in FAULTS if stage.redis or not kind.startswith("redis")]
    # Players are killed often: theirs are the most different consequences.
    weights = [3 if kind in ("kill", "freeze", "restore") else 1 for kind in kinds]
    schedule: list[Step] = []
    left = seconds
    while left > 0:
        fault = rng.choices(kinds, weights)[0]
        step = Step(
            fault,
            _target(rng, fault, stage),
            rng.uniform(*_SECONDS[fault]),
            rng.choice((0.1, 0.5, 1.0, 3.0)),
        )
        schedule.append(step)
        left -= step.seconds + step.pause_s + _OVERHEAD_S.get(fault, 0.3)
    return schedule


#: Seconds that a fault takes beside those that it lasts.
_OVERHEAD_S = {"broker-kill": 6.0, "kill": 1.5, "restore": 1.0}


def _target(rng: random.Random, fault: str, stage: Stage) -> str:
    if fault in ("kill", "freeze"):
        return rng.choice([actor.part.name for actor in stage.actors])
    if fault == "clock-jump":
        return rng.choice([actor.part.name for actor in stage.of_role("reader", "keeper")])
    if fault.startswith("network-"):
        return rng.choice(["0", "1", "2", *(["redis"] if stage.redis else [])])
    if fault in ("truncate", "restore"):
        stores = {part.store for part in stage.parts}
        has_files = fault == "restore" and "files" in stores
        return rng.choice(
            ["sqlite", *(["redis"] if stage.redis else []), *(["files"] if has_files else [])]
        )
    return ""


def carry_out(stage: Stage, step: Step) -> None:
    """Do what *step* says, and let everything be well again."""
    began = time.monotonic()
    with FAULTS[step.fault](stage, step):
        stage.wait(step.seconds)
    stage.note_trouble(step.fault, step.target, began)
    stage.wait(step.pause_s)


def only(schedule: Sequence[Step], faults: str) -> list[Step]:
    """Return the steps whose faults are in *faults*, with commas between."""
    return [step for step in schedule if step.fault in faults.split(",")]
