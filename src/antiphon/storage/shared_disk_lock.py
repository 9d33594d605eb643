"""The lock of a store's directory on a disk that several machines share.

It is made of files.  ``flock`` is of no use there: not every file system has
it between machines, and the lock of a machine that went down stays.  The price
is that a holder may lose it: one that keeps it for longer than is allowed is
taken for dead, and may still be alive.  Therefore

1. whoever takes it by force first leaves a note beside it,
2. every holder that finds the note begins a new epoch, in a new log, and only
   then removes the note,
3. a holder asks just before it touches files whether it still has the lock.
   What it does after the answer fails if it lost the lock just then: a new file
   is renamed from where the next holder has taken it, and a file is removed by
   renaming it into a directory (``fence``) that the next holder removes first;
4. one that lost it checks everything before it goes on (DESIGN section 7).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from antiphon.errors import LockError, LockUnavailable, StoreUnavailable
from antiphon.storage import lock_files
from antiphon.storage.directory_lock import mend_in_children
from antiphon.storage.file_errors import mapping
from antiphon.storage.file_lock import FileLock
from antiphon.storage.lock_files import Instance

logger = logging.getLogger(__name__)

#: Seconds between two looks at a lock that another process holds.
_POLL_INTERVAL_S = 0.002

_OPEN = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC

_FENCE = "fence-"

#: What flock() says where it is not supported.
_NO_FLOCK = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS}


class SharedDiskLock:
    """The lock of one directory, for the threads of one store object.

    Args:
        path: the lock is a file of that name with ``.lock`` after it; what
            lies beside it is the store's.
        timeout_s: seconds to wait for other holders.
        force_timeout_s: seconds after which a holder is taken for dead; 0: never.

    Attributes:
        was_lost: whether a holder in this process lost the lock by force, and
            nobody has called ``recovered()`` since.
        epoch: returns the epoch of the store; set once that is known.
    """

    def __init__(self, path: str, timeout_s: float, force_timeout_s: float) -> None:
        self.was_lost = False
        self.epoch: Callable[[], int] | None = None
        self._hidden = os.path.dirname(path)
        self._note = f"{path}.forced"
        self._thread = threading.Lock()
        self._timeout_s = timeout_s
        self._force_timeout_s = force_timeout_s
        self._lock = _NotingLock(path, self._note, timeout_s, force_timeout_s)
        self._holding: Instance | None = None
        self._is_left = False
        self._guard = self._kept_out(path)
        mend_in_children(self)

    def mend_after_fork(self) -> None:
        """Be free in a child: what its parent holds is none of the child's."""
        self._is_left, self._holding = False, None
        if self._thread.locked():
            self._thread = threading.Lock()

    @contextlib.contextmanager
    def held(self) -> Iterator[bool]:
        """Hold the lock; the block gets whether a holder lost it since the last new epoch.

        Raises:
            StoreUnavailable: it was not free in time; or, after the block,
                another took it meanwhile by force.
        """
        if not self._thread.acquire(timeout=self._timeout_s):
            raise self._busy("another thread")
        try:
            self._acquire()
            try:
                yield from self._as_holder()
            except BaseException:
                self._release()
                raise
            if not self._release():
                raise self._lost()
        finally:
            self._thread.release()

    def _as_holder(self) -> Iterator[bool]:
        forced = self.was_lost or self.needs_epoch()
        before = self.epoch() if self.epoch is not None else None
        if forced or self.epoch is None:
            # At the first time, those of processes that were killed.
            self._remove_fences()
        try:
            yield forced
        finally:
            is_begun = self.epoch is not None and self.epoch() != before
            # A note that is there after we lost the lock is for the next holder.
            if forced and is_begun and self._is_held():
                lock_files.remove_if_there(self._note)

    def check(self) -> None:
        """Raise ``StoreUnavailable`` unless the holder still has the lock; call it held."""
        if not self._is_held():
            self.was_lost = True
            raise self._lost()

    @contextlib.contextmanager
    def fence(self) -> Iterator[str]:
        """Give a directory for the block, which goes when another takes the lock by force.

        Renaming a file into it removes the file as long as the lock is held.
        """
        path = os.path.join(self._hidden, f"{_FENCE}{secrets.token_hex(8)}")
        os.mkdir(path)
        try:
            # After it is there: if the answer is yes, the next holder finds it.
            self.check()
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)

    def needs_epoch(self) -> bool:
        """Whether a holder lost the lock by force since the last new epoch."""
        return os.path.exists(self._note)

    def recovered(self) -> None:
        """Take note that everything was checked after a loss."""
        self.was_lost = False

    def close(self) -> None:
        """Let stores that lock otherwise write to the directory."""
        with self._thread:
            with contextlib.suppress(LockError):
                self._give_back_left()
            guard, self._guard = self._guard, -1
            if guard >= 0:
                os.close(guard)

    def _remove_fences(self) -> None:
        for name in os.listdir(self._hidden):
            path = os.path.join(self._hidden, name)
            while name.startswith(_FENCE) and os.path.exists(path):
                # Who lost the lock may be moving a file there at this moment.
                shutil.rmtree(path, ignore_errors=True)

    def _is_held(self) -> bool:
        with mapping(f"cannot see who has the lock {self._lock.full_path}"):
            present = lock_files.look(self._lock.full_path)
        return present is not None and present == self._holding

    def _acquire(self) -> None:
        own = None
        with mapping(f"cannot lock {self._hidden}"):
            self._give_back_left()
            while own is None:
                if not self._lock.acquire():
                    raise self._busy("another process")
                self._is_left = True  # until it is known: a look at it may fail
                # None: it stalled just after it got the lock, and lost it already.
                own = lock_files.look(self._lock.full_path) if self._lock.acquired() else None
        self._is_left = False
        self._holding = own

    def _give_back_left(self) -> None:
        """Give back the lock if that failed the last time, for want of descriptors or of room."""
        if not self._is_left:
            return
        try:
            self._lock.release()
        except LockUnavailable:
            raise
        except LockError:
            pass  # Another has it meanwhile, by force, or nobody.
        self._is_left = False

    def _release(self) -> bool:
        self._holding = None
        try:
            self._lock.release()
        except LockUnavailable as exc:
            # Before it is taken again, or by force by those who wait.
            self._is_left = True
            logger.warning("the lock of a store is given back later: %s", exc)
        except LockError:
            self.was_lost = True
            return False
        return True

    def _kept_out(self, path: str) -> int:
        """Keep stores that use ``flock`` from writing, where that is to be had at all.

        Their lock and ours know nothing of each other.  Ours is shared, so any
        number of stores like this one may be open.
        """
        descriptor = os.open(path, _OPEN, 0o666)
        deadline = time.monotonic() + self._timeout_s
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
                return descriptor
            except OSError as exc:
                if exc.errno in _NO_FLOCK:
                    return descriptor
                if not isinstance(exc, BlockingIOError) or time.monotonic() >= deadline:
                    os.close(descriptor)
                    raise self._busy("a store that locks by flock") from exc
            time.sleep(_POLL_INTERVAL_S)

    def _busy(self, holder: str) -> StoreUnavailable:
        return StoreUnavailable(
            f"{holder} has held the lock {self._lock.full_path} for {self._timeout_s:g} s;"
            " see whether a process that uses the directory hangs or is stopped"
        )

    def _lost(self) -> StoreUnavailable:
        return StoreUnavailable(
            f"another process took the lock {self._lock.full_path} by force, since this one held"
            f" it for more than {self._force_timeout_s:g} s; whether the write happened,"
            " reading tells"
        )


class _NotingLock(FileLock):
    """A lock that leaves a note before it is taken by force."""

    def __init__(self, path: str, note: str, timeout_s: float, force_timeout_s: float) -> None:
        super().__init__(
            path,
            poll_interval=_POLL_INTERVAL_S,
            timeout=timeout_s,
            force_timeout=force_timeout_s,
        )
        self._note = note

    def _before_force(self) -> None:
        # Another process may be the next holder, so that has to find it.
        Path(self._note).touch()
