"""The index of a file store as a file, so that connecting need not read a long log.

Lines of JSON: a head, entries and journal a thousand a line, and a checksum.
It is made when a generation of the log begins, and says how things stood then.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from antiphon.errors import IncompatibleStore
from antiphon.events.event_id import EventId
from antiphon.storage.file_index import Index
from antiphon.storage.file_record import START_ANEW, Entry, Print
from antiphon.storage.journal import JournalEntry, Version

#: Number of this layout.
FORMAT = 1

_ITEMS_A_LINE = 1000


def write_snapshot(index: Index, path: str) -> None:
    """Write *index* to *path*, replacing what is there; ``OSError`` leaves nothing."""
    aside = f"{path}.new"
    try:
        with open(aside, "wb") as stream:
            checksum = 0
            for line in _lines(index):
                stream.write(line)
                checksum = zlib.crc32(line, checksum)
            stream.write(b"%d\n" % checksum)
            stream.flush()
            os.fsync(stream.fileno())
        os.rename(aside, path)
    except BaseException:
        if os.path.exists(aside):
            os.unlink(aside)
        raise


def read_snapshot(index: Index, path: str) -> None:
    """Fill *index*, an empty one, with what is at *path*.

    Raises:
        FileNotFoundError: there is none.
        IncompatibleStore: it is damaged, or of another version.
    """
    with open(path, "rb") as stream:
        content = stream.read()
    body_end = content.rfind(b"\n", 0, -1) + 1
    try:
        if int(content[body_end:]) != zlib.crc32(content[:body_end]):
            raise ValueError("its checksum is wrong")
        lines = iter(content[:body_end].splitlines())
        head = json.loads(next(lines))
        if head["format"] != FORMAT:
            raise ValueError(f"it has format {head['format']!r}")
        epoch, sequence, entry_id = head["head"]
        for line in islice(lines, head["lines"]):
            for item in json.loads(line):
                key, entry = _entry(item)
                index.put(key, entry)
        for key in head["odd"]:
            index.note_name(key, index.entries[key].name)
        for line in lines:
            index.journal.extend(map(_journal, json.loads(line)))
        index.head = Version(epoch, sequence, bytes.fromhex(entry_id))
    except (ValueError, KeyError, TypeError, StopIteration) as exc:
        raise IncompatibleStore(
            f"{path} is no snapshot that this version of Antiphon can read ({exc!s:.80}):"
            f" upgrade it; or, for {os.path.dirname(path)}, {START_ANEW}"
        ) from exc


def _lines(index: Index) -> Iterator[bytes]:
    items = len(index.entries)
    head = {
        "format": FORMAT,
        "head": [index.head.epoch, index.head.sequence, index.head.entry_id.hex()],
        "odd": list(index.odd_names.values()),
        "lines": -(-items // _ITEMS_A_LINE),
    }
    yield _line(head)
    entries = (_entry_item(key, entry) for key, entry in index.entries.items())
    yield from _batches(entries)
    yield from _batches(_journal_item(entry) for entry in index.journal)


def _batches(items: Iterable[list[Any]]) -> Iterator[bytes]:
    remaining = iter(items)
    while batch := list(islice(remaining, _ITEMS_A_LINE)):
        yield _line(batch)


def _line(content: object) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode() + b"\n"


def _entry_item(key: str, entry: Entry) -> list[Any]:
    version = entry.version
    name = 0 if entry.name == key else entry.name
    return [
        key, name, entry.text, entry.created, entry.modified,
        version.epoch, version.sequence, version.entry_id.hex(), *entry.data, *entry.metadata,
    ]  # fmt: skip


def _entry(item: list[Any]) -> tuple[str, Entry]:
    key, name, text, created, modified, epoch, sequence, entry_id, *prints = item
    return key, Entry(
        key if name == 0 else name,
        text,
        created,
        modified,
        Version(epoch, sequence, bytes.fromhex(entry_id)),
        Print(*prints[:3]),
        Print(*prints[3:]),
    )


def _journal_item(entry: JournalEntry) -> list[Any]:
    event_id = None if entry.event_id is None else str(entry.event_id)
    version = entry.version
    return [
        version.epoch, version.sequence, version.entry_id.hex(), entry.key, entry.action,
        event_id, entry.owner.hex(), entry.last, entry.time_ns,
    ]  # fmt: skip


def _journal(item: list[Any]) -> JournalEntry:
    epoch, sequence, entry_id, key, action, event_id, owner, last, time_ns = item
    return JournalEntry(
        Version(epoch, sequence, bytes.fromhex(entry_id)),
        key,
        action,
        None if event_id is None else EventId.parse(event_id),
        bytes.fromhex(owner),
        last,
        time_ns,
    )
