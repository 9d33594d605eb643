"""Bytes from anywhere to events."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from types import GetSetDescriptorType
from typing import Any, TypeAlias
from uuid import UUID

from antiphon.errors import CorruptMessage
from antiphon.events import abstract_event_manager as _events
from antiphon.events.abstract_event_manager import BaseEvent
from antiphon.events.event_id import PUBLISHER_BYTES
from antiphon.wire import packing
from antiphon.wire.envelope import (
    FIELDS,
    FORMAT_VERSION,
    MAX_BODY_BYTES,
    MAX_CACHED,
    MAX_CONTAINERS,
    MAX_SOURCE_BYTES,
    REQUIRED_FIELDS,
    UNREADABLE_HEADER,
    USUAL_FIELDS,
    VALUE_SOURCES,
    has_many_containers,
    may_have_too_many_containers,
)
from antiphon.wire.registry import ClassRegistry, default_registry
from antiphon.wire.routing import CLASSES_HEADER, ORIGIN_HEADER, is_exact, parse_routing_key
from antiphon.wire.source import RemoteSource
from antiphon.wire.values import DECODED_CONTAINERS, MAX_DEPTH, are_too_deep

#: Makes the source of an arriving event of (kind, origin, store_id).
ResolveSource: TypeAlias = Callable[[str, "str | None", "UUID | None"], object]

# Equals no publisher that can arrive, nil included.
_NOBODY = object()
# Envelopes in a body from which on each is looked at, instead of the bytes of all.
_MANY = 16
# C functions only, so that no bytes run a method of the users': their classes may replace
# __setattr__, and __init__ wants arguments.
_set_dict = BaseEvent.__dict__["__dict__"].__set__


class _Arrival:
    """What the routing key of a message says, worked out once.

    Attributes:
        stamp: of the registry, when it was worked out.
        cls: the class of the events; weak, for a cache is no reason for it to live on.
        new: makes an instance of it.
        is_plain: whether assigning to ``__dict__`` of an instance is Python's own doing.
        origin: the origin of the events.
        attributes: names of attributes that were found to be allowed.
        sources: bytes of the source field -> source, its store id.
    """

    __slots__ = ("attributes", "cls", "is_plain", "new", "origin", "sources", "stamp")

    def __init__(self, stamp: int, cls: type[BaseEvent], origin: str | None) -> None:
        self.stamp = stamp
        self.cls = weakref.ref(cls)
        self.new = _constructor(cls)
        self.is_plain = not any(_replaces_assignment(one) for one in cls.__mro__[:-1])
        self.origin = origin
        self.attributes: set[str] = set()
        self.sources: dict[bytes, tuple[RemoteSource, UUID | None]] = {}


class Decoder:
    """The half of ``Codec`` that reads."""

    def __init__(
        self,
        registry: ClassRegistry = default_registry,
        *,
        max_body_bytes: int = MAX_BODY_BYTES,
        library: packing.Library = packing.library,
    ) -> None:
        self.registry = registry
        self.max_body_bytes = max_body_bytes
        self._unpack, self._ext_hook = library.unpack, library.ext_hook
        self._arrivals: dict[object, _Arrival] = {}
        self._store_ids: dict[bytes, UUID] = {}

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
        # One function for all that every event needs: a call costs as much as ten of these lines.
        arrival = self._arrivals.get(routing_key)
        stamp = self.registry.claims_made + _events.subclasses_made
        cls = None if arrival is None or arrival.stamp != stamp else arrival.cls()
        if arrival is None or cls is None:
            arrival, cls = self._arrival(routing_key, headers)
        if len(body) > self.max_body_bytes:
            raise CorruptMessage(
                f"body has {len(body)} bytes (at most {self.max_body_bytes} are read)"
            )
        if len(body) > MAX_CONTAINERS and has_too_many_containers(body):
            raise CorruptMessage(f"body has more than {MAX_CONTAINERS} containers")
        try:
            envelopes: Any = self._unpack(body, ext_hook=self._ext_hook)
        except (ValueError, RecursionError) as exc:
            unreadable = headers and headers.get(UNREADABLE_HEADER)
            why = unreadable or packing.reason(body, exc)
            raise CorruptMessage(f"body of {len(body)} bytes is no message: {why}") from exc
        # Its type too: Python calls True and 1.0 equal to 1.
        if (
            type(envelopes) is not list
            or len(envelopes) < 2
            or envelopes[0] != FORMAT_VERSION
            or type(envelopes[0]) is not int
        ):
            raise CorruptMessage(f"body is no sequence of envelopes of format {FORMAT_VERSION}")
        # Short bodies cannot be deep, and counting bytes is for nothing if there are many events.
        may_be_deep = len(body) > MAX_DEPTH and (
            len(envelopes) > _MANY or has_many_containers(body)
        )
        seen, sources, origin = arrival.attributes, arrival.sources, arrival.origin
        new, is_plain = arrival.new, arrival.is_plain
        events: list[BaseEvent] = []
        containers: list[Any] = []
        known_publisher: Any = _NOBODY  # mostly all events have one, whose bytes are kept once
        del envelopes[0]
        for envelope in envelopes:
            position_id, replayed, traceparent = None, False, None
            try:
                counter, publisher, time_ns, attributes, source, epoch, sequence, entry_id = (
                    envelope
                )
            except (ValueError, TypeError):
                envelope = _all_fields(envelope)
                counter, publisher, time_ns, attributes, source, epoch, sequence, entry_id = (
                    envelope[:USUAL_FIELDS]
                )
                position_id, replayed, traceparent = envelope[USUAL_FIELDS:]
            if publisher != known_publisher:
                if type(publisher) is not bytes or len(publisher) != PUBLISHER_BYTES:
                    raise CorruptMessage("envelope has a publisher that is not 12 bytes")
                known_publisher = publisher
            if type(counter) is not int or type(time_ns) is not int or type(attributes) is not dict:
                raise CorruptMessage("envelope has a field of the wrong type")
            if not seen.issuperset(attributes):
                _check_names(attributes, seen)
            if may_be_deep:
                for value in attributes.values():
                    if type(value) in DECODED_CONTAINERS:
                        containers.append(value)
            store_id = None
            if source is not None:
                try:
                    source, store_id = sources[source]
                except (KeyError, TypeError):
                    source, store_id = self._source(source, arrival)
                if resolve_source is not None and type(source) is RemoteSource:
                    source = resolve_source(source.kind, source.origin, store_id)
            attributes["source"] = source
            position = None
            if epoch is not None:
                if position_id is not None:
                    store_id = self._store_id(position_id)
                if (
                    type(epoch) is not int
                    or type(sequence) is not int
                    or type(entry_id) is not bytes
                    or store_id is None
                ):
                    raise CorruptMessage("envelope has a position with a field of the wrong type")
                attributes["_position"] = position = (store_id, epoch, sequence, entry_id)
            attributes["_came"] = (
                known_publisher,
                counter,
                origin,
                time_ns,
                position,
                replayed,
                traceparent,
            )
            event = new(cls)
            if is_plain:
                event.__dict__ = attributes
            else:
                _set_dict(event, attributes)
            events.append(event)
        if containers and are_too_deep(containers, MAX_DEPTH):
            raise CorruptMessage(f"envelope has values nested deeper than {MAX_DEPTH} levels")
        return events

    def _arrival(
        self, key: str, headers: Mapping[str, Any] | None
    ) -> tuple[_Arrival, type[BaseEvent]]:
        # Before the class is looked up: one that appears meanwhile must be found next time.
        stamp = self.registry.stamp
        if type(key) is not str:  # as AMQP libraries hand over what is no UTF-8
            raise CorruptMessage("routing key is no UTF-8")
        cached: object = key
        if headers and not is_exact(key):
            try:
                classes = tuple(headers.get(CLASSES_HEADER) or ())
                cached = (key, classes, headers.get(ORIGIN_HEADER))
                found = self._arrivals.get(cached)
            except TypeError:
                raise CorruptMessage("a header has the wrong type") from None
            cls = None if found is None or found.stamp != stamp else found.cls()
            if found is not None and cls is not None:
                return found, cls
        names, origin = parse_routing_key(key, headers)
        cls = self.registry.class_of(names)
        arrival = _Arrival(stamp, cls, origin)
        if len(self._arrivals) >= MAX_CACHED:
            self._arrivals.clear()
        self._arrivals[cached] = arrival
        return arrival, cls

    def _source(self, field: Any, arrival: _Arrival) -> tuple[object, UUID | None]:
        """Return the source that *field* tells of, and the id of the store that it is."""
        if type(field) is list and len(field) == 1 and isinstance(field[0], VALUE_SOURCES):
            return field[0], None
        if isinstance(field, bytes) and len(field) > MAX_SOURCE_BYTES:
            raise CorruptMessage(
                f"envelope has a source of {len(field)} bytes (at most {MAX_SOURCE_BYTES} are read)"
            )
        try:
            kind, own_origin, raw_id, *_ = self._unpack(field, ext_hook=self._ext_hook)
            if own_origin is None:
                own_origin = arrival.origin
            elif own_origin is False:
                own_origin = None
            elif type(own_origin) is bytes:
                own_origin = own_origin.decode("utf-8", "surrogatepass")
        except (ValueError, TypeError, RecursionError) as exc:
            raise CorruptMessage(f"envelope has a malformed source: {exc}") from exc
        if type(kind) is not str or not (own_origin is None or type(own_origin) is str):
            raise CorruptMessage("envelope has a source with a field of the wrong type")
        store_id = None if raw_id is None else self._store_id(raw_id)
        if len(arrival.sources) >= MAX_CACHED:
            arrival.sources.clear()
        found = arrival.sources[field] = (RemoteSource(kind, own_origin, store_id), store_id)
        return found

    def _store_id(self, raw: Any) -> UUID:
        if type(raw) is not bytes or len(raw) != 16:
            raise CorruptMessage("envelope has a store id that is not 16 bytes")
        store_id = self._store_ids.get(raw)
        if store_id is None:
            if len(self._store_ids) >= MAX_CACHED:
                self._store_ids.clear()
            store_id = self._store_ids[raw] = UUID(bytes=raw)
        return store_id


def has_too_many_containers(data: bytes) -> bool:
    """Return whether *data* has more than ``MAX_CONTAINERS``: first a quick look, then a count."""
    return may_have_too_many_containers(data) and packing.has_more_containers(data, MAX_CONTAINERS)


def _all_fields(envelope: Any) -> list[Any]:
    """Return all fields of *envelope*, what it left out included."""
    if type(envelope) is not list or len(envelope) < REQUIRED_FIELDS:
        raise CorruptMessage("envelope is no array, or lacks a field")
    fields = (envelope[:FIELDS] + [None] * FIELDS)[:FIELDS]
    replayed, traceparent = fields[-2:]
    fields[-2:] = [replayed is True, traceparent if type(traceparent) is str else None]
    return fields


def _check_names(attributes: dict[Any, Any], seen: set[str]) -> None:
    """Raise if a name must not arrive; remember those that may."""
    for name in attributes:
        if type(name) is not str or name == "" or name[0] == "_" or name == "source":
            raise CorruptMessage(f"envelope has an attribute named {str(name)[:80]!r}")
    if len(seen) + len(attributes) > MAX_CACHED:
        seen.clear()
    if len(attributes) <= MAX_CACHED:
        seen.update(attributes)


def _constructor(cls: type) -> Callable[[Any], Any]:
    """Return the C function that makes an instance of *cls* without running users' code."""
    base = cls
    while base.__flags__ & (1 << 9):  # Py_TPFLAGS_HEAPTYPE: made by a class statement
        base = base.__base__  # type: ignore[assignment]
    new: Any = base.__new__
    return new  # type: ignore[no-any-return]


def _replaces_assignment(cls: type) -> bool:
    """Return whether *cls* has code of its own that assigning to ``__dict__`` would run."""
    own_dict = cls.__dict__.get("__dict__")
    return "__setattr__" in cls.__dict__ or not isinstance(
        own_dict, GetSetDescriptorType | type(None)
    )
