"""What stands in for the module ``threading`` where threads are stepped through."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any

from stepping import Stage


class _Lock:
    def __init__(self, stage: Stage, *, is_reentrant: bool = False) -> None:
        self._stage = stage
        self._is_reentrant = is_reentrant
        self._owner: object = None
        self._count = 0

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        me = self._stage.current or "conductor"
        if self._is_reentrant and self._owner is me:
            self._count += 1
            return True
        if self._owner is not None:
            if not blocking:
                return False
            self._stage.wait_until(lambda: self._owner is None, is_timed=timeout >= 0)
            if self._owner is not None:
                return False
        self._owner, self._count = me, 1
        return True

    def release(self) -> None:
        self._count -= 1
        if not self._count:
            self._owner = None

    def locked(self) -> bool:
        return self._owner is not None

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


class _Condition:
    def __init__(self, stage: Stage, lock: _Lock | None = None) -> None:
        self._stage = stage
        self._lock = lock if lock is not None else _Lock(stage, is_reentrant=True)
        self._told: set[int] = set()
        self._waiting: list[int] = []
        self._next = 0
        self.acquire, self.release = self._lock.acquire, self._lock.release

    def __enter__(self) -> bool:
        return self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def wait(self, timeout: float | None = None) -> bool:
        self._next += 1
        mine = self._next
        self._waiting.append(mine)
        owner, count = self._lock._owner, self._lock._count
        self._lock._owner, self._lock._count = None, 0
        try:
            self._stage.wait_until(lambda: mine in self._told, is_timed=timeout is not None)
        finally:
            was_told = mine in self._told
            self._waiting.remove(mine)
            if not self._stage.is_over:
                self._lock.acquire()
                self._lock._owner, self._lock._count = owner, count
        self._stage.tell(was_told)
        return was_told

    def wait_for(self, predicate: Callable[[], Any], timeout: float | None = None) -> Any:
        while not (answer := predicate()):
            if not self.wait(timeout):
                return predicate()
        return answer

    def notify(self, n: int = 1) -> None:
        self._told.update(self._waiting[:n])

    def notify_all(self) -> None:
        self._told.update(self._waiting)


class _Event:
    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._is_set = False

    def set(self) -> None:
        self._is_set = True

    def clear(self) -> None:
        self._is_set = False

    def is_set(self) -> bool:
        return self._is_set

    def wait(self, timeout: float | None = None) -> bool:
        if not self._is_set:
            self._stage.wait_until(self.is_set, is_timed=timeout is not None)
        self._stage.tell(self._is_set)
        return self._is_set


class _Thread:
    """A thread that the code under test starts: one more actor."""

    def __init__(
        self,
        group: None = None,
        target: Callable[..., object] = lambda: None,
        name: str = "thread",
        args: Iterable[Any] = (),
        kwargs: dict[str, Any] | None = None,
        *,
        daemon: bool | None = None,
        stage: Stage,
    ) -> None:
        self._stage, self.name, self.daemon = stage, name, daemon
        self._run = lambda: target(*args, **(kwargs or {}))
        self.ident: int | None = None

    def start(self) -> None:
        self.ident = len(self._stage.actors)
        self._stage.add(f"{self.name}-{self.ident}", lambda: self._run() and None)

    def is_alive(self) -> bool:
        return self.ident is not None and not self._stage.actors[self.ident].is_done

    def join(self, timeout: float | None = None) -> None:
        self._stage.wait_until(lambda: not self.is_alive(), is_timed=timeout is not None)


class Threading:
    """Stands in for the module ``threading`` in the code under test."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def Lock(self) -> _Lock:
        return _Lock(self._stage)

    def RLock(self) -> _Lock:
        return _Lock(self._stage, is_reentrant=True)

    def Condition(self, lock: _Lock | None = None) -> _Condition:
        return _Condition(self._stage, lock)

    def Event(self) -> _Event:
        return _Event(self._stage)

    def Thread(self, *args: Any, **kwargs: Any) -> _Thread:
        return _Thread(*args, **kwargs, stage=self._stage)

    def __getattr__(self, name: str) -> Any:
        return getattr(threading, name)
