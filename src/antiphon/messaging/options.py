"""What can be set about a bus, and what it counts."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import get_args

from antiphon.errors import InvalidBusOption
from antiphon.messaging.batching import WhenFull
from antiphon.wire.envelope import BODY_HEAD_BYTES, MAX_BODY_BYTES

_AT_LEAST_ONE = ("buffer_events", "buffer_bytes", "batch_events", "batch_bytes", "spool_bytes")


@dataclass(frozen=True, slots=True, kw_only=True)
class BusOptions:
    """What is rarely changed about a bus.

    Attributes:
        buffer_events: events that may wait in memory for the broker's confirmation.
        buffer_bytes: the same in bytes of encoded events.
        when_full: what becomes of an event for which there is no room.
            ``"block"`` makes ``emit`` wait for room, and raise ``PublishBufferFull``
            if none comes; ``"raise"`` raises at once; ``"drop_oldest"`` gives up the
            oldest events that were not sent yet, and counts them.
        block_timeout_s: seconds that ``"block"`` waits.
        batch_events: events with one routing key that travel in one message at
            most, when they come faster than the broker confirms; 1 for one each.
        batch_bytes: bytes of events in a message that holds several, at most.
        spool: a directory of this bus's own, made if it is not there, in which
            each event is kept until the broker has confirmed it: what a killed
            process leaves there is sent by the next one.  None keeps events
            in memory only.
        spool_bytes: what the spool may hold; then ``when_full`` applies.
        spool_sync: whether ``emit`` waits until the event is on the medium, so
            that it survives a power cut; costs a disk's flush an event.
        max_message_bytes: bytes of the longest message that is read, longer ones count
            as corrupt; and about those of the longest event that can be emitted.  At
            most 16 MiB.  The processes of a system had better agree: who reads less
            than 257 KiB cannot read the bulks of those with the default.
        persistent: whether the broker writes events to disk where a queue is
            durable; costs nothing where none is.
        canary_interval_s: seconds between two messages of the bus to itself, which
            show that the broker delivers; 0 sends none.
        outbox: whether the bus vouches for the events of stores, and publishes what other
            processes on the same stores committed and did not live to publish; of
            ``antiphon.open_bus`` only.  Processes without it leave that to others, which
            publish all their events a second time, with the same ids.
        answers_roll_call: whether the bus tells who asks (``antiphon topology``)
            its host, process id, bindings, subscriptions and counters.
    """

    buffer_events: int = 100_000
    buffer_bytes: int = 256 * 1024 * 1024
    when_full: WhenFull = "block"
    block_timeout_s: float = 5.0
    batch_events: int = 200
    batch_bytes: int = 65536
    spool: str | os.PathLike[str] | None = None
    spool_bytes: int = 1024 * 1024 * 1024
    spool_sync: bool = False
    max_message_bytes: int = MAX_BODY_BYTES
    persistent: bool = True
    canary_interval_s: float = 5.0
    outbox: bool = True
    answers_roll_call: bool = True

    def __post_init__(self) -> None:
        """Raise ``InvalidBusOption`` for what makes no sense."""
        if self.when_full not in get_args(WhenFull):
            allowed = ", ".join(map(repr, get_args(WhenFull)))
            raise InvalidBusOption(f"when_full is one of {allowed}, not {self.when_full!r}")
        if not (self.spool is None or (isinstance(self.spool, str | os.PathLike) and self.spool)):
            raise InvalidBusOption(f"spool is the path of a directory or None, not {self.spool!r}")
        for name in _AT_LEAST_ONE:
            if not (isinstance(value := getattr(self, name), int) and value >= 1):
                raise InvalidBusOption(f"{name} is a whole number from 1 on, not {value!r}")
        least = self.batch_bytes + BODY_HEAD_BYTES
        if not (
            isinstance(self.max_message_bytes, int)
            and least <= self.max_message_bytes <= MAX_BODY_BYTES
        ):
            raise InvalidBusOption(
                f"max_message_bytes is a whole number from {least} (batch_bytes and "
                f"{BODY_HEAD_BYTES}) to {MAX_BODY_BYTES}, not {self.max_message_bytes!r}"
            )
        if self.block_timeout_s < 0:
            raise InvalidBusOption(
                f"block_timeout_s is a number of seconds from 0 on, not {self.block_timeout_s!r}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class BusStats:
    """What a bus has done since it was opened.

    Attributes:
        emitted: events handed to the transport.
        confirmed: those that the broker has taken.
        returned: confirmed ones that no queue took: nobody listens to them.
        recovered: events that an earlier process had left in the spool.
        buffered: emitted or recovered, and not confirmed yet.
        messages: what the emitted events were sent as; several may share one.
        rejected: events for which there was no room, so that ``emit`` raised.
        dropped: events given up to make room (``when_full="drop_oldest"``).
        spooled_bytes: what the spool takes on disk.
        blocked_s: seconds that emitting threads have waited for room, all together.
        received: events that came from other processes.
        duplicates: received ones that had come before, and were dropped.
        echoes: own messages that came back, and were dropped undecoded.
        corrupt: messages that could not be read, and were dropped.
        skipped: messages dropped unread, since too many bytes waited for slow
            listeners already; ``EventsMayBeMissing`` was told.
        connects: how often the connection came up.
        reconnects: how often it came up again.
        is_connected: whether it is up now.
        blocked_because: why the broker takes nothing at present; None if it does.
        bindings: distinct bindings that the listeners need.
    """

    emitted: int
    confirmed: int
    returned: int
    recovered: int
    buffered: int
    messages: int
    rejected: int
    dropped: int
    spooled_bytes: int
    blocked_s: float
    received: int
    duplicates: int
    echoes: int
    corrupt: int
    skipped: int
    connects: int
    reconnects: int
    is_connected: bool
    blocked_because: str | None
    bindings: int
