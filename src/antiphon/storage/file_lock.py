"""Advisory locks made of files, for processes that share a disk, NFS included.

An exclusive lock is the file ``<name>.lock``; a shared one is a directory of
that name with a file for each holder, as in Encore, whose processes may use the
same locks.  A lock belongs to a ``FileLock`` object, not to a thread or process.

What keeps two from holding a lock at once is in ``lock_files``.  It holds
unless a lock is broken by force: then the process that had it does not know,
and has to ask ``acquired()`` before it relies on it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import random
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Self

from antiphon.errors import LockError, LockTimeout, LockUnavailable
from antiphon.storage import lock_files
from antiphon.storage.lock_files import Instance
from antiphon.storage.lock_holder import host, identity, is_dead, user

__all__ = ["FileLock", "LockError", "SharedFileLock"]


class _FileLockBase:
    """What both kinds of lock share."""

    def __init__(
        self,
        name: str,
        dir: str | os.PathLike[str] | None,
        poll_interval: float,
        timeout: float,
        force_timeout: float,
        uid: object,
    ) -> None:
        self.name = name
        self.poll_interval = poll_interval
        self.timeout = timeout
        self.force_timeout = force_timeout
        # Not id(self): the next object at that address would be taken for this one.
        self.uid = secrets.randbits(62) if uid is None else uid
        path = f"{name}.lock" if dir is None else os.path.join(dir, name.lstrip("/\\") + ".lock")
        self._path = path
        self._dir = os.path.dirname(path) or os.curdir
        self._identity: tuple[int, bytes] | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._path!r})"

    def acquire(self) -> bool:
        """Take the lock; return False if it was not free within ``timeout`` seconds.

        Raises:
            LockUnavailable: its directory is not there or cannot be written;
                the lock is not held.
        """
        with self._told():
            return self._poll(self._try)

    def __enter__(self) -> Self:
        if not self.acquire():
            raise LockTimeout(f"{self!r} was not free within {self.timeout} s; it is not held")
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        exc_traceback: TracebackType | None,
    ) -> None:
        self.release()

    def release(self) -> None:
        """Give the lock back.

        Raises:
            LockError: it is not held, or another process broke it by force;
                whoever has it now keeps it.
        """
        raise NotImplementedError

    def _try(self) -> bool:
        """Take the lock if it is free."""
        raise NotImplementedError

    def _blockers(self) -> Sequence[Instance]:
        """Return who has to go before the lock is free."""
        raise NotImplementedError

    def _own_data(self) -> bytes:
        """Return what this lock's file says in this process: after a fork that is another."""
        pid = os.getpid()
        if self._identity is None or self._identity[0] != pid:
            self._identity = pid, identity(self.uid)
        return self._identity[1]

    def _poll(self, attempt: Callable[[], bool]) -> bool:
        """Repeat *attempt* until it succeeds; see to those who are in the way."""
        began = time.monotonic()
        seen: dict[str, float] = {}
        while not attempt():
            now = time.monotonic()
            present = self._blockers()
            seen = {each.token: seen.get(each.token, now) for each in present}
            dead = [each for each in present if is_dead(each.data)]
            # By how long this one has held it: a lock that passes from hand to hand is in use.
            late = [
                each
                for each in present
                if 0 < self.force_timeout < now - seen[each.token] and each not in dead
            ]
            if late:
                self._before_force()
            if dead or late:
                self._remove(dead + late)
            elif 0 < self.timeout < now - began:
                return False
            else:
                # Not all at the same time.  Nobody there: it was given back just now.
                pause_s = self.poll_interval if present else self.poll_interval / 10
                time.sleep(pause_s * random.uniform(0.5, 1.5))  # noqa: S311
        return True

    def _before_force(self) -> None:
        """Called before the lock is taken from a holder that may be alive."""

    def _remove(self, blockers: Sequence[Instance]) -> bool:
        claim_max_s = self.force_timeout if self.force_timeout > 0 else lock_files.CLAIM_MAX_S
        removed = [lock_files.take_away(each, self._dir, claim_max_s) for each in blockers]
        lock_files.sweep(self._dir)
        if not any(removed):
            time.sleep(self.poll_interval)  # Another process is at it.
        return any(removed)

    def _give_back(self, instance: Instance | None, data: bytes) -> None:
        if instance is None:
            raise LockError(f"{self!r} is released, and nobody holds it")
        if instance.data != data:
            raise LockError(f"{self!r} is released, and another holds it")
        if not lock_files.give_back(instance, self._dir):
            raise LockError(f"{self!r} was broken by force just before its release")

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as exc:
            if isinstance(exc, LockError):
                raise
            raise LockUnavailable(
                exc.errno, f"{self!r} cannot be used: {exc.strerror or exc}", exc.filename
            ) from exc


class FileLock(_FileLockBase):
    """An exclusive lock: one holder, and none of a ``SharedFileLock`` of the same name.

    Attributes:
        full_path: the lock's file.
        poll_interval, timeout, force_timeout: seconds, as given; may be changed.
    """

    def __init__(
        self,
        name: str,
        dir: str | os.PathLike[str] | None = None,
        poll_interval: float = 1e-2,
        timeout: float = 0,
        force_timeout: float = 0,
        uid: object = None,
        data: bytes | None = None,
    ) -> None:
        """Describe a lock; take nothing yet.

        Args:
            name: the lock's file, without ``.lock``.
            dir: where it lies; None if *name* says that.
            poll_interval: seconds between two looks at a lock that is not free.
            timeout: seconds after which ``acquire()`` and ``wait()`` give up; 0: never.
            force_timeout: seconds that one holder may keep the lock from this
                one before it is broken by force; 0: for ever.  The lock of a
                process of this machine that has ended is taken at once.
            uid: locks with the same one count as the same lock within the
                process; None for one of its own.
            data: what the file says; None for host, process, user and *uid*.
                With *data* nobody can see whether the holder has died.
        """
        super().__init__(name, dir, poll_interval, timeout, force_timeout, uid)
        self.full_path = self._path
        self._given = data

    @property
    def _data(self) -> bytes:
        return self._own_data() if self._given is None else self._given

    def release(self) -> None:
        with self._told():
            self._give_back(lock_files.look(self.full_path), self._data)

    release.__doc__ = _FileLockBase.release.__doc__

    def locked(self) -> bool:
        """Whether anybody holds the lock, exclusively or shared."""
        return bool(self._blockers())

    def acquired(self) -> bool:
        """Whether this lock holds it: nobody has broken it by force."""
        return self.get_data() == self._data

    def force_break(self) -> bool:
        """Take the lock from whoever holds or shares it; return whether anybody did."""
        with self._told():
            return self._remove(self._blockers())

    def wait(self) -> bool:
        """Return True when nobody holds the lock, False if ``timeout`` is over before.

        Others may take it before this returns.
        """
        with self._told():
            return self._poll(lambda: not self._blockers())

    def get_data(self) -> bytes | None:
        """Return what the holder wrote into the lock; None if nobody holds it exclusively."""
        instance = lock_files.look(self.full_path)
        return None if instance is None else instance.data

    def _try(self) -> bool:
        # A look costs less than an attempt, and most attempts of those who wait fail.
        if lock_files.look(self.full_path) is not None:
            return False
        if lock_files.make(self.full_path, self._data, self._dir):
            return True
        # A directory that nobody is in is only in the way.
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            try:
                os.rmdir(self.full_path)
            except OSError as exc:
                if exc.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
        return False

    def _blockers(self) -> Sequence[Instance]:
        holder = lock_files.look(self.full_path)
        return lock_files.look_into(self.full_path) if holder is None else [holder]


class SharedFileLock(_FileLockBase):
    """A shared lock: any number of holders, or one of a ``FileLock`` of the same name.

    One object may take it several times, and has to give it back as often.
    Who waits for the exclusive lock gets it when nobody shares it: readers
    that never pause keep writers out.

    Attributes:
        dir_path: the lock's directory.
        full_path: the file of this holder in it.
        poll_interval, timeout, force_timeout: seconds, as given; may be changed.
    """

    def __init__(
        self,
        name: str,
        dir: str | os.PathLike[str] | None = None,
        poll_interval: float = 1e-2,
        timeout: float = 0,
        force_timeout: float = 0,
        uid: object = None,
    ) -> None:
        """Describe a lock; take nothing yet.  For the arguments see ``FileLock``."""
        super().__init__(name, dir, poll_interval, timeout, force_timeout, uid)
        self.dir_path = self._path
        self._level = 0

    @property
    def file_name(self) -> str:
        """Name of this holder's file."""
        return f"{host()}__{os.getpid()}__{user()}__{self.uid}.lock".replace(os.sep, "_")

    @property
    def full_path(self) -> str:
        """Path of this holder's file."""
        return os.path.join(self.dir_path, self.file_name)

    def acquire(self) -> bool:
        if self._level == 0 and not super().acquire():
            return False
        self._level += 1
        return True

    acquire.__doc__ = _FileLockBase.acquire.__doc__

    def release(self) -> None:
        if self._level == 0:
            raise LockError(f"{self!r} is released, and not held")
        self._level -= 1
        if self._level > 0:
            return
        with self._told():
            self._give_back(lock_files.look(self.full_path), self._own_data())
            with contextlib.suppress(OSError):  # Others share it, or have it already.
                os.rmdir(self.dir_path)

    release.__doc__ = _FileLockBase.release.__doc__

    def locked(self) -> bool:
        """Whether anybody holds the lock exclusively."""
        return lock_files.look(self.dir_path) is not None

    def acquired(self) -> bool:
        """Whether this lock shares it: nobody has broken it by force."""
        own = lock_files.look(self.full_path)
        return own is not None and own.data == self._own_data()

    def force_break(self) -> bool:
        """Take the lock from whoever holds it exclusively; return whether anybody did."""
        with self._told():
            holder = lock_files.look(self.dir_path)
            return holder is not None and self._remove([holder])

    def _try(self) -> bool:
        try:
            return lock_files.make(self.full_path, self._own_data(), self._dir)
        except NotADirectoryError:
            return False
        except FileNotFoundError:
            # A missing parent is told by mkdir(); a lock that is there by the next attempt.
            with contextlib.suppress(FileExistsError):
                os.mkdir(self.dir_path)
        # At once: a lock that is free is had however short the timeout is.
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            return lock_files.make(self.full_path, self._own_data(), self._dir)
        return False

    def _blockers(self) -> Sequence[Instance]:
        holders = [lock_files.look(self.dir_path), lock_files.look(self.full_path)]
        return [holder for holder in holders if holder is not None]
