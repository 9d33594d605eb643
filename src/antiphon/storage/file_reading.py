"""Reading one key of a file store."""

from __future__ import annotations

import os
from collections.abc import Callable
from io import BytesIO
from typing import BinaryIO

from antiphon.storage.changes import Record
from antiphon.storage.file_commit import INLINE_BYTES
from antiphon.storage.file_errors import mapped
from antiphon.storage.file_layout import NO_FILE, READ
from antiphon.storage.file_record import NO_PRINT, Entry
from antiphon.storage.file_value import OpenFile
from antiphon.storage.metadata import decode


def open_data(path: str) -> int:
    """Return the descriptor of a file of data; -1 if there is none."""
    try:
        return os.open(path, READ)
    except OSError as exc:
        if exc.errno in NO_FILE:
            return -1
        raise mapped(exc, f"cannot read {path}") from exc


def held(fd: int, entry: Entry) -> bytes | OpenFile | None:
    """Return the data in an open file (-1: there is none); None if they are not of *entry*."""
    wanted = entry.data
    if fd < 0:
        return b"" if wanted == NO_PRINT else None
    try:
        found = os.fstat(fd)
        if (found.st_size, found.st_ino, found.st_mtime_ns) != wanted:
            return None
        return OpenFile(fd) if wanted.size > INLINE_BYTES else os.pread(fd, wanted.size, 0)
    except OSError as exc:
        raise mapped(exc, f"cannot read {entry.name}.data") from exc


def record_of(entry: Entry, data: bytes | OpenFile) -> Record:
    """Return the record of a key whose metadata can be read."""
    assert entry.text is not None  # noqa: S101 - the caller looked
    open_data: Callable[[int, int], BinaryIO]
    if isinstance(data, bytes):
        held = data
        open_data = lambda start, end: BytesIO(held[start:end])  # noqa: E731
    else:
        open_data = data.open
    return Record(
        entry.data.size,
        decode(entry.text),
        entry.created,
        entry.modified,
        entry.version,
        open_data,
    )
