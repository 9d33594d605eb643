"""A broker that writes down what is published, for those who come after a crash."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from antiphon.events.api import BaseEvent
from antiphon.events.event_id import EventId
from antiphon.messaging.memory import MemoryBroker
from antiphon.messaging.transport import Message
from antiphon.storage.events import StoreModificationEvent
from antiphon.storage.journal import Position
from antiphon.wire.codec import Codec


class Told(NamedTuple):
    """A store event that was published.

    Attributes:
        event_id: its id.
        position: of the change that it tells of.
        key: the key that changed.
        kind: name of its class.
    """

    event_id: EventId
    position: Position
    key: str
    kind: str


class RecordingBroker(MemoryBroker):
    """A memory broker that has a file of what it took; confirmed is what stands there.

    Args:
        name: path of the file.
    """

    def publish(self, exchange: str, message: Message) -> int:
        """Write *message* down, in one call, and give it to whoever listens."""
        if message.routing_key.startswith("!"):  # the bus's own: no event
            return super().publish(exchange, message)
        record = repr((message.routing_key, dict(message.headers or {}), message.body))
        file = os.open(self.name, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(file, record.encode() + b"\n")
        os.close(file)
        return super().publish(exchange, message) or 1


def recorded_url(path: Path) -> str:
    """Return the URL of a bus that is recorded in *path*; for this process only."""
    RecordingBroker.named(str(path))
    return f"memory://{path}"


def published(path: Path) -> Iterator[Told]:
    """Yield the store events that stand in *path*, repeated ones again."""
    codec = Codec()
    # A record that was torn is none: its publisher died before it was confirmed.
    records = path.read_text().split("\n")[:-1] if path.exists() else []
    for line in records:
        event: BaseEvent
        for event in codec.decode(*ast.literal_eval(line)):
            if isinstance(event, StoreModificationEvent):
                position: Any = event.position
                yield Told(event._event_id, position, event.key, type(event).__name__)
