"""Events to bytes and back."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys
import threading
from collections import OrderedDict, defaultdict, namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from pathlib import Path
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antiphon.errors import CorruptMessage, NameConflict, UnencodableAttribute
from antiphon.events.abstract_event_manager import BaseEvent
from antiphon.events.delivery import delivery_of
from antiphon.events.event_id import EventId
from antiphon.events.origin import Prefix
from antiphon.storage.events import StoreSetEvent
from antiphon.storage.journal import Position
from antiphon.wire import ClassRegistry, Codec, RemoteSource, routing_key
from antiphon.wire.packing import Library, MsgpackLibrary, OrmsgpackLibrary
from antiphon.wire.values import MAX_DEPTH, MAX_EXTENSIONS

EVENT_ID = EventId(b"publisher-12", 7)
STORE_ID = UUID("784377e8-2cf1-4d70-a17e-00391584c210")
LIBRARIES: list[Library] = [OrmsgpackLibrary(), MsgpackLibrary()]
CODECS = [Codec(ClassRegistry(), library=library) for library in LIBRARIES]
each_codec = pytest.mark.parametrize("codec", CODECS, ids=lambda c: type(c._library).__name__)


class Sent(BaseEvent):
    """What these tests send."""


class Store:
    """A source with an identity."""

    def __init__(self, origin: object = None, store_id: object = STORE_ID) -> None:
        self.origin = origin
        self.store_id = store_id


def round_trip(event: BaseEvent, codec: Codec = CODECS[0], **more: Any) -> Any:
    """Return what arrives when *event* is sent."""
    arguments = {"origin": "here", "event_id": EVENT_ID, "time_ns": 11, **more}
    resolve = arguments.pop("resolve_source", None)
    encoded = codec.encode(event, **arguments)
    (arrived,) = codec.decode(
        encoded.routing_key, encoded.headers, codec.join([encoded.envelope]), resolve
    )
    return arrived


def refusal(event: BaseEvent, codec: Codec = CODECS[0]) -> str:
    """Return why *event* cannot be sent."""
    with pytest.raises(UnencodableAttribute) as caught:
        codec.encode(event, origin=None, event_id=EVENT_ID, time_ns=0)
    return str(caught.value)


def same(one: Any, other: Any) -> bool:
    """Return whether two values are alike to the last bit and type."""
    if type(one) is not type(other):
        return False
    if isinstance(one, float):
        return math.copysign(1, one) == math.copysign(1, other) and (
            one == other or (math.isnan(one) and math.isnan(other))
        )
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, datetime):
        return (one.replace(tzinfo=None), one.fold * (one.tzinfo is None), one.utcoffset()) == (
            other.replace(tzinfo=None),
            other.fold * (other.tzinfo is None),
            other.utcoffset(),
        )
    if isinstance(one, Decimal):
        return str(one) == str(other)
    return bool(one == other)


# -- What travels exactly ------------------------------------------------------

offsets = st.timedeltas(timedelta(hours=-23, minutes=-59), timedelta(hours=23, minutes=59)).map(
    timezone
)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(2**80), 2**80),
    st.floats(),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    st.binary(max_size=20),
    st.datetimes(timezones=st.none() | st.just(UTC) | offsets),
    st.dates(),
    st.timedeltas(),
    st.uuids(),
    st.decimals(allow_nan=False),
)
hashables = st.recursive(
    scalars.filter(lambda value: value == value),
    lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3),
    max_leaves=5,
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(st.text(max_size=5).filter(str.isascii), inner, max_size=4),
        st.dictionaries(hashables, inner, max_size=4),
        st.sets(hashables, max_size=4),
        st.frozensets(hashables, max_size=4),
    ),
    max_leaves=12,
)
names = st.from_regex(r"[a-zA-Zäéß][a-zA-Z0-9_äéß ]{0,9}", fullmatch=True).filter(
    lambda name: name not in ("source", "self")
)


@settings(deadline=None, max_examples=300)
@given(st.dictionaries(names, values, max_size=4))
def test_attributes_arrive_exactly(attributes: dict[str, Any]) -> None:
    """Every value comes back equal and of the same type, with either library."""
    for codec in CODECS:
        arrived = vars(round_trip(Sent(None, **attributes), codec))
        found = {key: value for key, value in arrived.items() if key[0] != "_"}
        assert found.pop("source") is None
        assert same(attributes, found)


@settings(deadline=None, max_examples=300)
@given(st.dictionaries(names, values, max_size=4))
def test_both_libraries_write_the_same_bytes(attributes: dict[str, Any]) -> None:
    """A process without ormsgpack is understood, and writes the same golden bytes."""
    event = Sent(None, **attributes)
    one, other = (codec.encode(event, origin="a", event_id=EVENT_ID, time_ns=1) for codec in CODECS)

    assert one == other


@pytest.mark.parametrize(
    "number",
    [0, -1, 2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1, 2**1000, -(2**1000)],
)
def test_integers_of_any_size_arrive(number: int) -> None:
    """msgpack ends at 64 bits; an extension goes on."""
    assert number == round_trip(Sent(n=number)).n


def test_nan_arrives_as_nan() -> None:
    """Decimal's quiet ones too."""
    arrived = round_trip(Sent(f=float("nan"), d=Decimal("-NaN123")))

    assert math.isnan(arrived.f)
    assert "-NaN123" == str(arrived.d)


def test_times_keep_offset_and_fold_but_not_the_name_of_the_zone() -> None:
    """A zone arrives as its offset at that moment."""
    berlin = datetime(2026, 10, 25, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"), fold=1)

    arrived = round_trip(Sent(t=berlin, n=datetime(2026, 1, 1, fold=1)))

    assert timedelta(hours=1) == arrived.t.utcoffset()
    assert berlin.timestamp() == arrived.t.timestamp()
    assert 1 == arrived.n.fold


def test_sets_are_written_in_one_order() -> None:
    """Equal sets have equal bytes, whatever the order that hashing gave them."""
    words = [f"word {i}" for i in range(50)]
    bodies = {
        CODECS[0].encode(Sent(s=set(order)), origin=None, event_id=EVENT_ID, time_ns=0).envelope
        for order in (words, words[::-1], sorted(words, key=hash))
    }

    assert 1 == len(bodies)


# -- Subclasses of what travels ------------------------------------------------


class Color(StrEnum):
    """Text with names."""

    RED = "red"


class Level(IntEnum):
    """A number with names."""

    HIGH = 3


class Pure(Enum):
    """Neither."""

    A = "a"


class Loud(str):
    """Text that equals no text."""

    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Loud)

    def __str__(self) -> str:
        return "never asked"


class Meters(float):
    """A number with a unit."""


Point = namedtuple("Point", "x y")


@each_codec
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Color.RED, "red"),
        (Level.HIGH, 3),
        (Meters(1.5), 1.5),
        (Meters("nan"), None),
        (Point(1, (2, 3)), (1, (2, 3))),
        (OrderedDict(a=1), {"a": 1}),
        (defaultdict(list, {1: [2]}), {1: [2]}),
        (bytearray(b"ab"), b"ab"),
        (memoryview(b"ab"), b"ab"),
        ([Color.RED], ["red"]),
        ({Color.RED: Level.HIGH}, {"red": 3}),
        ({Level.HIGH}, {3}),
    ],
    ids=repr,
)
def test_subclasses_travel_as_what_they_equal(codec: Codec, value: Any, expected: Any) -> None:
    """P1: a filter that matches here matches there, since both compare alike."""
    arrived = round_trip(Sent(value=value), codec).value

    if expected is None:
        assert type(arrived) is float
        assert math.isnan(arrived)
    else:
        assert value == arrived
        assert same(expected, arrived)


@dataclass
class Data:
    """A dataclass, which ormsgpack would write as a map."""

    a: int


@each_codec
@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (Pure.A, "give its value"),
        (Loud("a"), "does not equal its str"),
        (Prefix("a"), "does not equal its str"),
        (Data(1), "Data"),
        (Path("x"), "Path"),
        (object(), "object"),
        (1j, "complex"),
        (lambda: 0, "function"),
        (Sent(), "Sent"),
        (int, "type"),
        ("\ud800", "lone surrogate"),
        (Decimal("sNaN"), "signalling"),
        (range(3), "range"),
        (iter(()), "iterator"),
    ],
    ids=repr,
)
def test_what_cannot_travel_is_named(codec: Codec, value: Any, reason: str) -> None:
    """Class, attribute, the path inside it, and the reason; never the value itself."""
    for depth, (wrapped, path) in enumerate(
        [
            (value, ""),
            ({"k": [0, value]}, r"['k'][1]"),
            ((0, {1: {"x": value}}), r"[1][1]['x']"),
        ]
    ):
        text = refusal(Sent(fine=1, broken=wrapped), codec)
        assert f"Sent.broken{path} cannot travel" in text, depth
        assert reason in text


@each_codec
def test_keys_that_cannot_travel_are_named(codec: Codec) -> None:
    """A key is told from its value."""
    assert "Sent.a['b'] cannot travel: of its key <Pure.A" in refusal(
        Sent(a={"b": {Pure.A: 1}}), codec
    )


@each_codec
def test_names_that_cannot_travel_are_errors(codec: Codec) -> None:
    """Attribute names are text that UTF-8 can write."""
    for name in ("", "\ud800", 5):
        event = Sent()
        event.__dict__[name] = 1  # type: ignore[index]
        assert f"attribute named {name!r}" in refusal(event, codec)


@each_codec
def test_a_secret_in_a_value_is_not_told(codec: Codec) -> None:
    """Messages are logged; values may be passwords."""

    class Secret:
        def __repr__(self) -> str:
            return "hunter2"

    assert "hunter2" not in refusal(Sent(password=Secret()), codec)


# -- Depth and size ------------------------------------------------------------


def nested(levels: int, wrap: Callable[[Any], Any]) -> Any:
    """Return *levels* containers inside each other."""
    value = wrap(0)
    for _ in range(levels - 1):
        value = wrap(value)
    return value


@each_codec
def test_what_may_be_sent_can_be_read(codec: Codec) -> None:
    """Both ends have the same limits, so no event is lost on the way."""
    deepest = nested(MAX_DEPTH, lambda inner: [inner])
    tuples = nested(MAX_EXTENSIONS, lambda inner: (inner,))
    mixed = nested(MAX_EXTENSIONS, lambda inner: [{"a": ({2: [inner]} if inner else 0,)}] * 1)

    assert deepest == round_trip(Sent(a=deepest), codec).a
    assert tuples == round_trip(Sent(a=tuples), codec).a
    assert "inside each other" in refusal(Sent(a=mixed), codec)
    assert "inside each other" in refusal(Sent(a=(tuples,)), codec)


@each_codec
def test_the_shortest_event_that_is_too_deep_is_refused(codec: Codec) -> None:
    """Every byte of it but for those that no envelope lacks begins a list."""
    event = Sent(a=nested(MAX_DEPTH + 1, lambda inner: [inner] if inner != 0 else []))
    with pytest.raises(UnencodableAttribute, match=r"Sent\.a"):
        codec.encode(event, origin=None, event_id=EventId(b"publisher-12", 1), time_ns=0)


@each_codec
@pytest.mark.parametrize("levels", [MAX_DEPTH + 1, 253, 300, 2000])
def test_nesting_deeper_than_that_is_refused(codec: Codec, levels: int) -> None:
    """It names the attribute, also where Python itself would give up."""
    assert "Sent.a" in refusal(Sent(a=nested(levels, lambda inner: [inner])), codec)
    assert "Sent.a" in refusal(Sent(a=nested(levels, lambda inner: {"a": inner})), codec)
    assert "Sent.a" in refusal(Sent(a=nested(levels, lambda inner: (inner,))), codec)


@each_codec
def test_tuples_in_lists_count_as_levels(codec: Codec) -> None:
    """The depth is that of all containers together."""
    shape = itertools.cycle([list, list, list, list, list, list, tuple])

    def deep(levels: int) -> Any:
        kinds = list(itertools.islice(shape, levels))
        value: Any = 0
        for kind in kinds:
            value = kind([value])
        return value

    fits = deep(MAX_DEPTH)
    assert fits == round_trip(Sent(a=fits), codec).a
    assert "Sent.a" in refusal(Sent(a=deep(MAX_DEPTH + 1)), codec)


@each_codec
def test_a_container_that_contains_itself_is_refused(codec: Codec) -> None:
    """It has no end."""
    loop: list[Any] = []
    loop.append(loop)

    assert "Sent.loop" in refusal(Sent(loop=loop), codec)


def test_an_event_that_nobody_would_read_is_refused() -> None:
    """The attribute that makes it too long is named."""
    codec = Codec(ClassRegistry(), max_body_bytes=1000)

    assert "Sent.long is too long" in refusal(Sent(short="x" * 10, long="x" * 1000), codec)
    fits = codec.encode(Sent(a="x" * 900), origin="a", event_id=EVENT_ID, time_ns=1)
    assert codec.decode(fits.routing_key, fits.headers, codec.join([fits.envelope]))


# -- The event that arrives ----------------------------------------------------


def test_identity_origin_time_and_trace_arrive() -> None:
    """The delivery says what the sender wrote beside the event."""
    arrived = round_trip(Sent(), time_ns=2**63, replayed=True, traceparent="00-a-b-01")

    delivery = delivery_of(arrived)
    assert (EVENT_ID, "here", 2**63, None, True, "00-a-b-01") == delivery
    assert EVENT_ID == arrived._event_id
    assert isinstance(arrived._event_id, EventId)
    assert not arrived._handled


def test_private_names_do_not_travel() -> None:
    """What begins with an underscore belongs to the sending process."""
    event = Sent(public=1)
    event._private = 2
    event.mark_as_handled()
    event._sent_by = b"me"

    arrived = round_trip(round_trip(event))

    assert {"public", "source", "_came"} == set(vars(arrived))


def test_class_attributes_do_not_travel() -> None:
    """The class knows them, there as here."""
    arrived = round_trip(StoreSetEvent(key="a", metadata={}))

    assert "set" == arrived.action
    assert "action" not in vars(arrived)


def test_positions_arrive() -> None:
    """The position of a store event, and that of a wrapper whose position is another store's."""
    for source in (Store(), Store(store_id=UUID(int=1)), None):
        event = StoreSetEvent(source, key="a", metadata={})
        event._position = Position(STORE_ID, 1, 2, b"entry id")

        arrived = round_trip(event)

        assert (STORE_ID, 1, 2, b"entry id") == arrived._position
        assert arrived._position == delivery_of(arrived).position
        assert event.position == arrived.position


class Hostile(BaseEvent):
    """A class with code in all the places that making an instance could touch."""

    calls: list[str] = []  # noqa: RUF012

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        cls.calls.append("__new__")
        return super().__new__(cls)

    def __init__(self, required: Any) -> None:
        self.calls.append("__init__")
        super().__init__(None, required=required)

    def __setattr__(self, name: str, value: Any) -> None:
        self.calls.append("__setattr__")
        super().__setattr__(name, value)

    def __setstate__(self, state: Any) -> None:
        self.calls.append("__setstate__")


def test_no_code_of_the_class_runs() -> None:
    """Bytes call nothing: no __new__, no __init__, no __setattr__."""
    event = Hostile(5)
    del Hostile.calls[:]

    arrived = round_trip(event)

    assert [] == Hostile.calls
    assert isinstance(arrived, Hostile)
    assert 5 == arrived.required


class Hidden(BaseEvent):
    """A class that guards the place where attributes are."""

    @property  # type: ignore[misc]
    def __dict__(self) -> dict[str, Any]:  # type: ignore[override]
        raise AssertionError("never asked")


def test_a_guarded_dict_is_not_asked_for() -> None:
    """The attributes arrive in the true one."""
    codec = CODECS[0]
    key, headers = routing_key(codec.registry.names_of(Hidden), None)
    sent = codec.encode(Sent(a=1), origin=None, event_id=EVENT_ID, time_ns=0)

    (arrived,) = codec.decode(key, headers, codec.join([sent.envelope]))

    assert type(arrived) is Hidden
    assert 1 == arrived.a


class Failure(BaseEvent, Exception):
    """An event that can be raised."""


class Table(BaseEvent, dict):  # type: ignore[type-arg]
    """An event that is a dict."""


@pytest.mark.parametrize("cls", [Failure, Table])
def test_events_with_a_built_in_base_arrive(cls: type[BaseEvent]) -> None:
    """Their attributes do; what the built-in base holds besides does not."""
    arrived = round_trip(cls(None, a=1) if cls is Failure else cls(a=1))

    assert cls is type(arrived)
    assert arrived.source is None


def test_an_event_can_be_sent_on() -> None:
    """What arrived can be encoded again: its placeholder, its source, its position."""
    registry = ClassRegistry()
    codec = Codec(registry)
    key = "antiphon:BaseEvent.other:Unknown.@far"
    source = Store("far")
    encoded = codec.encode(Sent(source, a=1), origin="far", event_id=EVENT_ID, time_ns=1)
    (first,) = codec.decode(key, None, codec.join([encoded.envelope]))

    again = codec.encode(first, origin="far", event_id=EVENT_ID, time_ns=1)

    assert (key, None, encoded.envelope) == (again.routing_key, again.headers, again.envelope)


def test_many_events_in_one_body_keep_their_order() -> None:
    """A body is a sequence of envelopes."""
    codec = CODECS[0]
    encoded = [
        codec.encode(Sent(n=n), origin=None, event_id=EventId(bytes(12), n), time_ns=n)
        for n in range(300)
    ]

    events = codec.decode(
        encoded[0].routing_key, None, codec.join([one.envelope for one in encoded])
    )

    assert list(range(300)) == [event.n for event in events]
    assert list(range(300)) == [event._event_id.counter for event in events]


def test_changing_an_event_that_arrived_changes_no_other() -> None:
    """Each event has attributes of its own."""
    codec = CODECS[0]
    encoded = codec.encode(Sent(m={}), origin=None, event_id=EVENT_ID, time_ns=0)
    one, other = codec.decode(encoded.routing_key, None, codec.join([encoded.envelope] * 2))

    one.m["a"] = 1
    one.extra = 2

    assert {} == other.m
    assert not hasattr(other, "extra")


def test_a_class_defined_again_is_what_arrives() -> None:
    """A codec that has seen the old class makes the new one."""
    codec = Codec(ClassRegistry())
    old = type("Cell", (BaseEvent,), {"__module__": "__main__"})
    assert old is type(round_trip(old(), codec))

    new = type("Cell", (BaseEvent,), {"__module__": "__main__"})

    encoded = codec.encode(old(), origin="here", event_id=EVENT_ID, time_ns=0)
    (arrived,) = codec.decode(encoded.routing_key, None, codec.join([encoded.envelope]))
    assert new is type(arrived)


def test_two_classes_of_one_name_are_an_error_at_encode() -> None:
    """Before anything happened."""
    codec = Codec(ClassRegistry())
    first = type("Same", (BaseEvent,), {"__module__": "app.one"})
    second = type("Same", (BaseEvent,), {"__module__": "app.two"})
    codec.encode(first(), origin=None, event_id=EVENT_ID, time_ns=0)

    with pytest.raises(NameConflict):
        codec.encode(second(), origin=None, event_id=EVENT_ID, time_ns=0)


def test_inexact_keys_arrive_as_well() -> None:
    """Long class names and origins, told by headers, and found in the cache the second time."""
    codec = Codec(ClassRegistry())
    long_class = type("L" * 300, (Sent,), {"__module__": "app"})
    for origin in (None, "a", "a" * 50, "a.b.c.d.e.f.g", "\ud800" * 20):
        for cls in (Sent, long_class):
            for _ in range(2):
                arrived = round_trip(cls(a=origin and 1), codec, origin=origin)
                assert cls is type(arrived)
                assert origin == delivery_of(arrived).origin


def test_headers_of_others_do_no_harm() -> None:
    """A message may have headers that are not ours."""
    codec = CODECS[0]
    encoded = codec.encode(Sent(), origin="a", event_id=EVENT_ID, time_ns=0)

    for headers in ({}, {"x-death": [{}]}, {"classes": 5, "origin": []}):
        assert codec.decode(encoded.routing_key, headers, codec.join([encoded.envelope]))


def test_headers_of_the_wrong_type_are_refused() -> None:
    """They come from anywhere, like all the rest."""
    codec = CODECS[0]
    encoded = codec.encode(Sent(), origin="a" * 50, event_id=EVENT_ID, time_ns=0)
    body = codec.join([encoded.envelope])

    for headers in (None, {}, {"origin": 5}, {"origin": []}, {"origin": {}}, {"classes": 5}):
        with pytest.raises(CorruptMessage):
            codec.decode(encoded.routing_key, headers, body)


def test_caches_are_bounded() -> None:
    """However many origins, sources and names arrive or are sent."""
    codec = Codec(ClassRegistry())
    for i in range(5000):
        round_trip(
            Sent(Store(store_id=UUID(int=i), origin=str(i)), **{f"a{i}": 1}), codec, origin=f"o{i}"
        )

    for i in range(5000):
        round_trip(Sent(**{f"b{i}": 1}), codec, origin="one")
    known = codec.registry.known(Sent)
    assert len(codec._arrivals) <= 4096
    assert all(len(one.attributes) <= 4096 for one in codec._arrivals.values())
    assert len(codec._references) <= 4096
    assert len(codec._store_ids) <= 4096
    assert len(known.keys) <= 4096
    assert len(known.attributes) <= 4096


# -- Sources -------------------------------------------------------------------


@each_codec
@pytest.mark.parametrize("source", ["sensor 1", "", 5, -(2**70), 1.5, b"raw", True, STORE_ID])
def test_plain_sources_travel_as_themselves(codec: Codec, source: Any) -> None:
    """So that filter={"source": "sensor 1"} holds everywhere."""
    assert same(source, round_trip(Sent(source), codec).source)


def test_an_enum_source_travels_as_what_it_equals() -> None:
    """As attributes do."""
    assert Color.RED == round_trip(Sent(Color.RED)).source


def test_a_source_that_cannot_travel_is_named() -> None:
    """Text with lone surrogates."""
    assert "Sent.source cannot travel" in refusal(Sent("\ud800"))


@pytest.mark.parametrize("own", ["here", "elsewhere", None, "", 5, "\udcff", ["list"]])
@pytest.mark.parametrize("sent_from", ["here", None, "x.y"])
def test_objects_arrive_as_remote_sources(own: Any, sent_from: str | None) -> None:
    """Kind, origin and store id are kept; an origin that is no text is none."""
    arrived = round_trip(Sent(Store(own)), origin=sent_from)

    assert RemoteSource("Store", own if isinstance(own, str) else None, STORE_ID) == arrived.source
    assert 1 == len({arrived.source, RemoteSource(*_fields(arrived.source))})


def _fields(source: RemoteSource) -> tuple[Any, ...]:
    return source.kind, source.origin, source.store_id


def test_sources_without_store_id_arrive() -> None:
    """Any object may be a source; a store id that is no UUID is none."""
    assert RemoteSource("object", None, None) == round_trip(Sent(object())).source
    assert RemoteSource("Store", "a", None) == round_trip(Sent(Store("a", "text"))).source


def test_a_source_that_changes_is_told_anew() -> None:
    """What was written for a store before it had its name is not written after."""
    store = Store("a")
    assert "a" == round_trip(Sent(store)).source.origin

    store.origin = "b"

    assert "b" == round_trip(Sent(store)).source.origin
    assert "Other" == round_trip(Sent(type("Other", (Store,), {})("b"))).source.kind


def test_one_source_is_told_apart_by_the_origin_of_the_event() -> None:
    """Its own origin is left out where it is the event's, and only there."""
    store = Store("a")
    event = Sent(store)

    for origin in ("a", "b", "a", None, "a"):
        assert "a" == round_trip(event, origin=origin).source.origin


def test_the_caller_resolves_sources() -> None:
    """The bus puts its own store in place of one with the same id."""
    asked: list[tuple[Any, ...]] = []
    store = object()

    def resolve(kind: str, origin: str | None, store_id: UUID | None) -> object:
        asked.append((kind, origin, store_id))
        return store

    arrived = round_trip(Sent(Store("far")), resolve_source=resolve)
    plain = round_trip(Sent("text"), resolve_source=resolve)

    assert store is arrived.source
    assert "text" == plain.source
    assert [("Store", "far", STORE_ID)] == asked


def test_what_resolving_raises_is_not_hidden() -> None:
    """A fault of the bus is no corrupt message."""

    def resolve(*_: Any) -> object:
        raise KeyError("a fault")

    with pytest.raises(KeyError, match="a fault"):
        round_trip(Sent(Store()), resolve_source=resolve)


# -- Processes and threads -----------------------------------------------------


def test_without_ormsgpack_the_other_library_does_it() -> None:
    """Where it has no wheel, the same bytes are written more slowly."""
    program = """
import sys
sys.modules["ormsgpack"] = None
from uuid import UUID
from antiphon import BaseEvent
from antiphon.events.event_id import EventId
from antiphon.wire import Codec
class Sent(BaseEvent): wire_name = "x:Sent"
codec = Codec()
event_id = EventId(bytes(12), 1)
sent = codec.encode(Sent(a=(1, {2: UUID(int=3)})), origin="a", event_id=event_id, time_ns=2)
(event,) = codec.decode(sent.routing_key, None, codec.join([sent.envelope]))
assert event.a == (1, {2: UUID(int=3)})
print(sent.envelope.hex())
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=60
    )
    named = type("Sent", (BaseEvent,), {"wire_name": "x:Sent"})
    here = CODECS[0].encode(
        named(a=(1, {2: UUID(int=3)})), origin="a", event_id=EventId(bytes(12), 1), time_ns=2
    )

    assert "" == done.stderr
    assert here.envelope.hex() == done.stdout.strip()


def test_threads_share_a_codec() -> None:
    """While classes are made, used and dropped, nobody is disturbed."""
    codec = Codec(ClassRegistry())
    failures: list[BaseException] = []
    together = threading.Barrier(6)

    def work(number: int) -> None:
        try:
            together.wait(10)
            for i in range(150):
                own = type(f"Thread{number}", (Sent,), {"__module__": "app"})
                arrived = round_trip(own(n=i, source=Store(str(i))), codec, origin=f"o{i % 7}")
                assert isinstance(arrived, Sent)
                assert i == arrived.n
                shared = round_trip(Sent(**{f"a{i}": number}), codec, origin=f"o{i % 5}")
                assert type(shared) is Sent
        except BaseException as exc:
            failures.append(exc)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert [] == failures


def test_dates_are_no_datetimes() -> None:
    """The nearest traps of type: date and datetime, True and 1, 1 and 1.0."""
    sent = {"d": date(2026, 1, 1), "t": datetime(2026, 1, 1), "b": True, "i": 1, "f": 1.0}

    arrived = vars(round_trip(Sent(None, **sent)))

    assert same(sent, {key: arrived[key] for key in sent})


@each_codec
@pytest.mark.parametrize("traceparent", [None, "00-" + "1" * 32 + "-" + "2" * 16 + "-01"])
@pytest.mark.parametrize("position", [None, Position(STORE_ID, 3, 4, b"entry-id")])
def test_an_envelope_is_marked_as_replayed(
    codec: Codec, traceparent: str | None, position: Position | None
) -> None:
    """Nothing else of it changes, and a second time nothing at all."""
    event = Sent(number=1, source=Store("shop"))
    event._position = position
    encoded = codec.encode(
        event, origin="here", event_id=EVENT_ID, time_ns=11, traceparent=traceparent
    )
    marked = codec.replayed(encoded.envelope)

    (before,) = codec.decode(encoded.routing_key, None, codec.join([encoded.envelope]))
    (after,) = codec.decode(encoded.routing_key, None, codec.join([marked]))

    assert before.__dict__ == {**after.__dict__, "_came": before._came}
    assert before._delivery._replace(replayed=True) == after._delivery
    assert marked == codec.replayed(marked)


def test_marking_keeps_fields_of_later_versions() -> None:
    """A field that is not known here is not lost."""
    envelope = b"\x9d\x07\xc4\x0cpublisher-12\x0b\x80" + b"\xc0" * 8 + b"\xa3new"

    assert envelope[:-7] + b"\xc3\xc0\xc0\xa3new" == Codec.replayed(envelope)


@pytest.mark.parametrize("envelope", [b"", b"\x01", b"\x80", b"\x93\x01\x02\x03", b"\x9f\x01"])
def test_what_is_no_envelope_is_not_marked(envelope: bytes) -> None:
    """Nor is it made one."""
    with pytest.raises(CorruptMessage):
        Codec.replayed(envelope)
