"""The lock of a directory: one thread of one process at a time."""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import threading
import time
import weakref
from collections.abc import Iterator
from typing import Protocol

from antiphon.errors import StoreUnavailable
from antiphon.storage.file_errors import mapping

#: Seconds to wait for the lock unless the store was told otherwise.
LOCK_TIMEOUT_S = 30.0

#: Seconds between two attempts, at first and at most.
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.0001, 0.005


class DirectoryLock:
    """An exclusive lock by ``flock`` on one file, for threads and processes.

    The kernel lets go of it when its process ends, however it ends.

    Args:
        path: the file; made if it is not there.
        timeout_s: seconds to wait for another holder.
    """

    def __init__(self, path: str, timeout_s: float = LOCK_TIMEOUT_S) -> None:
        self.path = path
        self.timeout_s = timeout_s
        self._thread = threading.Lock()
        self._fd = self._opened()
        self._pid = os.getpid()
        mend_in_children(self)

    def mend_after_fork(self) -> None:
        """Be free in a child: a thread that held it is none of the child's."""
        if self._thread.locked():
            self._thread = threading.Lock()

    @contextlib.contextmanager
    def held(self) -> Iterator[bool]:
        """Hold the lock for a ``with`` block; it gives False: nobody lost it by force.

        Raises:
            StoreUnavailable: another one held it all the time.
        """
        deadline = time.monotonic() + self.timeout_s
        if not self._thread.acquire(timeout=self.timeout_s):
            raise self._busy("another thread")
        try:
            with mapping(f"cannot lock {self.path}"):
                if self._fd >= 0 and self._pid != os.getpid():
                    # What was opened before a fork is one lock for parent and child.
                    shared, self._fd = self._fd, self._opened()
                    self._pid = os.getpid()
                    os.close(shared)
                self._lock(deadline)
            try:
                yield False
            finally:
                fcntl.flock(self._fd, fcntl.LOCK_UN)
        finally:
            self._thread.release()

    def close(self) -> None:
        """Let go of the file; waits for a holder in this process."""
        with self._thread:
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1

    def _opened(self) -> int:
        return os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)

    def _lock(self, deadline: float) -> None:
        if self._fd < 0:
            raise StoreUnavailable(f"the store of {self.path} was closed meanwhile")
        pause = _FIRST_PAUSE_S
        while True:
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._check_place()
                return
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise self._busy("another process") from None
            # Waiting in the kernel would be fairer, but could not be given up.
            time.sleep(random.uniform(pause / 2, pause))  # noqa: S311 - no secret
            pause = min(2 * pause, _LONGEST_PAUSE_S)

    def _check_place(self) -> None:
        """Raise if whoever comes next would lock another file."""
        if not is_at(self._fd, self.path):
            fcntl.flock(self._fd, fcntl.LOCK_UN)
            raise StoreUnavailable(
                f"{self.path} was removed or replaced, or its directory was; disconnect, and"
                " connect again"
            )

    def _busy(self, holder: str) -> StoreUnavailable:
        return StoreUnavailable(
            f"{holder} has held the lock {self.path} for {self.timeout_s:g} s; see whether a"
            " process that uses the directory hangs or is stopped"
        )


def is_at(fd: int, path: str) -> bool:
    """Return whether the open file *fd* is the one at *path* still."""
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path))
    except (FileNotFoundError, NotADirectoryError):
        return False


class Mendable(Protocol):
    """What a thread of the parent may have had in hand when it forked."""

    def mend_after_fork(self) -> None:
        """Be of use in a child that has only one thread."""


_mendables: weakref.WeakSet[Mendable] = weakref.WeakSet()


def mend_in_children(mendable: Mendable) -> None:
    """Have ``mend_after_fork`` called in each child of this process, as long as it lives."""
    _mendables.add(mendable)


def _mend_all() -> None:
    for mendable in list(_mendables):
        mendable.mend_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_mend_all)
