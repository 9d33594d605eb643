"""Events to bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias
from uuid import UUID

from antiphon.errors import UnencodableAttribute
from antiphon.events.abstract_event_manager import BaseEvent
from antiphon.events.event_id import EventId
from antiphon.wire import packing
from antiphon.wire.envelope import (
    BODY_HEAD_BYTES,
    FORMAT_VERSION,
    MAX_BODY_BYTES,
    MAX_CACHED,
    MAX_CONTAINERS,
    MAX_SOURCE_BYTES,
    VALUE_SOURCES,
    has_many_containers,
    may_have_too_many_containers,
)
from antiphon.wire.registry import ClassRegistry, KnownClass, default_registry
from antiphon.wire.routing import routing_key
from antiphon.wire.source import RemoteSource
from antiphon.wire.values import (
    LEAVES,
    MAX_DEPTH,
    Refused,
    array_header,
    is_too_deep,
    is_utf8,
    to_plain,
)

_VERSION = bytes((FORMAT_VERSION,))
_ONE_ENVELOPE = array_header(2) + _VERSION
_NOTHING = object()
#: Bytes of the shortest envelope with a value that is too deep: a byte for each container, one
#: for the envelope, counter, time and attributes each, 14 for the publisher, two for the name,
#: and four fields left empty.
_LEAST_DEEP_BYTES = MAX_DEPTH + 25
_new_object = object.__new__

#: Routing key and headers.
Keyed: TypeAlias = tuple[str, dict[str, Any] | None]


# Not frozen, and no named tuple: those take two to five times as long to make.
@dataclass(slots=True)
class Encoded:
    """An event as it travels.

    Attributes:
        routing_key: at most 255 bytes of UTF-8.
        headers: headers that complete the key; None if it says all.
        envelope: one event's bytes, to be joined with others of the same key
            and headers into a body.
    """

    routing_key: str
    headers: dict[str, Any] | None
    envelope: bytes


class Encoder:
    """The half of ``Codec`` that writes."""

    def __init__(
        self,
        registry: ClassRegistry = default_registry,
        *,
        max_body_bytes: int = MAX_BODY_BYTES,
        library: packing.Library = packing.library,
    ) -> None:
        self.registry = registry
        self.max_body_bytes = max_body_bytes
        self._short_bytes = min(max_body_bytes - BODY_HEAD_BYTES, MAX_CONTAINERS)
        self._library = library
        self._pack_quickly = library.pack_quickly
        self._default, self._option = library.default, library.option
        # The registry's own dict, so that a class in use costs one look-up and no call.
        self._known = registry.in_use
        # Store id, type, origin, message's origin and field of the store that was the last source.
        # (It keeps a type alive; stores last.)
        self._told: tuple[Any, ...] = (_NOTHING, None, None, None, None)
        # kind, origin, message's origin and bytes of the store id -> the field of any object.
        self._references: dict[tuple[Any, ...], bytes] = {}

    def encode(
        self,
        event: BaseEvent,
        *,
        origin: str | None,
        event_id: EventId,
        time_ns: int,
        replayed: bool = False,
        traceparent: str | None = None,
    ) -> Encoded:
        """Return *event* as it travels.

        Args:
            event: any event; what is in its ``__dict__`` travels, but for
                names with a leading underscore.
            origin: where it comes from, dotted words; None for nowhere.
            event_id: its identity.
            time_ns: when it happened, nanoseconds since the Unix epoch, UTC.
            replayed: whether it is sent again from an archive or an outbox.
            traceparent: W3C trace context.

        Raises:
            UnencodableAttribute: an attribute cannot travel, or it is all too
                long; names class and attribute.
            NameConflict: another class claims the name of the event's class.
            WireError: the class or the origin has too long a name.
        """
        (key, headers), envelope = self.pack(
            event, origin, event_id, time_ns, replayed, traceparent
        )
        # Attribute by attribute takes half the time of __init__.
        encoded = _new_object(Encoded)
        encoded.routing_key, encoded.headers, encoded.envelope = key, headers, envelope
        return encoded

    def pack(
        self,
        event: BaseEvent,
        origin: str | None,
        event_id: tuple[bytes, int],
        time_ns: int,
        replayed: bool = False,
        traceparent: str | None = None,
    ) -> tuple[Keyed, bytes]:
        """Return what ``encode`` does, as plain tuples: for those whom a microsecond matters to.

        The key and the headers are mostly the same object for events of one
        class and origin.
        """
        # One function for all that every event needs: a call costs as much as ten of these lines.
        cls = type(event)
        known = self._known.get(id(cls)) or self.registry.known(cls)
        keyed = known.keys.get(origin) or self._key(known, origin)
        # Taking the usual ones out and comparing the rest with names seen before takes a
        # third of the time of looking at each name.
        attributes = event.__dict__.copy()
        source = position = store_id = None
        if "source" in attributes:
            source = attributes["source"]
            del attributes["source"]
        if "_position" in attributes:
            position = attributes["_position"]
            del attributes["_position"]
        if "_event_id" in attributes:
            del attributes["_event_id"]
        if not known.attributes.issuperset(attributes):
            attributes = self._travelling(known, attributes)
        if source is not None:
            store_id = getattr(source, "store_id", None)
            told = self._told
            try:
                if (
                    told[0] is not store_id
                    or told[1] is not type(source)
                    or told[2] != source.origin
                    or told[3] != origin
                ):
                    told = self._tell(source, store_id, origin)
            except AttributeError:
                told = self._tell(source, store_id, origin)
            source = told[4]
        if position is None:
            epoch = sequence = entry_id = None
            is_rare = replayed
        else:
            own_id, epoch, sequence, entry_id = position
            is_rare = replayed or own_id is not store_id
        publisher, counter = event_id
        fields: list[Any] = [
            counter,
            publisher,
            time_ns,
            attributes,
            source,
            epoch,
            sequence,
            entry_id,
        ]
        if is_rare or traceparent is not None:
            fields += _rare_fields(position, store_id, replayed, traceparent)
        try:
            envelope = self._pack_quickly(fields, self._default, self._option)
        except (TypeError, RecursionError):
            envelope = self._pack_slowly(cls, fields)
        if len(envelope) >= _LEAST_DEEP_BYTES:
            # Half the time of a look at the bytes, and mostly enough.
            for value in fields[3].values():
                kind = type(value)
                if kind not in LEAVES and not (
                    kind is dict and LEAVES.issuperset(map(type, value.values()))
                ):
                    self._check_size(cls, fields, envelope)
                    return keyed, envelope
            if len(envelope) > self._short_bytes:
                self._check_size(cls, fields, envelope)
        return keyed, envelope

    def _key(self, known: KnownClass, origin: str | None) -> Keyed:
        key, headers = routing_key(known.names, origin)
        keyed = (key, headers)  # a plain tuple: Python unpacks a named one more slowly
        if len(known.keys) >= MAX_CACHED:
            known.keys.clear()
        known.keys[origin] = keyed
        return keyed

    def _travelling(self, known: KnownClass, state: dict[Any, Any]) -> dict[str, Any]:
        """Return those of *state* that travel, and remember their names."""
        attributes = {}
        for name, value in state.items():
            if not isinstance(name, str) or not name or not is_utf8(name):
                raise UnencodableAttribute(
                    f"{known.names[-1]} has an attribute named {name!r} (a name is text, not "
                    f"empty, without lone surrogates)"
                )
            if name[0] != "_":
                attributes[str.__str__(name)] = value
        if len(known.attributes) + len(attributes) > MAX_CACHED:
            known.attributes.clear()
        known.attributes.update(attributes)
        return attributes

    def _tell(self, source: Any, store_id: object, origin: str | None) -> tuple[Any, ...]:
        """Return what *source* is told apart by, and the field that tells of it."""
        if store_id is None and isinstance(source, VALUE_SOURCES):
            return (None, None, None, None, [source])
        own_origin = getattr(source, "origin", None)
        if not isinstance(own_origin, str):
            own_origin = None
        kind = source.kind if type(source) is RemoteSource else type(source).__name__
        raw_id = store_id.bytes if isinstance(store_id, UUID) else None
        told_by = (kind, own_origin, origin, raw_id)
        field = self._references.get(told_by)
        if field is None:
            field = self._library.pack(_reference(*told_by))
            if len(field) > MAX_SOURCE_BYTES:
                raise UnencodableAttribute(
                    f"a source takes {len(field)} bytes (at most {MAX_SOURCE_BYTES} travel): its "
                    "origin or the name of its class is too long"
                )
            if len(self._references) >= MAX_CACHED:
                self._references.clear()
            self._references[told_by] = field
        told = (store_id, type(source), own_origin, origin, field)
        if raw_id is not None and type(source) is not RemoteSource:
            self._told = told
        return told

    def _pack_slowly(self, cls: type[BaseEvent], fields: list[Any]) -> bytes:
        """Return the bytes of *fields*, or find out which attribute cannot travel."""
        attributes = fields[3]
        plain = {}
        named = list(attributes.items())
        if type(fields[4]) is list:
            named.append(("source", fields[4][0]))
        for name, value in named:
            try:
                plain[str.__str__(name)] = to_plain(value, self._library)
            except Refused as exc:
                where, reason = f"{cls.__name__}.{name}{exc.path}", exc.reason
            except RecursionError:
                where, reason = f"{cls.__name__}.{name}", "it is nested too deeply"
            else:
                continue
            raise UnencodableAttribute(f"{where} cannot travel: {reason}")
        if type(fields[4]) is list:
            fields[4] = [plain.pop("source")]
        fields[3] = plain
        return self._library.pack(fields)

    def _check_size(self, cls: type[BaseEvent], fields: list[Any], envelope: bytes) -> None:
        limit = self.max_body_bytes - BODY_HEAD_BYTES
        if len(envelope) > limit:
            parts = {"source": fields[4], **fields[3]}
            sizes = {
                name: len(self._library.pack(to_plain(part, self._library)))
                for name, part in parts.items()
            }
            raise UnencodableAttribute(
                f"{cls.__name__}.{max(sizes, key=sizes.__getitem__)} is too long: the event takes "
                f"{len(envelope)} bytes (at most {limit} travel)"
            )
        if may_have_too_many_containers(envelope) and packing.has_more_containers(
            envelope, MAX_CONTAINERS - 1
        ):
            raise UnencodableAttribute(
                f"{cls.__name__} cannot travel: it has more than {MAX_CONTAINERS} lists, dicts, "
                "tuples, sets, dates and the like; give them as bytes"
            )
        if has_many_containers(envelope):
            for name, value in fields[3].items():
                if is_too_deep([value], MAX_DEPTH + 1):
                    raise UnencodableAttribute(
                        f"{cls.__name__}.{name} cannot travel: it is nested deeper than "
                        f"{MAX_DEPTH} levels"
                    )

    @staticmethod
    def join(envelopes: Sequence[bytes]) -> bytes:
        """Return the body of a message with these envelopes, in this order."""
        if len(envelopes) == 1:
            return _ONE_ENVELOPE + envelopes[0]
        return b"".join((array_header(len(envelopes) + 1), _VERSION, *envelopes))

    @staticmethod
    def joined_in(body: bytes) -> int:
        """Return how many envelopes ``join`` made *body* of; 1 for what is no such body."""
        head = body[:5]
        if head[:1] == b"\xdc":
            return max(1, int.from_bytes(head[1:3], "big") - 1)
        if head[:1] == b"\xdd":
            return max(1, int.from_bytes(head[1:5], "big") - 1)
        return max(1, (head[0] & 0x0F) - 1) if head and head[0] & 0xF0 == 0x90 else 1


def _reference(
    kind: str, own_origin: str | None, origin: str | None, raw_id: bytes | None
) -> list[object]:
    """Return what tells of a source that does not travel itself."""
    if own_origin == origin:
        return [kind, None, raw_id]  # it is the message's
    if own_origin is None:
        return [kind, False, raw_id]
    if is_utf8(own_origin):
        return [kind, own_origin, raw_id]
    return [kind, own_origin.encode("utf-8", "surrogatepass"), raw_id]


def _rare_fields(
    position: Any, store_id: object, replayed: bool, traceparent: str | None
) -> list[Any]:
    """Return the fields that most envelopes leave out."""
    own_id = None if position is None else position[0]
    position_id = None if own_id is None or own_id == store_id else own_id.bytes
    fields = [position_id, True if replayed else None, traceparent]
    while fields and fields[-1] is None:
        fields.pop()
    return fields
