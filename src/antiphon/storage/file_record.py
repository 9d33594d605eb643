"""Records of the log: one commit as bytes, and back.

A record is its length, a checksum and its body.  The checksum begins from the
log's salt and the record's place, so that no bytes of a user's value, and none
of an older record, can pass for a record.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import NamedTuple

from antiphon.errors import IncompatibleStore
from antiphon.events.event_id import EventId
from antiphon.storage.journal import JournalEntry, Version

_FRAME = struct.Struct("<IIB")
_COMMIT = struct.Struct("<QQQI")
_CHANGE = struct.Struct("<BBB8sBQddqQqqQqIIII")

FRAME_BYTES = _FRAME.size

#: Bytes that one record may have; its length is checked against it first.
MAX_RECORD_BYTES = 1 << 31

#: What helps where the hidden directory is damaged.
START_ANEW = (
    "restore it from a backup, or remove it whole, after which the keys are taken from their files"
    " as those of Encore are"
)

_ACTIONS = ("set", "update", "delete")


class Kind(IntEnum):
    """What a record is."""

    COMMIT = 1
    END = 2
    EPOCH = 3


class Source(IntEnum):
    """Where the data of a change are."""

    KEPT = 0
    INLINE = 1
    STAGED = 2
    FOUND = 3


class Flag(IntFlag):
    """What else is to be said of a change."""

    FINAL = 1
    FOREIGN = 2
    BROKEN = 4


class Print(NamedTuple):
    """What tells one content of a file from another: a fingerprint by ``stat``."""

    size: int
    inode: int
    mtime_ns: int


NO_PRINT = Print(0, 0, 0)


class Entry(NamedTuple):
    """One key as the index has it.

    Attributes:
        name: what its files are called, without the end.
        text: its metadata as text; None if its file has none that can be read.
        created, modified: seconds since the Unix epoch.
        version: the journal entry that last changed it.
        data: fingerprint of its file of data.
        metadata: fingerprint of its file of metadata.
    """

    name: str
    text: str | None
    created: float
    modified: float
    version: Version
    data: Print
    metadata: Print


@dataclass(slots=True)
class Step:
    """One change of one key within a commit, as the log has it.

    Attributes:
        key: the key.
        journal: its journal entry.
        entry: the key afterwards; None if it is gone, or a later step of the
            same commit tells.
        name: what the key's files are called.
        final: whether it is the key's last step in the commit: only then
            anything is done to files.
        source: where the data are.
        data: the data if ``INLINE``, the token if ``STAGED``.
    """

    key: str
    journal: JournalEntry
    entry: Entry | None
    name: str
    final: bool = True
    source: Source = Source.KEPT
    data: bytes = b""

    @property
    def new_file(self) -> str:
        """What its files are called until they are renamed."""
        return self.journal.version.entry_id.hex()


def frame(kind: Kind, body: bytes, seed: int) -> bytes:
    """Return the record of *body*; *seed* is that of its place (``seed_of``)."""
    return _FRAME.pack(len(body), zlib.crc32(body, seed ^ kind), kind) + body


def seed_of(salt: int, offset: int) -> int:
    """Return where the checksum of a record at *offset* begins."""
    return (salt + offset * 2654435761) & 0xFFFFFFFF


def unframe(head: bytes) -> tuple[int, int, int]:
    """Return length, checksum and kind from the first ``FRAME_BYTES`` of a record."""
    length, checksum, kind = _FRAME.unpack(head)
    return length, checksum, kind


def is_whole(body: bytes, checksum: int, kind: int, seed: int) -> bool:
    """Return whether *body* is what was written."""
    return zlib.crc32(body, seed ^ kind) == checksum


def pack(steps: list[Step]) -> bytes:
    """Return the body of the commit of *steps*."""
    first = steps[0].journal
    parts = [_COMMIT.pack(first.time_ns, first.version.epoch, first.version.sequence, len(steps))]
    for step in steps:
        parts.extend(_packed(step))
    return b"".join(parts)


def _packed(step: Step) -> Iterable[bytes]:
    journal, entry = step.journal, step.entry
    event_id = journal.event_id
    flags = Flag.FINAL if step.final else 0
    if event_id is None:
        flags |= Flag.FOREIGN
    key, name, text = step.key.encode(), step.name.encode("utf-8", "surrogateescape"), b""
    created = modified = 0.0
    data_print = metadata_print = NO_PRINT
    if entry is not None:
        created, modified = entry.created, entry.modified
        data_print, metadata_print = entry.data, entry.metadata
        if entry.text is None:
            flags |= Flag.BROKEN
        else:
            text = entry.text.encode()
    publisher = b"" if event_id is None else event_id.publisher
    yield _CHANGE.pack(
        _ACTIONS.index(journal.action),
        flags,
        step.source,
        journal.version.entry_id,
        len(publisher),
        0 if event_id is None else event_id.counter,
        created,
        modified,
        *data_print,
        *metadata_print,
        len(key),
        len(name),
        len(text),
        len(step.data),
    )
    yield publisher
    yield key
    yield name
    yield text
    yield step.data


def unpack(body: bytes) -> list[Step]:
    """Return the steps of a commit.

    Raises:
        IncompatibleStore: *body* is whole, and not of this version's making.
    """
    try:
        return list(_unpacked(body))
    except (struct.error, ValueError, IndexError) as exc:
        raise IncompatibleStore(f"a record of the log cannot be understood: {exc}") from exc


def _unpacked(body: bytes) -> Iterable[Step]:
    time_ns, epoch, sequence, count = _COMMIT.unpack_from(body)
    at = _COMMIT.size
    for number in range(count):
        (
            action, flags, source, entry_id, publisher_length, counter, created, modified,
            *prints, key_length, name_length, text_length, data_length,
        ) = _CHANGE.unpack_from(body, at)  # fmt: skip
        at += _CHANGE.size
        pieces = []
        for length in (publisher_length, key_length, name_length, text_length, data_length):
            pieces.append(body[at : at + length])
            at += length
        publisher, raw_key, raw_name, text, data = pieces
        key = raw_key.decode()
        name = raw_name.decode("utf-8", "surrogateescape")
        version = Version(epoch, sequence + number, entry_id)
        journal = JournalEntry(
            version=version,
            key=key,
            action=_ACTIONS[action],
            event_id=None if flags & Flag.FOREIGN else EventId(publisher, counter),
            owner=publisher,
            last=number == count - 1,
            time_ns=time_ns,
        )
        entry = None
        if flags & Flag.FINAL and journal.action != "delete":
            entry = Entry(
                name,
                None if flags & Flag.BROKEN else text.decode(),
                created,
                modified,
                version,
                Print(*prints[:3]),
                Print(*prints[3:]),
            )
        yield Step(key, journal, entry, name, bool(flags & Flag.FINAL), Source(source), data)
