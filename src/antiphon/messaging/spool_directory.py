"""The directory of a spool: whose it is, who uses it, and how far it is confirmed."""

from __future__ import annotations

import contextlib
import fcntl
import json
import mmap
import os
import socket
import struct
import time
from pathlib import Path

from antiphon.errors import SpoolInUse, SpoolUnusable

#: Format that this version writes and reads.
FORMAT = 1

_ABOUT, _LOCK, _PROGRESS = "spool.json", "lock", "progress"
_number = struct.Struct("=Q")  # of the machine: a spool stays on it


class SpoolDirectory:
    """A directory that is locked for one bus, and made if it is not there.

    The lock goes with the process, however that ends.  How far the events are
    confirmed is kept in a mapped file, so that noting it costs no system call
    and survives the process.

    Args:
        path: of the directory; its parent must exist.
        system: the system of the bus.

    Raises:
        SpoolInUse: another bus has it.
        SpoolUnusable: it cannot be used, or is another system's.
    """

    def __init__(self, path: str | os.PathLike[str], system: str) -> None:
        self.path = Path(path).absolute()
        self._locked: int | None = None
        self._progress: mmap.mmap | None = None
        try:
            self.path.mkdir(mode=0o700, exist_ok=True)
            self._refuse_strangers()
            self._lock()
            self._check(system)
            self._map()
        except OSError as exc:
            self.close()
            if isinstance(exc, SpoolUnusable):
                raise
            raise SpoolUnusable(
                f"the spool {self.path} cannot be used: {exc.strerror or exc}; it must be a "
                "directory that this user may write, on a disk with room"
            ) from exc
        except BaseException:
            self.close()
            raise

    @property
    def confirmed(self) -> int:
        """How many events, from the first on, are confirmed."""
        assert self._progress is not None  # noqa: S101 - closed spools are not asked
        found: int = _number.unpack_from(self._progress)[0]
        return found

    @confirmed.setter
    def confirmed(self, number: int) -> None:
        if self._progress is not None:
            _number.pack_into(self._progress, 0, number)

    def sync(self) -> None:
        """Have the disk know the names of all files."""
        number = os.open(self.path, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)

    def close(self) -> None:
        """Give the lock back; twice is fine."""
        if self._progress is not None:
            self._progress.close()
            self._progress = None
        if self._locked is not None:
            os.close(self._locked)
            self._locked = None

    def _refuse_strangers(self) -> None:
        names = {entry.name for entry in os.scandir(self.path)}
        if names and not names & {_ABOUT, _LOCK}:
            raise SpoolUnusable(
                f"{self.path} holds other things ({min(names)!r} for one) and is no spool; give a "
                "directory of its own"
            )

    def _lock(self) -> None:
        self._locked = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._locked, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            holder = os.read(self._locked, 500).decode(errors="replace") or "an unknown process"
            raise SpoolInUse(
                f"the spool {self.path} is in use by {holder}; each bus needs a directory of its "
                "own"
            ) from exc
        since = time.strftime("%Y-%m-%d %H:%M:%S %z")
        text = f"process {os.getpid()} on {socket.gethostname()}, since {since}"
        os.ftruncate(self._locked, 0)
        with contextlib.suppress(OSError):  # a full disk: who asks then learns no name
            os.pwrite(self._locked, text.encode(), 0)

    def _check(self, system: str) -> None:
        about = self.path / _ABOUT
        if not about.exists():
            # Renamed: half a file would make the directory useless.
            aside = about.with_suffix(".new")
            aside.write_text(json.dumps({"format": FORMAT, "system": system}))
            aside.rename(about)
        try:
            found = json.loads(about.read_text())
            form, owner = found["format"], found["system"]
        except (ValueError, KeyError, TypeError) as exc:
            raise SpoolUnusable(
                f"{about} tells nothing of a spool ({exc!r}); give another directory"
            ) from exc
        if form != FORMAT:
            raise SpoolUnusable(
                f"the spool {self.path} has format {form!r}, and this version reads {FORMAT}; "
                "empty it with the version that wrote it, or give another directory"
            )
        if owner != system:
            raise SpoolUnusable(
                f"the spool {self.path} is of system {owner!r}, not {system!r}; give another "
                "directory"
            )

    def _map(self) -> None:
        number = os.open(self.path / _PROGRESS, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if os.fstat(number).st_size != _number.size:
                # Written and not just made longer: a hole would be a fatal signal on a full disk.
                os.ftruncate(number, 0)
                os.pwrite(number, _number.pack(0), 0)
            self._progress = mmap.mmap(number, _number.size)
        finally:
            os.close(number)
