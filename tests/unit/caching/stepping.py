"""Runs actors step by step, in every order: threads that hand a baton to each other.

An actor is a function in a thread of its own that calls ``step`` wherever others
may come between.  Only one thread runs at any time, so a run is the order in which
the actors were given their turns, and can be repeated.  Locks are part of the
scene (``Threading`` stands in for the module): who waits for one has no turn.

``explore`` tries all orders.  Where two orders have led to the same state, what
follows is the same, and is tried once: the state is what ``digest`` returns, and
what each actor has been told so far.
"""

from __future__ import annotations

import hashlib
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

#: Seconds after which a run is taken to hang.
_HANG_S = 30.0


class Abandoned(BaseException):
    """The run is over for this actor: its order is not followed any further."""


class Deadlock(AssertionError):
    """Every actor waits for a lock of another one."""


def _taken_lock() -> Any:
    """Return a baton that nobody has been given yet."""
    lock = threading.Lock()
    lock.acquire()
    return lock


class _Actor:
    """One thread, and whether it may have a turn."""

    def __init__(self, number: int, name: str, run: Callable[[], None], stage: Stage) -> None:
        self.number, self.name = number, name
        self.told = b""
        self.at = "begin"
        self.is_done = False
        self.error: BaseException | None = None
        self.waits: Callable[[], bool] | None = None
        self.is_timed = False
        self.baton = _taken_lock()
        self._run, self._stage = run, stage
        self.thread = threading.Thread(target=self._play, name=name, daemon=True)
        self.thread.start()

    def _play(self) -> None:
        self.baton.acquire()
        try:
            if not self._stage.is_over:
                self._run()
        except Abandoned:
            pass
        except BaseException as exc:  # told to whoever conducts
            self.error = exc
        self.is_done = True
        self.forget()
        self._stage.pass_on(self)

    def hear(self, what: object) -> None:
        self.told = hashlib.blake2b(self.told + repr(what).encode(), digest_size=16).digest()

    def forget(self) -> None:
        """What was told has no bearing on what comes."""
        self.told = b""

    def can_run(self) -> bool:
        return not self.is_done and (self.waits is None or self.waits())


class Stage:
    """One run."""

    def __init__(self) -> None:
        self.actors: list[_Actor] = []
        self.baton = _taken_lock()
        self.is_over = False
        self.log: list[str] = []
        self._current: _Actor | None = None
        self._plan: deque[int] = deque()

    def add(self, name: str, run: Callable[[], None]) -> None:
        """Let *run* take part, under *name*."""
        self.actors.append(_Actor(len(self.actors), name, run, self))

    @property
    def current(self) -> _Actor | None:
        """The actor whose turn it is, if the calling thread is one."""
        actor = self._current
        return actor if actor and actor.thread is threading.current_thread() else None

    # -- For actors ----------------------------------------------------------

    def step(self, label: str) -> None:
        """Let others come between, before *label* happens."""
        actor = self.current
        if actor is None:
            return  # the conductor looks at something
        actor.at = label
        self._hand_over(actor)

    def tell(self, what: object) -> None:
        """Note what the acting thread was told: what it does next depends on nothing else."""
        if (actor := self.current) is not None:
            actor.hear(what)

    def forget(self) -> None:
        """Begin with something that depends on nothing that the actor did before."""
        if (actor := self.current) is not None:
            actor.forget()

    def wait_until(self, is_ready: Callable[[], bool], *, is_timed: bool = False) -> None:
        """Have no turn until *is_ready*; *is_timed*: or until nobody else has one."""
        actor = self.current
        if actor is None:
            assert is_timed or is_ready(), "the conductor cannot wait"
            return
        actor.waits, actor.is_timed = is_ready, is_timed
        self._hand_over(actor)
        actor.waits = None

    def _hand_over(self, actor: _Actor) -> None:
        if self.is_over:
            raise Abandoned
        if self.pass_on(actor):
            return
        actor.baton.acquire()
        if self.is_over:
            raise Abandoned

    def pass_on(self, actor: _Actor) -> bool:
        """Give the turn to the next of the plan, or to the conductor; whether it is *actor*."""
        if not self._plan or actor.error is not None:
            self.baton.release()
            return False
        following = self.actors[self._plan.popleft()]
        self._current = following
        if following is actor:
            return True
        following.baton.release()
        return False

    # -- For the conductor ---------------------------------------------------

    def runnable(self) -> list[_Actor]:
        """Return who may have the next turn.

        Raises:
            Deadlock: somebody is not done, and nobody may.
        """
        able = [actor for actor in self.actors if actor.can_run()]
        if not able:
            # Nothing happens any more, but for time.
            able = [actor for actor in self.actors if not actor.is_done and actor.is_timed]
        if not able and not all(actor.is_done for actor in self.actors):
            raise Deadlock(f"nobody can go on after {self.log}")
        return able

    def follow(self, turns: Sequence[int]) -> None:
        """Let the actors of these numbers have their turns; all of it was seen before."""
        if turns:
            self.log = [f"actor {turn}" for turn in turns]
            self._plan = deque(turns[1:])
            self.turn(self.actors[turns[0]])

    def turn(self, actor: _Actor) -> None:
        """Let *actor* go on until it hands over."""
        self.log.append(f"{actor.name}: {actor.at}")
        self._current = actor
        actor.baton.release()
        assert self.baton.acquire(timeout=_HANG_S), f"{actor.name} hangs at {actor.at}"
        self._current = None
        if actor.error is not None:
            raise actor.error

    def end(self) -> None:
        """Have all threads end."""
        self.is_over = True
        for actor in self.actors:
            while not actor.is_done:
                actor.baton.release()
                assert self.baton.acquire(timeout=_HANG_S), f"{actor.name} does not end"
            actor.thread.join()


# -- All orders ----------------------------------------------------------------


class Scene:
    """What ``explore`` runs: made anew for each order."""

    stage: Stage

    def digest(self) -> str:
        """Return the whole state, but for what the actors themselves remember."""
        raise NotImplementedError

    def shared(self, name: str) -> str:
        """Return what actor *name* reads without a step: the memory of the code under test."""
        raise NotImplementedError

    def check(self) -> None:
        """Assert what holds at every moment."""

    def finish(self) -> None:
        """Assert what holds in the end, when no actor has anything left to do."""

    def close(self) -> None:
        """Leave nothing behind."""
        self.stage.end()


class Violation(AssertionError):
    """An invariant does not hold; the text has the order that leads there."""


@dataclass(slots=True)
class Explored:
    """What was tried.

    Attributes:
        orders: runs, complete or until a state that was known.
        states: different states that were met.
        ends: runs that came to their end.
    """

    orders: int = 0
    states: int = 0
    ends: int = 0
    _known: set[bytes] = field(default_factory=set, repr=False)

    def is_new(self, state: bytes) -> bool:
        """Note *state*; whether it was not met before."""
        if state in self._known:
            return False
        self._known.add(state)
        self.states = len(self._known)
        return True


def explore(make: Callable[[], Scene], *, at_most: int = 200_000) -> Explored:
    """Run the scene in every order.

    Raises:
        Violation: an invariant is broken in one of them.
    """
    explored = Explored()
    # The first order, and for each state the other turns that could be taken there.
    left = [_Begin((), ())]
    while left:
        begin = left.pop()
        explored.orders += 1
        assert explored.orders <= at_most, f"more than {at_most} orders"
        left += _run(make(), begin, explored)
    return explored


@dataclass(frozen=True, slots=True)
class _Begin:
    """The first turns of an order, and what each actor has been told before the last of them."""

    turns: tuple[int, ...]
    told: tuple[bytes, ...]


def _run(scene: Scene, begin: _Begin, explored: Explored) -> list[_Begin]:
    """Take the turns of *begin*, then the first one each; return the others that were possible."""
    others: list[_Begin] = []
    turns = begin.turns[:-1]
    stage = scene.stage
    try:
        stage.follow(turns)
        for actor, told in zip(stage.actors, begin.told, strict=False):
            actor.told = told
        for turn in begin.turns[-1:]:
            take(scene, stage.actors[turn])
            turns = begin.turns
        while able := stage.runnable():
            if not explored.is_new(_state(scene)):
                return others
            told = tuple(actor.told for actor in stage.actors)
            others += [_Begin((*turns, other.number), told) for other in able[1:]]
            take(scene, able[0])
            turns = (*turns, able[0].number)
        explored.ends += 1
        finish(scene)
    finally:
        scene.close()
    return others


def take(scene: Scene, actor: _Actor) -> None:
    """Give *actor* its turn, and check.

    Raises:
        Violation: an invariant is broken by it.
    """
    # What it reads without a step counts as told.
    actor.hear(scene.shared(actor.name))
    _checked(scene, lambda: scene.stage.turn(actor))
    _checked(scene, scene.check)


def finish(scene: Scene) -> None:
    """Check the end of a run that was conducted by ``take``."""
    _checked(scene, scene.finish)


def _checked(scene: Scene, check: Callable[[], None]) -> None:
    try:
        check()
    except AssertionError as exc:
        order = "\n  ".join(scene.stage.log)
        raise Violation(f"{exc}\nafter\n  {order}") from exc


def _state(scene: Scene) -> bytes:
    told = [
        (actor.name, actor.at, actor.is_done, actor.waits is None, actor.told)
        for actor in scene.stage.actors
    ]
    return hashlib.blake2b(f"{told}{scene.digest()}".encode(), digest_size=16).digest()
