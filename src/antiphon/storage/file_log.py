"""The log of a file store: what was decided, before the files say so.

``log-<n>`` begins with a line of text and a salt; records follow.  The file
``mark`` says how far the log counts: generation and offset.  A commit is
appended and synced, then its files are renamed, and last the mark moves, so
whoever reads the log up to the mark finds files that are in place.
"""

from __future__ import annotations

import contextlib
import errno
import os
import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from antiphon.errors import IncompatibleStore, StoreUnavailable
from antiphon.storage.directory_lock import is_at
from antiphon.storage.file_record import (
    FRAME_BYTES,
    MAX_RECORD_BYTES,
    START_ANEW,
    Kind,
    frame,
    is_whole,
    seed_of,
    unframe,
)

_MAGIC = b"Antiphon log, format 1\n"
_SALT = struct.Struct("<I")

#: Offset of a log's first record.
LOG_START = len(_MAGIC) + _SALT.size

_MARK = struct.Struct("<QQ")
_CHECK = struct.Struct("<I")
_MARK_BYTES = _MARK.size + _CHECK.size

_HAS_DATA_SYNC = hasattr(os, "fdatasync")


class Mark(NamedTuple):
    """A place in the log: everything before it is committed, and in the files."""

    generation: int
    offset: int


class Found(NamedTuple):
    """A whole record; *end* is the offset after it."""

    kind: int
    body: bytes
    end: int


class MarkFile:
    """The mark, written and read in place: one system call each.

    Args:
        path: the file; made if it is not there.
        on_network: whether other machines see what is written only once it is synced.
    """

    def __init__(self, path: str, *, on_network: bool = False) -> None:
        self._path = path
        self._on_network = on_network
        self._fd = self._opened()

    def _opened(self) -> int:
        return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)

    def reopen(self) -> None:
        """Open it anew: only then a network disk promises what other machines wrote."""
        _replace_descriptor(self._fd, self._opened())

    def check_place(self) -> None:
        """Raise ``StoreUnavailable`` if the directory was removed, or is another now."""
        if not is_at(self._fd, self._path):
            raise StoreUnavailable(
                f"{self._path} was removed or replaced, or its directory was; disconnect, and"
                " connect again"
            )

    def raw(self) -> bytes:
        """Return its bytes, to be compared with those of before."""
        try:
            return os.pread(self._fd, _MARK_BYTES, 0)
        except OSError as exc:
            state = "the store was disconnected meanwhile" if self._fd < 0 else exc.strerror
            raise StoreUnavailable(f"cannot read {self._path}: {state}") from exc

    def write(self, mark: Mark) -> bytes:
        """Move the mark; return its bytes."""
        packed = _MARK.pack(*mark)
        raw = packed + _CHECK.pack(zlib.crc32(packed))
        os.pwrite(self._fd, raw, 0)
        if self._on_network:
            os.fsync(self._fd)
        return raw

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        os.close(fd)


def parse_mark(raw: bytes) -> Mark | None:
    """Return the mark; None if it was never written, or is being written just now."""
    if len(raw) != _MARK_BYTES:
        return None
    packed = raw[: _MARK.size]
    if zlib.crc32(packed) != _CHECK.unpack(raw[_MARK.size :])[0]:
        return None
    return Mark(*_MARK.unpack(packed))


class Log:
    """One generation of the log, open.

    Args:
        path: the file.
        generation: its number.

    Raises:
        FileNotFoundError: there is none.
        IncompatibleStore: it is no log of this version.
    """

    def __init__(self, path: str, generation: int) -> None:
        self.path = path
        self.generation = generation
        self._fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        head = os.pread(self._fd, LOG_START, 0)
        if len(head) != LOG_START or not head.startswith(_MAGIC):
            os.close(self._fd)
            raise IncompatibleStore(
                f"{path} is not the log of a file store in a format that this version of Antiphon"
                f" knows: upgrade it; or, for {os.path.dirname(path)}, {START_ANEW}"
            )
        (self._salt,) = _SALT.unpack(head[len(_MAGIC) :])

    @classmethod
    def create(cls, path: str, generation: int) -> Log:
        """Make an empty log in place of whatever is there."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        try:
            head = _MAGIC + os.urandom(_SALT.size)
            if os.write(fd, head) != len(head):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
            os.fsync(fd)
        finally:
            os.close(fd)
        return cls(path, generation)

    def reopen(self) -> None:
        """Open it anew, for what other machines wrote; ``FileNotFoundError`` if it went."""
        _replace_descriptor(self._fd, os.open(self.path, os.O_RDWR | os.O_CLOEXEC))

    def size(self) -> int:
        return os.fstat(self._fd).st_size

    def append(self, kind: Kind, body: bytes, offset: int, *, durable: bool) -> int:
        """Write a record at *offset*; return the offset after it.

        Raises:
            OSError: it failed; what was written of it is no longer there.
        """
        record = frame(kind, body, seed_of(self._salt, offset))
        try:
            written = os.pwrite(self._fd, record, offset)
            while written < len(record):
                written += os.pwrite(self._fd, record[written:], offset + written)
            if durable:
                os.fdatasync(self._fd) if _HAS_DATA_SYNC else os.fsync(self._fd)
        except BaseException:
            # If this fails too, whoever comes next finds half a record and
            # removes it, or a whole one and carries it out.
            with contextlib.suppress(OSError):
                self.truncate(offset)
            raise
        return offset + len(record)

    def truncate(self, offset: int) -> None:
        os.ftruncate(self._fd, offset)

    def records(self, start: int, end: int | None = None) -> Iterator[Found]:
        """Yield the records from *start* on, up to *end* or to the first that is not whole."""
        at = start
        while end is None or at < end:
            found = self._record(at)
            if found is None:
                return
            yield found
            at = found.end

    def _record(self, offset: int) -> Found | None:
        head = os.pread(self._fd, FRAME_BYTES, offset)
        if len(head) < FRAME_BYTES:
            return None
        length, checksum, kind = unframe(head)
        if length > MAX_RECORD_BYTES or offset + FRAME_BYTES + length > self.size():
            return None
        body = os.pread(self._fd, length, offset + FRAME_BYTES)
        while len(body) < length:
            more = os.pread(self._fd, length - len(body), offset + FRAME_BYTES + len(body))
            if not more:
                return None
            body += more
        if not is_whole(body, checksum, kind, seed_of(self._salt, offset)):
            return None
        return Found(kind, body, offset + FRAME_BYTES + length)

    def close(self) -> None:
        os.close(self._fd)


def _replace_descriptor(old: int, new: int) -> None:
    try:
        os.dup2(new, old, inheritable=False)
    finally:
        os.close(new)
