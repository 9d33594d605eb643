"""What lies where in Redis: names of keys, headers, metadata lines, index members.

Pure functions; ``docs/reference/redis.md`` describes the same for other programs.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from antiphon.errors import IncompatibleStore
from antiphon.events.event_id import EventId
from antiphon.storage import metadata as metadata_codec
from antiphon.storage.journal import JournalEntry, Version

#: Number of this layout, kept in the meta hash; 1 had the index in one set.
FORMAT = "2"

#: Values up to this many bytes lie in the record itself and come with it in one
#: round trip; of longer ones a reader of the metadata would wait for the data.
INLINE_BYTES = 16 * 1024

#: Bytes of a chunk of a staged value.
CHUNK_BYTES = 512 * 1024

#: Longer lines of metadata are indexed by their digest (lines.lua has the number too).
INDEXED_BYTES = 128

#: Generation in a header: none, the data is in the record.
NO_GENERATION = "-"

#: Types whose JSON has no separators of its own, so that one call of the
#: encoder writes all lines (half the time otherwise spent here).
_FLAT = frozenset({str, int, bool, type(None)})

_flat_lines = json.JSONEncoder(sort_keys=True, separators=("\n", "\t"), allow_nan=False).encode


@dataclass(frozen=True, slots=True)
class Layout:
    """The names of all keys of one namespace; the braces put them in one hash slot."""

    prefix: bytes

    @classmethod
    def of(cls, namespace: str) -> Layout:
        """Return the layout of *namespace*."""
        return cls(b"{%s}:" % namespace.encode())

    def name(self, name: str) -> bytes:
        """Return the key of one of the parts that exist once: ``meta``, ``journal``, …"""
        return self.prefix + name.encode()

    def record(self, key: str) -> bytes:
        """Return the key of the record of *key*."""
        return self.prefix + b"k:" + key.encode()

    def index(self, condition: str) -> bytes:
        """Return the key of the index set of a condition, a line of ``metadata_lines``."""
        line = condition.encode()
        if len(line) > INDEXED_BYTES:
            line = b"#" + hashlib.sha1(line, usedforsecurity=False).hexdigest().encode()
        return self.prefix + b"i:" + line

    def record_of(self, key: bytes) -> bytes:
        """Return the key of the record of a key that Redis gave."""
        return self.prefix + b"k:" + key

    def generation(self, token: str) -> bytes:
        """Return the key of the chunks of one large value."""
        return self.prefix + b"g:" + token.encode()

    def cached(self, key: str) -> bytes:
        """Return the key of the cache entry of *key*."""
        return self.prefix + b"cache:k:" + key.encode()

    def reservation(self, token: bytes) -> bytes:
        """Return the key of a reservation."""
        return self.prefix + b"cache:r:" + token.hex().encode()


@dataclass(frozen=True, slots=True)
class Header:
    """The first field of a record: what is known of a value besides data and metadata.

    Attributes:
        version: the key's version; None in a cache entry without one.
        created, modified: seconds since the Unix epoch; None if unknown.
        size: bytes of data.
        generation: where the data is; ``-`` if in the record.
        chunk_bytes: size of each chunk but the last; 0 if there are none.
    """

    version: Version | None
    created: float | None
    modified: float | None
    size: int
    generation: str = NO_GENERATION
    chunk_bytes: int = 0

    def __str__(self) -> str:
        words = (self.version, self.created, self.modified)
        given = ("-" if word is None else str(word) for word in words)
        return f"{' '.join(given)} {self.size} {self.generation} {self.chunk_bytes}"

    @classmethod
    def parse(cls, text: bytes) -> Header:
        """Return the header that is written as *text*.

        Raises:
            IncompatibleStore: it is none.
        """
        try:
            version, created, modified, size, generation, chunk_bytes = text.decode().split(" ")
            return cls(
                None if version == "-" else Version.parse(version),
                None if created == "-" else float(created),
                None if modified == "-" else float(modified),
                int(size),
                generation,
                int(chunk_bytes),
            )
        except ValueError as exc:
            raise IncompatibleStore(f"no record of this version of Antiphon: {text!r:.80}") from exc


def metadata_lines(metadata: Mapping[str, Any]) -> str:
    """Return metadata as lines of name, tab and value, each as JSON.

    A script can tell the entries apart without knowing JSON: the text has no
    tab and no line feed of its own.

    Raises:
        InvalidValue: it is longer than metadata may be.
    """
    if all(map(_is_flat, metadata, metadata.values())):
        lines = _flat_lines(metadata)[1:-1]
    else:
        lines = "\n".join(_line(name, metadata[name]) for name in sorted(metadata))
    if len(lines) + len("{}") > metadata_codec.MAX_TEXT:
        metadata_codec.encode(metadata)  # raises, with the reason
    return lines


def _line(name: str, value: object) -> str:
    written = _written(name)
    text = metadata_codec.encode({name: value})
    return f"{written}\t{text[len(written) + 2 : -1]}"


def _written(name: str) -> str:
    return json.dumps("!" + name if name.startswith("!") else name)


def _is_flat(name: str, value: object) -> bool:
    if name.startswith("!"):
        return False
    return type(value) in _FLAT or (type(value) is float and math.isfinite(value))


def metadata_of(lines: bytes) -> dict[str, Any]:
    """Return the metadata that ``metadata_lines`` wrote."""
    if not lines:
        return {}
    text = lines.decode().replace("\t", ":").replace("\n", ",")
    return metadata_codec.decode("{" + text + "}")


def condition_lines(conditions: Mapping[str, Any]) -> set[str]:
    """Return the lines that metadata must have to fulfil *conditions*.

    Raises:
        InvalidValue: no metadata can have one of the values.
    """
    encoded = metadata_codec.encode_conditions(conditions)
    return {f"{_written(name)}\t{text}" for name, text in encoded.items()}


def is_exact(condition: str) -> bool:
    """Return whether the index tells by itself who fulfils a condition: it has no digest of it."""
    return len(condition) <= INDEXED_BYTES


def fulfils(lines: bytes, conditions: set[bytes]) -> bool:
    """Return whether metadata have all of *conditions*, lines of ``metadata_lines``."""
    return conditions.issubset(lines.split(b"\n"))


def parse_entry(entry_id: bytes, fields: list[bytes]) -> JournalEntry:
    """Return the journal entry that the stream has under *entry_id*.

    Raises:
        IncompatibleStore: it is none.
    """
    try:
        epoch, _, sequence = entry_id.partition(b"-")
        # The key is last, because it may have spaces of its own.
        own_id, event, action, owner, last, time_ns, key = fields[1].decode().split(" ", 6)
        return JournalEntry(
            version=Version(int(epoch), int(sequence), bytes.fromhex(own_id)),
            key=key,
            action=action,
            event_id=EventId.parse(event) if event != "-" else None,
            owner=bytes.fromhex(owner) if owner != "-" else b"",
            last=last == "1",
            time_ns=int(time_ns),
        )
    except (IndexError, ValueError) as exc:
        raise IncompatibleStore(
            f"entry {entry_id.decode(errors='replace')} of the journal is not of this version"
            " of Antiphon"
        ) from exc
