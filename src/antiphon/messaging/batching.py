"""Joining events that go the same way into messages."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Literal, TypeAlias

from antiphon.messaging.transport import Message
from antiphon.wire.encoding import Encoder

#: Routing key and headers; third an exchange, where that is not the bus's own;
#: fourth a publisher, where that is another.
Address: TypeAlias = (
    tuple[str, Mapping[str, Any] | None]
    | tuple[str, Mapping[str, Any] | None, str | None]
    | tuple[str, Mapping[str, Any] | None, str | None, str]
)

#: What becomes of an event for which there is no room.
WhenFull: TypeAlias = Literal["block", "raise", "drop_oldest"]

_address_of, _envelope_of = itemgetter(0), itemgetter(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class BufferPolicy:
    """How a buffer behaves.

    Attributes:
        publisher: id that each message carries.
        persistent: see ``Message``.
        batch_events: events that one message holds at most; 1 joins none.
        batch_bytes: bytes of events in a message that holds several, at most.
        bulk_events, bulk_bytes: the same for events that are known to come together
            (``holding.Hold``).
        when_full: what becomes of an event for which there is no room.
        block_timeout_s: seconds that ``"block"`` waits for room.
    """

    publisher: str = ""
    persistent: bool = False
    batch_events: int = 1
    batch_bytes: int = 65536
    bulk_events: int = 1
    bulk_bytes: int = 65536
    when_full: WhenFull = "raise"
    block_timeout_s: float = 5.0


def joined(items: Sequence[tuple[Address | Message, bytes]], policy: BufferPolicy) -> list[Message]:
    """Return *items*, each an address and an envelope, as messages, in order."""
    first = items[0][0]
    if len(items) == 1 and not isinstance(first, Message):  # what comes alone is to be quick
        return [_message(first, [items[0][1]], policy)]
    messages: list[Message] = []
    runs: Iterable[tuple[Address | Message, list[bytes]]]
    if list(map(_address_of, items)).count(first) == len(items):  # a third of the time of groupby
        runs = ((first, list(map(_envelope_of, items))),)
    else:
        grouped = itertools.groupby(items, _address_of)
        runs = ((address, list(map(_envelope_of, run))) for address, run in grouped)
    for address, envelopes in runs:
        if isinstance(address, Message):
            messages.extend([address] * len(envelopes))  # equal ones are as good as the same
            continue
        start = 0
        for count in _parts(envelopes, policy.batch_events, policy.batch_bytes):
            messages.append(_message(address, envelopes[start : start + count], policy))
            start += count
    return messages


def _parts(envelopes: list[bytes], max_events: int, max_bytes: int) -> Iterator[int]:
    """Yield how many of *envelopes* each message gets."""
    if max_events == 1:
        yield from itertools.repeat(1, len(envelopes))
        return
    # As many as there may be are mostly short enough; then none is looked at by itself.
    start = 0
    while start < len(envelopes):
        part = envelopes[start : start + max_events]
        if sum(map(len, part)) > max_bytes:
            break
        yield len(part)
        start += max_events
    else:
        return
    held = size = 0
    for envelope in itertools.islice(envelopes, start, None):
        length = len(envelope)
        if held and (held >= max_events or size + length > max_bytes):
            yield held
            held = size = 0
        held += 1
        size += length
    yield held


def _message(address: Address, envelopes: list[bytes], policy: BufferPolicy) -> Message:
    return Message(
        address[0],
        Encoder.join(envelopes),
        address[1],
        address[3] if len(address) > 3 else policy.publisher,
        policy.persistent,
        len(envelopes),
        address[2] if len(address) > 2 else None,
    )
