"""What an event of a bus becomes in an archive, and the way back."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any
from uuid import UUID

from antiphon.archive.event import MAX_WORD, Event
from antiphon.errors import CorruptMessage
from antiphon.events.abstract_event_manager import BaseEvent
from antiphon.events.delivery import delivery_of
from antiphon.messaging.transport import Message
from antiphon.wire import packing
from antiphon.wire.codec import Codec
from antiphon.wire.describing import attributes_of, source_parts, to_json
from antiphon.wire.registry import default_registry
from antiphon.wire.routing import CLASSES_HEADER, ORIGIN_HEADER

#: Attributes whose values become tags, unless told otherwise.
INDEXED = ("key",)

#: Characters of content beyond which long attributes are cut; the message has all of them.
MAX_CONTENT = 64 * 1024

#: Characters that are left of a long attribute.
MAX_CUT = 1000

#: Characters of a value that becomes a tag; nobody looks for a longer one by all of it, and
#: archives count tags and tell them.
MAX_INDEXED = 1000

#: First item of the bytes in ``Event.message``; another number is another format.
MESSAGE_VERSION = 1

#: Classes of this package go by their bare names.
_OWN_PREFIX = "antiphon:"

#: What belongs to the event in a message's headers; the rest is of its way through the broker.
_HEADERS = (CLASSES_HEADER, ORIGIN_HEADER)

_NS = 1_000_000_000

_codec = Codec()


def recorded(
    event: BaseEvent,
    message: Message,
    *,
    received: float | None = None,
    indexed: Iterable[str] = INDEXED,
) -> Event:
    """Return what an archive keeps of *event*.

    Args:
        event: it came from a broker.
        message: carries it alone.
        received: when it came into the archive, in seconds since the epoch.
        indexed: names of attributes whose values become tags, ``key:prices/eur``.

    Its tags are the names of its class and of all its bases (``class_tags``), its
    origin (``origin_tag``) and what *indexed* names, so that a search by one of
    them need look at nothing else.  The content is a line of JSON.
    """
    delivery = delivery_of(event)
    if delivery is None:
        raise CorruptMessage(f"{type(event).__name__} did not come from a broker: it has no id yet")
    origin = delivery.origin
    tags = list(class_tags(default_registry.names_of(type(event))))
    if origin is not None and len(tag := origin_tag(origin)) <= MAX_WORD:
        tags.append(tag)
    attributes = attributes_of(event)
    for name in indexed:
        if (text := _word(attributes.get(name))) is not None:
            tags.append(attribute_tag(name, text))
    parts = {
        "class": default_registry.name_of(type(event)),
        "origin": origin,
        "attributes": attributes,
        "source": source_parts(event.source),
        "position": delivery.position,
        "replayed": delivery.replayed,
        "traceparent": delivery.traceparent,
    }
    return Event(
        str(delivery.event_id),
        _clean(origin or ""),
        _seconds(delivery.time_ns),
        list(dict.fromkeys(tags)),
        _content(parts),
        received=received,
        message=pack_message(message),
    )


def class_tag(name: str) -> str:
    """Return the tag of events of the class with *name* on the wire, and of its subclasses.

    ``StoreSetEvent`` for a class of this package, ``myapp:Saved`` for another.  The
    bare ``Saved`` is a tag as well, of all classes that are called so.
    """
    return _clean(name.removeprefix(_OWN_PREFIX))


@functools.lru_cache(maxsize=256)
def class_tags(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the tags of events whose class and bases have *names* on the wire, each once.

    ``myapp:Saved`` is found under that name and as ``Saved``, a class within another,
    ``myapp:Outer.Saved``, also as ``Outer.Saved``.  What is too long for a tag is none.
    """
    tags = []
    for name in map(class_tag, names):
        bare = name.rpartition(":")[2]
        tags += [name, bare, bare.rpartition(".")[2]]
    return tuple(tag for tag in dict.fromkeys(tags) if 0 < len(tag) <= MAX_WORD)


def origin_tag(origin: str) -> str:
    """Return the tag of events from *origin*."""
    return _clean(f"origin:{origin}")


def attribute_tag(name: str, value: object) -> str:
    """Return the tag of events whose attribute *name* has *value*, if that is indexed."""
    return _clean(f"{name}:{value}")


def decode_recorded(event: Event, *, codec: Codec | None = None) -> BaseEvent:
    """Return the bus's event that became *event*, as if it had come from the broker just now.

    Args:
        event: of an archive.
        codec: reads it; one with the registry of this process if None.

    Raises:
        CorruptMessage: it came from nowhere else (``event.message`` is None), or its
            bytes are not what a recorder writes.
    """
    message = recorded_message(event)
    try:
        (found,) = (codec or _codec).decode(message.routing_key, message.headers, message.body)
    except ValueError as exc:  # a CorruptMessage, or another number of events than one
        raise CorruptMessage(f"the message of event {event.id!r} cannot be read: {exc}") from exc
    return found


def recorded_message(event: Event) -> Message:
    """Return the message that carries *event* alone, to be sent once more.

    Raises:
        CorruptMessage: as for ``decode_recorded``; the body itself is not looked into.
    """
    if event.message is None:
        raise CorruptMessage(
            f"event {event.id!r} of {event.source!r} did not come from a bus: it has no message"
        )
    return unpack_message(event.message)


def pack_message(message: Message) -> bytes:
    """Return *message* as ``Event.message`` has it: msgpack of [1, routing key, headers, body].

    Of the headers those are kept that belong to the event.
    """
    found = message.headers or {}
    headers = {name: _plain(found[name]) for name in _HEADERS if name in found}
    fields = [MESSAGE_VERSION, message.routing_key, headers or None, message.body]
    return packing.library.pack(fields)


def unpack_message(data: bytes) -> Message:
    """Return the message that ``pack_message`` wrote as *data*.

    Raises:
        CorruptMessage: it is none of this format.
    """
    library = packing.library
    try:
        fields: Any = library.unpack(data, ext_hook=library.ext_hook)
    except (ValueError, RecursionError) as exc:
        raise CorruptMessage(f"{len(data)} bytes are no recorded message: {exc}") from exc
    if type(fields) is not list or not fields or fields[0] != MESSAGE_VERSION:
        raise CorruptMessage(f"{len(data)} bytes are no recorded message of format 1")
    types = [type(one) for one in fields[1:4]]
    if types not in ([str, dict, bytes], [str, type(None), bytes]):
        raise CorruptMessage("a recorded message has a field of the wrong type, or lacks one")
    return Message(fields[1], fields[3], fields[2], persistent=True)


def _content(parts: dict[str, Any]) -> str:
    text = to_json(parts, ascii_only=False)
    if len(text) <= MAX_CONTENT:
        return text
    left, attributes = MAX_CONTENT, {}
    for name, value in parts["attributes"].items():
        attributes[name] = shown = _cut(value)
        left -= len(name) + (len(shown) if isinstance(shown, str) else MAX_CUT)
        if left < 0:
            break
    cut = {**parts, "attributes": attributes, "source": _cut(parts["source"]), "cut": True}
    return to_json(cut, ascii_only=False)


def _cut(value: Any) -> Any:
    """Return *value*, or the beginning of its JSON if that is long."""
    text = to_json(value, ascii_only=False)
    return value if len(text) <= MAX_CUT else text[:MAX_CUT]


def _seconds(time_ns: int) -> float:
    try:
        return time_ns / _NS
    except OverflowError:
        return 0.0  # the sender's clock is beyond all years


def _word(value: object) -> str | None:
    """Return *value* as it stands in a tag; None for what nobody would look for."""
    if isinstance(value, bool) or not isinstance(value, str | int | float | UUID):
        return None
    word = str(value)
    return word if len(word) <= MAX_INDEXED else None


def _clean(text: str) -> str:
    """Return *text* with half characters, which no archive can write, escaped."""
    return text if text.isprintable() else text.encode("utf-8", "backslashreplace").decode()


def _plain(value: Any) -> Any:
    # AMQP libraries have types of their own for numbers and lists.
    if isinstance(value, str):
        return str(value)
    return [str(one) for one in value] if isinstance(value, list | tuple) else None
