"""Events to bytes and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from antiphon.errors import CorruptMessage, UnencodableAttribute
from antiphon.events.abstract_event_manager import BaseEvent
from antiphon.events.delivery import Delivery
from antiphon.events.event_id import PUBLISHER_BYTES, EventId
from antiphon.wire import packing
from antiphon.wire.registry import ClassRegistry, default_registry
from antiphon.wire.routing import RoutingKey, parse_routing_key, routing_key
from antiphon.wire.source import RemoteSource
from antiphon.wire.values import MAX_DEPTH, Refused, array_header, is_too_deep, to_plain

#: First item of every body; another number is another format.
FORMAT_VERSION = 1
#: Bytes of the longest body that is written or read: RabbitMQ 4's own limit.
MAX_BODY_BYTES = 16 * 1024 * 1024
#: Bytes that ``join`` adds at most.
JOIN_BYTES = 6

COUNTER, PUBLISHER, TIME_NS, ATTRIBUTES, SOURCE, POSITION, REPLAYED, TRACEPARENT = range(8)

#: Makes the source of an arriving event of (kind, origin, store_id).
ResolveSource = Callable[[str, "str | None", "UUID | None"], object]

_MAX_CACHED = 4096
_SCALAR_SOURCES = frozenset({bool, int, float, str, bytes})
_set_dict = BaseEvent.__dict__["__dict__"].__set__
# What could begin a container; a message with few such bytes cannot be deeply nested.
_NOT_CONTAINERS = bytes(
    byte
    for byte in range(256)
    if not (0x80 <= byte <= 0x9F or 0xC7 <= byte <= 0xC9 or 0xD4 <= byte <= 0xD8 or byte >= 0xDC)
)


class Encoded(NamedTuple):
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


class _Arrival(NamedTuple):
    """What the routing key of a message says, worked out once."""

    cls: type[BaseEvent]
    new: Callable[[type[BaseEvent]], BaseEvent]
    origin: str | None
    generation: int


class Codec:
    """Turns events into bytes, and bytes from anywhere into events.

    Thread-safe; one for a process is enough.

    Args:
        registry: knows the names of classes.
        max_body_bytes: longest body that is read, and longest envelope (less a
            few bytes) that is written.
    """

    def __init__(
        self,
        registry: ClassRegistry = default_registry,
        *,
        max_body_bytes: int = MAX_BODY_BYTES,
        library: packing.MsgpackLibrary | packing.OrmsgpackLibrary = packing.library,
    ) -> None:
        self.registry = registry
        self.max_body_bytes = max_body_bytes
        self._library = library
        self._keys: dict[tuple[tuple[str, ...], str | None], RoutingKey] = {}
        self._arrivals: dict[str, _Arrival] = {}
        self._store_ids: dict[bytes, UUID] = {}

    # -- Encoding ------------------------------------------------------------

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
            UnencodableAttribute: an attribute cannot travel; names it.
            NameConflict: another class claims the name of the event's class.
        """
        cls = type(event)
        names = self.registry.names_of(cls)
        keyed = self._keys.get((names, origin)) or self._key(names, origin)
        state = vars(event)
        attributes = {k: v for k, v in state.items() if k != "source" and k[:1] != "_"}
        head: dict[int, Any] = {COUNTER: event_id[1], PUBLISHER: event_id[0], TIME_NS: time_ns}
        source = state.get("source")
        if source is not None:
            head[SOURCE] = self._source_fields(source, origin)
        position = event._position
        if position is not None:
            head[POSITION] = _position_fields(position, source)
        if replayed:
            head[REPLAYED] = True
        if traceparent is not None:
            head[TRACEPARENT] = traceparent
        # The attributes come last, so that their bytes take the place of this nil.
        head[ATTRIBUTES] = None
        try:
            packed = self._library.pack_attributes(attributes)
            envelope = self._library.pack(head)[:-1] + packed
        except TypeError as exc:
            raise self._refusal(cls, attributes, exc) from exc
        if len(envelope) > MAX_DEPTH:
            self._check_size(cls, attributes, envelope)
        return Encoded(keyed[0], keyed[1], envelope)

    def _key(self, names: tuple[str, ...], origin: str | None) -> RoutingKey:
        keyed = routing_key(names, origin)
        if len(self._keys) >= _MAX_CACHED:
            self._keys.clear()
        self._keys[names, origin] = keyed
        return keyed

    def _source_fields(self, source: Any, origin: str | None) -> object:
        if type(source) in _SCALAR_SOURCES:
            return source
        kind = source.kind if type(source) is RemoteSource else type(source).__name__
        own_origin = getattr(source, "origin", None)
        store_id = getattr(source, "store_id", None)
        shown = own_origin if isinstance(own_origin, str) and own_origin != origin else None
        raw = store_id.bytes if isinstance(store_id, UUID) else None
        if shown is None and own_origin is None and origin is not None:
            return [kind, None, raw, False]
        return [kind, shown, raw]

    def _refusal(
        self, cls: type[BaseEvent], attributes: Mapping[Any, Any], cause: Exception
    ) -> UnencodableAttribute:
        for name, value in attributes.items():
            if not isinstance(name, str):
                return UnencodableAttribute(f"{cls.__name__} has an attribute named {name!r}")
            try:
                to_plain(name, self._library)
                to_plain(value, self._library)
            except Refused as exc:
                where = f"{cls.__name__}.{name}{exc.path}"
                return UnencodableAttribute(f"{where} cannot travel: {exc.reason}")
        return UnencodableAttribute(f"{cls.__name__} cannot travel: {cause}")

    def _check_size(
        self, cls: type[BaseEvent], attributes: Mapping[str, Any], envelope: bytes
    ) -> None:
        if len(envelope) > self.max_body_bytes - JOIN_BYTES:
            largest = max(
                attributes,
                key=lambda name: len(self._library.pack_attributes({name: attributes[name]})),
            )
            raise UnencodableAttribute(
                f"{cls.__name__} takes {len(envelope)} bytes, most of them in {largest!r} "
                f"(at most {self.max_body_bytes - JOIN_BYTES} travel)"
            )
        if len(envelope.translate(None, _NOT_CONTAINERS)) > MAX_DEPTH:
            for name, value in attributes.items():
                if is_too_deep([value]):
                    raise UnencodableAttribute(
                        f"{cls.__name__}.{name} cannot travel: it is nested deeper than "
                        f"{MAX_DEPTH} levels"
                    )

    @staticmethod
    def join(envelopes: Sequence[bytes]) -> bytes:
        """Return the body of a message with these envelopes, in this order."""
        return array_header(len(envelopes) + 1) + b"\x01" + b"".join(envelopes)

    # -- Decoding ------------------------------------------------------------

    def decode(
        self,
        routing_key: str,
        headers: Mapping[str, Any] | None,
        body: bytes,
        resolve_source: ResolveSource | None = None,
    ) -> list[BaseEvent]:
        """Return the events of a message, in order.

        Args:
            routing_key: the message's routing key.
            headers: its headers, or None.
            body: what ``join`` made.
            resolve_source: called with (kind, origin, store_id) of each
                event's source that is an object; makes a ``RemoteSource`` if None.

        Raises:
            CorruptMessage: it is no message of this format.  Nothing else is
                raised but what *resolve_source* raises, whatever the bytes.
        """
        arrival = self._arrivals.get(routing_key)
        if arrival is None or arrival[3] != self.registry.generation:
            arrival = self._arrival(routing_key, headers)
        if len(body) > self.max_body_bytes:
            raise CorruptMessage(
                f"body has {len(body)} bytes (at most {self.max_body_bytes} are read)"
            )
        try:
            envelopes = self._library.unpack(body)
        except (ValueError, RecursionError) as exc:
            raise CorruptMessage(f"body of {len(body)} bytes is no message: {exc}") from exc
        if type(envelopes) is not list or not envelopes or type(envelopes[0]) is not int:
            raise CorruptMessage("body is no sequence of envelopes")
        if envelopes[0] != FORMAT_VERSION:
            raise CorruptMessage(
                f"body is of format {envelopes[0]} (this version reads {FORMAT_VERSION})"
            )
        may_be_deep = (
            len(body) > MAX_DEPTH and len(body.translate(None, _NOT_CONTAINERS)) > MAX_DEPTH
        )
        make_source = resolve_source or RemoteSource
        return [
            self._open(envelope, arrival, make_source, may_be_deep) for envelope in envelopes[1:]
        ]

    def _arrival(self, key: str, headers: Mapping[str, Any] | None) -> _Arrival:
        generation = self.registry.generation
        names, origin = parse_routing_key(key, headers)
        cls = self.registry.class_of(names)
        arrival = _Arrival(cls, _constructor(cls), origin, generation)
        if "~" not in key and not key.startswith("!"):
            if len(self._arrivals) >= _MAX_CACHED:
                self._arrivals.clear()
            self._arrivals[key] = arrival
        return arrival

    def _open(
        self, envelope: Any, arrival: _Arrival, make_source: ResolveSource, may_be_deep: bool
    ) -> BaseEvent:
        try:
            counter, publisher = envelope[COUNTER], envelope[PUBLISHER]
            time_ns, attributes = envelope[TIME_NS], envelope[ATTRIBUTES]
        except (KeyError, TypeError, IndexError) as exc:
            raise CorruptMessage(f"envelope lacks a field: {exc!r}") from exc
        if (
            type(counter) is not int
            or type(publisher) is not bytes
            or len(publisher) != PUBLISHER_BYTES
            or type(time_ns) is not int
            or type(attributes) is not dict
        ):
            raise CorruptMessage("envelope has a field of the wrong type")
        for name in attributes:
            if type(name) is not str or name[:1] == "_" or name == "source":
                raise CorruptMessage(f"envelope has an attribute named {str(name)[:80]!r}")
        if may_be_deep and is_too_deep(attributes, MAX_DEPTH + 1):
            raise CorruptMessage(f"envelope has values nested deeper than {MAX_DEPTH} levels")
        get = envelope.get
        origin = arrival[2]
        fields, position = get(SOURCE), get(POSITION)
        store_id = None
        if type(fields) is list:
            kind, own_origin, store_id = self._open_source(fields, origin)
            attributes["source"] = make_source(kind, own_origin, store_id)
        else:
            if fields is not None and type(fields) not in _SCALAR_SOURCES:
                raise CorruptMessage("envelope has a source of the wrong type")
            attributes["source"] = fields
        if position is not None:
            position = self._open_position(position, store_id)
            attributes["_position"] = position
        event_id = EventId(publisher, counter)
        traceparent = get(TRACEPARENT)
        attributes["_event_id"] = event_id
        attributes["_delivery"] = Delivery(
            event_id,
            origin,
            time_ns,
            position,
            get(REPLAYED) is True,
            traceparent if type(traceparent) is str else None,
        )
        event = arrival[1](arrival[0])
        _set_dict(event, attributes)
        return event

    def _open_source(
        self, fields: list[Any], origin: str | None
    ) -> tuple[str, str | None, UUID | None]:
        if len(fields) < 3:
            raise CorruptMessage("envelope has a source with too few fields")
        kind, own_origin, raw = fields[:3]
        if own_origin is None and len(fields) == 3:
            own_origin = origin
        if type(kind) is not str or not (own_origin is None or type(own_origin) is str):
            raise CorruptMessage("envelope has a source with a field of the wrong type")
        return kind, own_origin, None if raw is None else self._store_id(raw)

    def _open_position(self, fields: Any, store_id: UUID | None) -> tuple[Any, ...]:
        if type(fields) is not list or len(fields) < 3:
            raise CorruptMessage("envelope has a position with too few fields")
        epoch, sequence, entry_id = fields[:3]
        if len(fields) > 3:
            store_id = self._store_id(fields[3])
        if (
            store_id is None
            or type(epoch) is not int
            or type(sequence) is not int
            or type(entry_id) is not bytes
        ):
            raise CorruptMessage("envelope has a position with a field of the wrong type")
        return (store_id, epoch, sequence, entry_id)

    def _store_id(self, raw: Any) -> UUID:
        if type(raw) is not bytes or len(raw) != 16:
            raise CorruptMessage("envelope has a store id that is not 16 bytes")
        store_id = self._store_ids.get(raw)
        if store_id is None:
            if len(self._store_ids) >= _MAX_CACHED:
                self._store_ids.clear()
            store_id = self._store_ids[raw] = UUID(bytes=raw)
        return store_id


def _position_fields(position: Any, source: Any) -> list[Any]:
    store_id, epoch, sequence, entry_id = position
    if getattr(source, "store_id", None) == store_id:
        return [epoch, sequence, entry_id]
    return [epoch, sequence, entry_id, store_id.bytes]


def _constructor(cls: type) -> Callable[[Any], Any]:
    """Return the C function that makes an instance of *cls* without running users' code."""
    base = cls
    while base.__flags__ & (1 << 9):  # Py_TPFLAGS_HEAPTYPE: made by a class statement
        base = base.__base__  # type: ignore[assignment]
    new: Callable[[Any], Any] = base.__new__
    return new
