"""The wire format once more, as somebody would write it in another language.

Made from docs/reference/wire-format.md alone, with a msgpack library: nothing of Antiphon
is imported here, and nothing here is quick.  Numbers in brackets are the requirements.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from tests.wire.other_values import Pairs, Reader, RefusedMessage, array_head, packed

__all__ = ["RefusedMessage"]

ROOT = "antiphon:BaseEvent"

FORMAT = 1
MAX_KEY_BYTES = 255
MAX_WORD_BYTES = 32
MAX_ORIGIN_WORDS = 6
MAX_CLASSES = 256
MAX_HEADER_BYTES = 65_536
MAX_BODY_BYTES = 16 * 2**20
MAX_SOURCE_BYTES = 64 * 2**10


@dataclass
class Reference:
    """A source that is told of [S2]; *origin* is already that of the event where it said so."""

    kind: str
    origin: str | None
    store_id: bytes | None


@dataclass
class Plain:
    """A source that came itself [S1]."""

    value: Any


@dataclass
class Position:
    """Where a change stands in its store's journal."""

    store_id: bytes
    epoch: int
    sequence: int
    entry_id: bytes
    link: bytes = b""


@dataclass
class Event:
    """One event."""

    classes: tuple[str, ...]
    origin: str | None
    counter: int
    publisher: bytes
    time_ns: int
    attributes: dict[str, Any] = field(default_factory=dict)
    source: Reference | Plain | None = None
    position: Position | None = None
    replayed: bool = False
    traceparent: str | None = None


# -- The routing key -----------------------------------------------------------------


def _is_special(character: str, *, is_origin: bool) -> bool:
    code = ord(character)
    return (
        character in ".*#%@+!~"
        or code <= 0x20
        or 0x7F <= code <= 0xA0
        or code in (0x1680, 0x2028, 0x2029, 0x202F, 0x205F, 0x3000)
        or 0x2000 <= code <= 0x200A
        or (is_origin and 0xD800 <= code <= 0xDFFF)
    )


def escaped(text: str, *, is_origin: bool = False) -> str:
    """Return a class name, or a word of an origin, as it stands in a key [K2]."""
    return "".join(
        "".join(f"%{byte:02X}" for byte in one.encode("utf-8", "surrogatepass"))
        if _is_special(one, is_origin=is_origin)
        else one
        for one in text
    )


def unescaped(word: str) -> str:
    """Return what was escaped."""
    raw, at = bytearray(), 0
    while at < len(word):
        if word[at] == "%":
            try:
                raw.append(int(word[at + 1 : at + 3], 16))
            except ValueError:
                raise RefusedMessage(f"{word!r} has a % without two digits") from None
            at += 3
        else:
            raw += word[at].encode("utf-8", "surrogatepass")
            at += 1
    try:
        return raw.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        raise RefusedMessage(f"{word!r} is no UTF-8") from None


def hashed(text: str) -> str:
    """Return what stands for a text that is too long [K4]."""
    return "~" + hashlib.sha256(text.encode()).hexdigest()[:16]


def _origin_words(origin: str) -> list[str]:
    words = [escaped(word, is_origin=True) for word in origin.split(".")]
    kept = [
        hashed(word) if len(word.encode()) > MAX_WORD_BYTES else word
        for word in words[:MAX_ORIGIN_WORDS]
    ]
    if len(words) > MAX_ORIGIN_WORDS:  # [K5]
        kept.append(hashed(".".join(words[MAX_ORIGIN_WORDS:])))
    return [("+" if at else "@") + word for at, word in enumerate(kept)]  # [K3]


def routing_key(classes: Iterable[str], origin: str | None) -> tuple[str, dict[str, Any]]:
    """Return the key of an event, and its headers [K1]."""
    class_words = [escaped(name) for name in classes]
    origin_words = [] if origin is None else _origin_words(origin)
    headers: dict[str, Any] = {}
    key = ".".join(class_words + origin_words)
    if len(key.encode()) > MAX_KEY_BYTES:  # [K6, K7]
        headers["classes"] = class_words
        key = ".".join(["!", *origin_words])
    if origin is not None and "~" in "".join(origin_words):  # [K8]
        headers["origin"] = ".".join(escaped(one, is_origin=True) for one in origin.split("."))
    size = sum(len(word.encode()) for word in headers.get("classes", ()))
    if size + len(headers.get("origin", "").encode()) > MAX_HEADER_BYTES:  # [K9]
        raise ValueError("the classes and the origin are too long")
    return key, headers


def parse_key(key: str, headers: Mapping[str, Any]) -> tuple[tuple[str, ...], str | None]:
    """Return the classes and the origin of a message."""
    words = key.split(".")
    at = next((at for at, word in enumerate(words) if word[:1] in ("@", "+")), len(words))
    class_words: Any = words[:at]
    origin_text: Any = ".".join(word[1:] for word in words[at:])
    if class_words == ["!"]:
        class_words = headers.get("classes")
    if "~" in "".join(words[at:]):
        origin_text = headers.get("origin")
    if not isinstance(class_words, list) or not isinstance(origin_text, str):
        raise RefusedMessage(f"{key!r} lacks a header")
    if not all(isinstance(word, str) for word in class_words):
        raise RefusedMessage("a class is no text")
    classes = tuple(unescaped(word) for word in class_words)
    if any(0xD800 <= ord(one) <= 0xDFFF for name in classes for one in name):  # [N1]
        raise RefusedMessage("the name of a class is no text")
    origin = None
    if at < len(words):
        origin = ".".join(unescaped(word) for word in origin_text.split("."))
    if not 0 < len(classes) <= MAX_CLASSES or "" in classes:  # [N1, N5]
        raise RefusedMessage(f"{key!r} has {len(classes)} classes, or an empty one")
    if routing_key(classes, origin)[0] != key:  # [K11]
        raise RefusedMessage(f"{key!r} is not the key of what it says")
    return classes, origin


def bindings(name: str, origin: str | None = None, *, is_prefix: bool = False) -> list[str]:
    """Return the keys to bind for a listener [B1]."""
    tail = [] if origin is None else _origin_words(origin)
    if is_prefix:
        tail = [*tail[:MAX_ORIGIN_WORDS], "*" if len(tail) > MAX_ORIGIN_WORDS else "#"]
    if name == ROOT:  # [B3]
        return [".".join(["#", *tail])] if tail else [f"{ROOT}.#", "!.#"]
    keys = [".".join(["#", escaped(name), "#", *tail]), ".".join(["!", *(tail or ["#"])])]
    return [key for key in keys if len(key.encode()) <= MAX_KEY_BYTES]  # [B4]


# -- Messages ------------------------------------------------------------------------


def envelope_of(event: Event) -> bytes:
    """Return the envelope of an event."""
    position = event.position
    source_id = event.source.store_id if isinstance(event.source, Reference) else None
    fields: list[Any] = [
        event.counter,
        event.publisher,
        event.time_ns,
        event.attributes,
        _source_field(event),
        *((None,) * 3 if position is None else (position.epoch, position.sequence)),
    ]
    rare: list[Any] = [None, event.replayed or None, event.traceparent]
    if position is not None:
        fields.append(position.entry_id + position.link)
        rare[0] = None if position.store_id == source_id else position.store_id
    while rare and rare[-1] is None:  # [E2]
        rare.pop()
    return packed(fields + rare)


def _source_field(event: Event) -> Any:
    source = event.source
    if source is None:
        return None
    if isinstance(source, Plain):
        return [source.value]
    origin: Any = source.origin
    if origin == event.origin:
        origin = None
    elif origin is None:
        origin = False
    else:
        try:
            origin.encode()
        except UnicodeEncodeError:
            origin = origin.encode("utf-8", "surrogatepass")
    return packed([source.kind, origin, source.store_id])


def message_of(events: list[Event]) -> tuple[str, dict[str, Any], bytes]:
    """Return routing key, headers and body of events of the same classes and origin [M2]."""
    ((classes, origin),) = {(event.classes, event.origin) for event in events}
    key, headers = routing_key(classes, origin)
    head = array_head(len(events) + 1) + packed(FORMAT)  # [D1]
    return key, headers, head + b"".join(envelope_of(event) for event in events)


def events_of(key: str, headers: Mapping[str, Any] | None, body: bytes) -> list[Event]:
    """Return the events of a message; raise ``RefusedMessage`` for what must be refused."""
    headers = headers or {}
    classes, origin = parse_key(headers.get("antiphon-key", key), headers)  # [M8]
    if len(body) > MAX_BODY_BYTES:  # [D4]
        raise RefusedMessage("too long")
    reader = Reader()
    version, *envelopes = reader.array(body) or [None]
    reader.count()
    if not _is_integer(version) or version != FORMAT or not envelopes:  # [D2]
        raise RefusedMessage("another format, or no event")
    return [_event(reader, envelope, classes, origin) for envelope in envelopes]


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _event(reader: Reader, envelope: Any, classes: tuple[str, ...], origin: str | None) -> Event:
    if not isinstance(envelope, list) or len(envelope) < 4:  # [E1]
        raise RefusedMessage("an envelope lacks a field")
    reader.count()
    # Also what is not looked at must be good values [V8].
    read = [each if at in (3, 4) else reader.value(each) for at, each in enumerate(envelope)]
    fields = [*read, *(None,) * 11][:11]  # [E2, E3]
    counter, publisher, time_ns, pairs = fields[:4]
    if not (_is_integer(counter) and _is_integer(time_ns)):  # [E5]
        raise RefusedMessage("counter or time is no integer")
    if not isinstance(publisher, bytes) or len(publisher) != 12:
        raise RefusedMessage("the publisher is not 12 bytes")
    reader.count()
    if not isinstance(pairs, Pairs):
        raise RefusedMessage("the attributes are no map")
    for name, _ in pairs:  # [E7]
        if not isinstance(name, str) or not name or name[0] == "_" or name == "source":
            raise RefusedMessage(f"an attribute named {name!r}")
    source = _source(reader, fields[4], origin)
    return Event(
        classes,
        origin,
        counter,
        publisher,
        time_ns,
        {name: reader.value(item) for name, item in pairs},
        source,
        _position(source, *fields[5:9]),
        fields[9] is True,  # [E4]
        fields[10] if isinstance(fields[10], str) else None,
    )


def _source(reader: Reader, given: Any, origin: str | None) -> Reference | Plain | None:
    if given is None:
        return None
    if isinstance(given, list) and len(given) == 1:  # [S1]
        reader.count()
        plain = reader.value(given[0])
        if not isinstance(plain, str | int | float | bytes | UUID):
            raise RefusedMessage("a source that is not plain")
        return Plain(plain)
    if not isinstance(given, bytes) or len(given) > MAX_SOURCE_BYTES:  # [S3]
        raise RefusedMessage("no source")
    parts = [reader.value(part) for part in reader.array(given)]
    if len(parts) < 3:
        raise RefusedMessage("a source lacks an item")
    kind, own, store_id = parts[:3]
    if own is None:
        own = origin
    elif own is False:
        own = None
    elif isinstance(own, bytes):
        try:
            own = own.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            raise RefusedMessage("the origin of a source is no UTF-8") from None
    elif not isinstance(own, str):
        raise RefusedMessage("the origin of a source is no text")
    if not isinstance(kind, str) or not (store_id is None or _is_id(store_id)):
        raise RefusedMessage("a source with an item of the wrong type")
    return Reference(kind, own, store_id)


def _is_id(value: Any) -> bool:
    return isinstance(value, bytes) and len(value) == 16


def _position(
    source: Reference | Plain | None, epoch: Any, sequence: Any, entry_id: Any, store_id: Any
) -> Position | None:
    if epoch is None:  # [E4]
        return None
    if store_id is None and isinstance(source, Reference):
        store_id = source.store_id
    if not (_is_integer(epoch) and _is_integer(sequence) and _is_id(store_id)):  # [J1]
        raise RefusedMessage("a position with a field of the wrong type")
    if not isinstance(entry_id, bytes):
        raise RefusedMessage("an entry id that is no binary")
    return Position(store_id, epoch, sequence, entry_id[:8], entry_id[8:])  # [J2]
