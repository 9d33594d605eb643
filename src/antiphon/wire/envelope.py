"""What an envelope is: the numbers of its fields, and limits that both sides keep."""

from __future__ import annotations

from uuid import UUID

from antiphon.wire.values import MAX_DEPTH

#: First item of every body; another number is another format.
FORMAT_VERSION = 1
#: Bytes of the longest body that is written or read: RabbitMQ 4's own limit.
MAX_BODY_BYTES = 16 * 1024 * 1024
#: Bytes that a body has more than its envelopes, at most.
BODY_HEAD_BYTES = 6
#: Containers and extensions in a body or an envelope: an empty set of four bytes takes 216 in
#: memory and some microseconds, so that without this limit a body could cost a GiB and 10 s.
MAX_CONTAINERS = 200_000
#: Bytes of the field that tells of a source.
MAX_SOURCE_BYTES = 65536
#: Header in which a transport says why it could not read a message; the body is left out then.
UNREADABLE_HEADER = "antiphon-unreadable"
#: Entries in each cache of a codec; a full one is emptied.
MAX_CACHED = 4096

# An envelope is an array of fields, in this order; a reader ignores more, and takes those that
# are left out at the end for nil:
#     counter, publisher, time_ns, attributes,
#     source, position's epoch, sequence and entry id,
#     position's store id if it is not the source's, replayed mark, trace context.
# (A map with numbers as keys took half as long again: benchmarks/codec/README.md.)
#: Fields that no envelope lacks.
REQUIRED_FIELDS = 4
#: Fields that this version writes at least, nil or not: unpacking a known number is quickest.
USUAL_FIELDS = 8
#: Which of them, from 0 on, tells that the event is sent again.
REPLAYED_FIELD = 9
#: All fields of this version.
FIELDS = 11

#: Types of a source that travels as itself; any other object is told of by
#: its kind, origin and store id.
VALUE_SOURCES = (str, int, float, bytes, UUID)

# What can begin a container or an extension.  A message with few such bytes cannot be nested
# deeply, and counting them costs a tenth of a look at every value.
_NOT_CONTAINERS = bytes(
    byte
    for byte in range(256)
    if not (0x80 <= byte <= 0x9F or 0xC7 <= byte <= 0xC9 or 0xD4 <= byte <= 0xD8)
    and not 0xDC <= byte <= 0xDF
)


def has_many_containers(data: bytes) -> bool:
    """Return False if nothing in *data* can be nested deeper than is allowed."""
    return len(data) > MAX_DEPTH and len(data.translate(None, _NOT_CONTAINERS)) > MAX_DEPTH


def may_have_too_many_containers(data: bytes) -> bool:
    """Return False if *data* cannot have more than ``MAX_CONTAINERS``."""
    return (
        len(data) > MAX_CONTAINERS and len(data.translate(None, _NOT_CONTAINERS)) > MAX_CONTAINERS
    )
