"""No bytes hurt: the short form of fuzz.py, and the worst that was thought of."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path
from uuid import UUID

import msgpack
import pytest
from fuzz import FuzzedEvent, fuzz, valid_messages

from antiphon.errors import CorruptMessage, UnencodableAttribute
from antiphon.events.event_id import EventId
from antiphon.wire import ClassRegistry, Codec
from antiphon.wire.packing import Library, MsgpackLibrary, OrmsgpackLibrary

#: Messages of the short form; ANTIPHON_FUZZ=1000000 asks for the long one.
COUNT = int(os.environ.get("ANTIPHON_FUZZ", "4000"))
MIB = 1024 * 1024

each_library = pytest.mark.parametrize("library_class", [OrmsgpackLibrary, MsgpackLibrary])


def decode_body(library_class: type[Library], body: bytes) -> list[object]:
    """Decode *body* under a good key."""
    codec = Codec(ClassRegistry(), library=library_class())
    key, headers, _ = valid_messages(codec)[0]
    return list(codec.decode(key, headers, body))


def envelope_with(value: bytes) -> bytes:
    """Return a body with one event whose attribute ``a`` is the packed *value*."""
    head = msgpack.packb([1, bytes(12), 2])[1:]
    return b"\x92\x01\x94" + head + b"\x81\xa1a" + value


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", [1, 2])
def test_fuzzed_messages_are_read_or_refused(seed: int) -> None:
    """Random, mutated and misshapen messages raise CorruptMessage only; both libraries agree."""
    counts = fuzz(COUNT // 2, seed)

    assert counts["read"] > 0
    assert counts["refused"] > 0


def test_every_truncation_is_refused() -> None:
    """A message that ends early, at any byte, is no message."""
    codec = Codec(ClassRegistry())
    for key, headers, body in valid_messages(codec):
        for end in range(len(body)):
            with pytest.raises(CorruptMessage):
                codec.decode(key, headers, body[:end])


def test_what_follows_a_body_is_ignored() -> None:
    """Room for what later versions append."""
    codec = Codec(ClassRegistry())
    key, headers, body = valid_messages(codec)[0]

    assert 2 == len(codec.decode(key, headers, body + b"\xc1 more"))


@each_library
@pytest.mark.parametrize(
    "opening",
    [b"\x91", b"\x81\xa1a", b"\xdc\x00\x01", b"\xdd\x00\x00\x00\x01"],
    ids=["arrays", "maps", "arrays of 16 bits", "arrays of 32 bits"],
)
@pytest.mark.parametrize("levels", [201, 500, 1021, 100_000])
def test_deep_nesting_is_refused(library_class: type[Library], opening: bytes, levels: int) -> None:
    """More than 200 levels of containers are no attribute."""
    with pytest.raises(CorruptMessage):
        decode_body(library_class, envelope_with(opening * levels + b"\xc0"))


@each_library
def test_deep_nesting_among_many_events_is_refused(library_class: type[Library]) -> None:
    """Each event of a long body is looked at."""
    good, bad = (envelope_with(b"\x91" * levels + b"\xc0")[2:] for levels in (200, 201))

    assert 40 == len(decode_body(library_class, Codec.join([good] * 40)))
    with pytest.raises(CorruptMessage):
        decode_body(library_class, Codec.join([good] * 39 + [bad]))


@each_library
def test_two_hundred_levels_are_read(library_class: type[Library]) -> None:
    """The deepest attribute that may be sent arrives."""
    assert decode_body(library_class, envelope_with(b"\x91" * 200 + b"\xc0"))


def nested_tuples(levels: int) -> bytes:
    """Return the bytes of a tuple in a tuple in a tuple."""
    data = b"\x90"
    for _ in range(levels):
        data = msgpack.packb(msgpack.ExtType(1, data))
        data = b"\x91" + data
    return data[1:]


@each_library
def test_nested_extensions_are_bounded(library_class: type[Library]) -> None:
    """Each extension takes frames of the stack, so 32 of them may be inside each other."""
    assert decode_body(library_class, envelope_with(nested_tuples(32)))
    for levels in (33, 200, 5000):
        with pytest.raises(CorruptMessage):
            decode_body(library_class, envelope_with(nested_tuples(levels)))


@each_library
@pytest.mark.parametrize("claim", [0xFFFFFFFF, 0x7FFFFFFF, MIB // 8], ids=hex)
@pytest.mark.parametrize("head", [0xDD, 0xDF, 0xC6, 0xDB, 0xC9], ids=hex)
def test_claims_of_length_are_refused(library_class: type[Library], claim: int, head: int) -> None:
    """Heads inside each other that promise more than there is are no message."""
    body = envelope_with(struct.pack(">BI", head, claim) * 900 + bytes(MIB // 8 - 4500))

    with pytest.raises(CorruptMessage):
        decode_body(library_class, body)


@pytest.mark.parametrize("head", [0xDD, 0xDF], ids=["arrays", "maps"])
def test_claims_of_length_allocate_nothing(head: int) -> None:
    """Arrays inside each other that each promise a million items take no memory for them."""
    body = envelope_with(struct.pack(">BI", head, MIB - 4600) * 900 + bytes(MIB - 4500))
    tracemalloc.start()

    with pytest.raises(CorruptMessage):
        decode_body(OrmsgpackLibrary, body)

    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 110 * MIB


def colliding_uuids(count: int) -> list[bytes]:
    """Return packed UUIDs that all have the same hash."""
    modulus = 2**61 - 1
    return [
        msgpack.packb(msgpack.ExtType(7, (5 + i * modulus).to_bytes(16, "big")))
        for i in range(count)
    ]


def colliding_integers(count: int) -> list[bytes]:
    """Return packed integers over 64 bits that all have the same hash."""
    modulus = 2**61 - 1
    return [
        msgpack.packb(msgpack.ExtType(4, (5 + (i + 64) * modulus).to_bytes(12, "big")))
        for i in range(count)
    ]


@each_library
@pytest.mark.parametrize("collide", [colliding_uuids, colliding_integers])
@pytest.mark.parametrize("code", [2, 3, 9], ids=["set", "frozenset", "map"])
def test_colliding_hashes_are_refused(
    library_class: type[Library], collide: object, code: int
) -> None:
    """A table of n values of one hash takes n² comparisons: minutes for a megabyte."""
    items = collide(20_000)  # type: ignore[operator]
    if code == 9:
        items = [part for item in items for part in (item, b"\xc0")]
    data = b"\xdd" + struct.pack(">I", len(items)) + b"".join(items)
    body = envelope_with(msgpack.packb(msgpack.ExtType(code, data)))
    started = time.perf_counter()

    with pytest.raises(CorruptMessage):
        decode_body(library_class, body)

    assert time.perf_counter() - started < 5


@each_library
@pytest.mark.parametrize(
    ("code", "data"),
    [
        (0, b""),
        (11, b""),
        (127, b""),
        (1, b""),
        (1, b"\x80"),
        (1, b"\x92\x01"),
        (2, b"\x92\x01\x01"),
        (2, b"\x91\x90"),
        (2, b"\x91\x80"),
        (3, b"\x92\xc2\x00"),
        (4, bytes(1025)),
        (5, bytes(7)),
        (5, bytes(9)),
        (5, bytes(11)),
        (5, b"\x7f" + bytes(7)),
        (5, bytes(8) + (86_400).to_bytes(4, "big")),
        (5, bytes(8) + (86_400_000_000).to_bytes(8, "big")),
        (6, bytes(3)),
        (6, b"\x7f\0\0\0"),
        (7, bytes(15)),
        (8, b""),
        (8, b" 1"),
        (8, b"1_0"),
        (8, b"1e5"),
        (8, b"sNaN"),
        (8, b"\xd9\xa1"),
        (8, b"1E+99999999999999999999"),
        (9, b"\x91\x01"),
        (9, b"\x92\x90\x01"),
        (9, b"\x80"),
        (10, b"\x7f" + bytes(9)),
    ],
    ids=repr,
)
def test_extensions_without_a_value_are_refused(
    library_class: type[Library], code: int, data: bytes
) -> None:
    """Unknown types, wrong lengths, values out of range, items twice, spellings of others."""
    with pytest.raises(CorruptMessage):
        decode_body(library_class, envelope_with(msgpack.packb(msgpack.ExtType(code, data))))


@each_library
@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"\xd4\x0b\x00", "extension type 11 is not of this format"),
        (b"\xd4\x07\x00", "bytes is not a 16-char string"),
        (nested_tuples(33), "more than 32 extensions"),
        (b"\x81\x01\x01", "int is not allowed for map key"),
        (b"\xc1", "FormatError"),
        (b"\xa5", "incomplete"),
    ],
    ids=["unknown", "UUID", "nested", "key", "byte", "short"],
)
def test_the_reason_is_told(library_class: type[Library], value: bytes, reason: str) -> None:
    """Whoever looks at the dead letters learns what is wrong with them."""
    with pytest.raises(CorruptMessage, match=reason):
        decode_body(library_class, envelope_with(value))


@each_library
def test_keys_of_maps_are_text(library_class: type[Library]) -> None:
    """Keys of other types would open the same door; they travel as an extension."""
    for key in (b"\x01", b"\x91\x01", b"\xc4\x01a", b"\xd4\x07a", b"\xc0", b"\xcb" + bytes(8)):
        with pytest.raises(CorruptMessage):
            decode_body(library_class, envelope_with(b"\x81" + key + b"\x01"))


@each_library
def test_many_new_attribute_names_take_linear_time(library_class: type[Library]) -> None:
    """Fifty thousand names that were never seen are looked at once each."""
    names = {f"name {i}": i for i in range(50_000)}
    head = msgpack.packb([1, bytes(12), 2])[1:]
    body = b"\x92\x01\x94" + head + msgpack.packb(names)
    started = time.perf_counter()

    decode_body(library_class, body)

    assert time.perf_counter() - started < 5


def test_long_bodies_are_refused_before_they_are_read() -> None:
    """The limit is a parameter; a megabyte too much costs nothing."""
    codec = Codec(ClassRegistry(), max_body_bytes=1000)
    key, headers, _ = valid_messages(Codec(ClassRegistry()))[0]

    with pytest.raises(CorruptMessage, match="at most 1000"):
        codec.decode(key, headers, bytes(1001))


@pytest.mark.parametrize(
    "name", ["_handled", "_delivery", "_event_id", "_position", "source", "", "__class__"]
)
def test_private_attributes_are_refused(name: str) -> None:
    """No sender may set what belongs to the receiving process."""
    head = msgpack.packb([1, bytes(12), 2])[1:]
    body = b"\x92\x01\x94" + head + msgpack.packb({name: 1})

    with pytest.raises(CorruptMessage):
        decode_body(OrmsgpackLibrary, body)


@pytest.mark.parametrize(
    "fields",
    [
        [],
        [1, bytes(12), 2],
        [1.0, bytes(12), 2, {}],
        [True, bytes(12), 2, {}],
        [1, bytes(11), 2, {}],
        [1, "x" * 12, 2, {}],
        [1, bytes(12), None, {}],
        [1, bytes(12), 2, []],
        [1, bytes(12), 2, {}, "source"],
        [1, bytes(12), 2, {}, [{}]],
        [1, bytes(12), 2, {}, [1, 2]],
        [1, bytes(12), 2, {}, b""],
        [1, bytes(12), 2, {}, msgpack.packb([1, None, None])],
        [1, bytes(12), 2, {}, msgpack.packb(["Kind", 1, None])],
        [1, bytes(12), 2, {}, msgpack.packb(["Kind", None, b"short"])],
        [1, bytes(12), 2, {}, msgpack.packb(["Kind", b"\xff", None])],
        [1, bytes(12), 2, {}, None, 1, 2, b"entry"],
        [1, bytes(12), 2, {}, None, 1.0, 2, b"entry", bytes(16)],
        [1, bytes(12), 2, {}, None, 1, None, b"entry", bytes(16)],
        [1, bytes(12), 2, {}, None, 1, 2, "entry", bytes(16)],
        [1, bytes(12), 2, {}, None, 1, 2, b"entry", bytes(15)],
    ],
    ids=repr,
)
def test_wrong_fields_are_refused(fields: list[object]) -> None:
    """Every field is checked before an event is made of it."""
    with pytest.raises(CorruptMessage):
        decode_body(OrmsgpackLibrary, msgpack.packb([1, fields]))


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"\xc0", b"\x90", b"\x01", b"\x91\x01"),
        *(b"\x92\x02\x90", b"\x91\xa1a", b"\x92\x01\x80"),
        *(first + msgpack.packb([1, bytes(12), 2, {}]) for first in (b"\x92\xc3", b"\x92\xa11")),
        b"\x92\xcb\x3f\xf0" + bytes(6) + msgpack.packb([1, bytes(12), 2, {}]),
    ],
)
def test_wrong_bodies_are_refused(body: bytes) -> None:
    """A body is an array that begins with the format's number, the integer, and has an event."""
    with pytest.raises(CorruptMessage):
        decode_body(OrmsgpackLibrary, body)


def test_later_fields_are_ignored() -> None:
    """An envelope of a later version has more fields than this one knows."""
    codec = Codec(ClassRegistry())
    fields = [1, bytes(12), 2, {"a": 1}, None, None, None, None, None, True, "trace", {"b": []}]
    key, _, _ = valid_messages(codec)[0]

    (event,) = codec.decode(key, None, msgpack.packb([1, fields]))

    assert isinstance(event, FuzzedEvent)
    assert event._delivery is not None
    assert (True, "trace") == (event._delivery.replayed, event._delivery.traceparent)


def many(item: bytes, count: int) -> bytes:
    """Return an array of *count* times *item*."""
    return b"\xdd" + struct.pack(">I", count) + item * count


@each_library
@pytest.mark.parametrize(
    "item",
    [b"\x90", b"\x80", b"\xc7\x01\x02\x90", b"\xd4\x04\x01", b"\xd6\xff\0\0\0\0"],
    ids=["arrays", "maps", "sets", "integers", "timestamps"],
)
def test_too_many_containers_are_refused(library_class: type[Library], item: bytes) -> None:
    """What takes a hundred times its bytes may be in a body 200 000 times: a second at most."""
    assert decode_body(library_class, envelope_with(many(item, 90_000)))
    for body in (many(item, 250_000), many(item, 2_500_000)):
        started = time.perf_counter()
        with pytest.raises(CorruptMessage, match="more than 200000 containers"):
            decode_body(library_class, envelope_with(body))
        assert time.perf_counter() - started < 2


@each_library
def test_too_many_containers_inside_extensions_are_refused(library_class: type[Library]) -> None:
    """A tuple is no place to hide them."""
    inner = msgpack.packb(msgpack.ExtType(1, many(b"\xc7\x01\x02\x90", 250_000)))

    with pytest.raises(CorruptMessage, match="more than 200000 containers"):
        decode_body(library_class, envelope_with(inner))


def test_bytes_that_look_like_containers_are_read() -> None:
    """Binary data is no container, whatever its bytes."""
    data = bytes(range(256)) * 8000

    assert decode_body(OrmsgpackLibrary, envelope_with(msgpack.packb(data)))


def test_a_long_source_is_refused() -> None:
    """The field of a source is no place to hide containers either."""
    hidden = msgpack.packb(["Kind", None, None, [[]] * 100_000])
    body = msgpack.packb([1, [1, bytes(12), 2, {}, hidden]])

    with pytest.raises(CorruptMessage, match="source of 100"):
        decode_body(OrmsgpackLibrary, body)


def test_ten_thousand_tiny_events() -> None:
    """A message of as many events as fit takes milliseconds."""
    codec = Codec(ClassRegistry())
    event = codec.encode(FuzzedEvent(), origin=None, event_id=EventId(bytes(12), 1), time_ns=1)
    body = codec.join([event.envelope] * 10_000)
    started = time.perf_counter()

    assert 10_000 == len(codec.decode(event.routing_key, None, body))
    assert time.perf_counter() - started < 2


@pytest.mark.parametrize(
    "value",
    [
        [[]] * 250_000,
        {5 + i * (2**61 - 1) for i in range(200)},
        {5 + i * (2**61 - 1): None for i in range(200)},
        frozenset(UUID(int=5 + i * (2**61 - 1)) for i in range(200)),
        2**8191,
        -(2**8191) - 1,
    ],
    ids=["containers", "set", "dict", "frozenset", "integer", "negative"],
)
def test_what_no_reader_takes_is_not_sent(value: object) -> None:
    """Whoever emits what every receiver would refuse is told, and nobody else."""
    with pytest.raises(UnencodableAttribute, match="FuzzedEvent"):
        Codec(ClassRegistry()).encode(
            FuzzedEvent(value=value), origin=None, event_id=EventId(bytes(12), 1), time_ns=1
        )


@pytest.mark.parametrize("value", [2**8191 - 1, -(2**8191) + 1], ids=["positive", "negative"])
def test_the_longest_integer_can_be_printed(value: int) -> None:
    """Python prints none of more than 4300 digits; whoever logs an event is spared that."""
    codec = Codec(ClassRegistry())
    sent = codec.encode(
        FuzzedEvent(value=value), origin=None, event_id=EventId(bytes(12), 1), time_ns=1
    )

    (event,) = codec.decode(sent.routing_key, None, codec.join([sent.envelope]))

    assert str(value) == str(event.value)  # type: ignore[attr-defined]


@pytest.mark.parametrize("key", [b"\xff\xfe", b"BaseEvent", 7, None])
def test_routing_keys_that_are_no_text_are_refused(key: object) -> None:
    """An AMQP library hands over as bytes what is no UTF-8."""
    with pytest.raises(CorruptMessage, match="routing key is no UTF-8"):
        Codec(ClassRegistry()).decode(key, None, b"")  # type: ignore[arg-type]


#: What Python tells its audit hooks of when code is found, made or run, or a file is opened.
FORBIDDEN = ("import", "exec", "compile", "open", "os.", "subprocess", "ctypes", "pickle", "socket")

AUDITED = """
import random, sys
sys.path.insert(0, sys.argv[1])
from fuzz import messages, valid_messages
from antiphon.errors import CorruptMessage
from antiphon.wire import ClassRegistry, Codec
from antiphon.wire.packing import MsgpackLibrary

codecs = [Codec(ClassRegistry()), Codec(ClassRegistry(), library=MsgpackLibrary())]
rng = random.Random(5)
valid = valid_messages(codecs[0])
count = 1
def read(message):
    for codec in codecs:
        try:
            for event in codec.decode(*message):
                repr(event)
        except CorruptMessage as exc:
            str(exc)
queue = [*valid, *(messages(rng, valid) for _ in range(3000))]
for message in queue[:40]:
    read(message)  # what Python itself imports late, as encodings
seen = []
def hook(name, args):
    if name.startswith(FORBIDDEN):
        seen.append((name, args))
sys.addaudithook(hook)
for message in queue:
    read(message)
found, seen = seen[:5], []
print(found)
"""


def test_decoding_imports_and_runs_nothing() -> None:
    """Python tells of no import, no code and no file while messages are read."""
    source = AUDITED.replace("FORBIDDEN", repr(FORBIDDEN))

    done = subprocess.run(
        [sys.executable, "-c", source, str(Path(__file__).parent)],
        capture_output=True,
        text=True,
        check=True,
    )

    assert "[]\n" == done.stdout
