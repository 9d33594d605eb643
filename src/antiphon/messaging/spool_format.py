"""What a file of a spool looks like: records with lengths and checksums.

A segment is a head and then records.  An event record holds an envelope; where
it goes is told by the last address record before it, so that an address is
written once for a run of events.  Numbers are little-endian::

    head     16 bytes, ``SEGMENT_HEAD``
    record   4 bytes length of the content, 4 bytes CRC-32 of the content, content
    content  1 byte kind, then: an envelope ("e"); or, as JSON, routing key,
             headers, exchange and publisher ("a")
"""

from __future__ import annotations

import base64
import json
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from antiphon.wire.envelope import MAX_BODY_BYTES

#: First bytes of every segment; another number is another format.
SEGMENT_HEAD = b"antiphon spool 1"

#: Bytes of the longest content that is believed; more is a damaged length.
MAX_CONTENT_BYTES = MAX_BODY_BYTES + 1024

_EVENT, _ADDRESS = b"e", b"a"
_head = struct.Struct("<II")


#: Routing key, headers, exchange (None: the bus's own), publisher.
SpoolAddress: TypeAlias = tuple[str, Mapping[str, Any] | None, str | None, str]


@dataclass(frozen=True, slots=True)
class Record:
    """One record of a segment.

    Attributes:
        end: offset of what follows it.
        envelope: of an event; None for an address.
        address: routing key, headers, exchange and publisher; None for an event.
    """

    end: int
    envelope: bytes | None = None
    address: SpoolAddress | None = None


class TornRecord(ValueError):
    """The bytes end within a record, as after a crash in the middle of a write."""


class DamagedRecord(ValueError):
    """The bytes were changed: a checksum does not fit, or what is there makes no sense."""


def event_record(envelope: bytes) -> bytes:
    """Return the record of an event."""
    content = _EVENT + envelope
    return _head.pack(len(content), zlib.crc32(content)) + content


def address_record(
    key: str, headers: Mapping[str, Any] | None, exchange: str | None, publisher: str
) -> bytes:
    """Return the record of where the events that follow it go."""
    text = json.dumps([key, headers, exchange, publisher], default=_bytes_as_text)
    content = _ADDRESS + text.encode()
    return _head.pack(len(content), zlib.crc32(content)) + content


def read_record(data: bytes, start: int) -> Record:
    """Return the record of *data* at *start*.

    Raises:
        TornRecord: it is not complete.
        DamagedRecord: it makes no sense.
    """
    begin = start + _head.size
    if begin > len(data):
        raise TornRecord(f"{len(data) - start} bytes of a record")
    length, checksum = _head.unpack_from(data, start)
    if not 1 < length <= MAX_CONTENT_BYTES:
        raise DamagedRecord(f"a record of {length} bytes")
    end = begin + length
    if end > len(data):
        raise TornRecord(f"{len(data) - begin} of {length} bytes of a record")
    content = data[begin:end]
    if zlib.crc32(content) != checksum:
        raise DamagedRecord("its checksum does not fit")
    kind, rest = content[:1], content[1:]
    if kind == _EVENT:
        return Record(end, envelope=rest)
    if kind != _ADDRESS:
        raise DamagedRecord(f"a record of kind {kind!r}")
    try:
        key, headers, exchange, publisher = json.loads(rest, object_hook=_text_as_bytes)
    except ValueError as exc:
        raise DamagedRecord(f"an address that makes no sense: {exc}") from exc
    return Record(end, address=(key, headers, exchange, publisher))


def _bytes_as_text(value: object) -> object:
    if isinstance(value, bytes):
        return {"\0bytes": base64.b64encode(value).decode()}
    raise TypeError(f"{type(value).__name__} is no type of a header")


def _text_as_bytes(found: dict[str, Any]) -> Any:
    return base64.b64decode(found["\0bytes"]) if set(found) == {"\0bytes"} else found
