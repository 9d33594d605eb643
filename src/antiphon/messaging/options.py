"""What can be set about a bus, and what it counts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BusOptions:
    """What is rarely changed about a bus.

    Attributes:
        buffer_events: events that may wait for the broker's confirmation; more
            make ``emit`` raise ``PublishBufferFull``.
        buffer_bytes: the same in bytes of encoded events.
        persistent: whether the broker writes events to disk where a queue is
            durable; costs nothing where none is.
    """

    buffer_events: int = 100_000
    buffer_bytes: int = 256 * 1024 * 1024
    persistent: bool = True


@dataclass(frozen=True, slots=True)
class BusStats:
    """What a bus has done since it was opened.

    Attributes:
        emitted: events handed to the transport.
        confirmed: those that the broker has taken.
        returned: confirmed ones that no queue took: nobody listens to them.
        buffered: emitted and not confirmed yet.
        received: events that came from other processes.
        duplicates: received ones that had come before, and were dropped.
        echoes: own messages that came back, and were dropped undecoded.
        corrupt: messages that could not be read, and were dropped.
        connects: how often the connection came up.
        reconnects: how often it came up again.
        is_connected: whether it is up now.
        blocked_because: why the broker takes nothing at present; None if it does.
        bindings: distinct bindings that the listeners need.
    """

    emitted: int
    confirmed: int
    returned: int
    buffered: int
    received: int
    duplicates: int
    echoes: int
    corrupt: int
    connects: int
    reconnects: int
    is_connected: bool
    blocked_because: str | None
    bindings: int
