"""How long messages may be is an option of the bus."""

from __future__ import annotations

import threading

import pytest

from antiphon import BaseEvent, open_bus
from antiphon.errors import InvalidBusOption, UnencodableAttribute
from antiphon.messaging.options import BusOptions

#: A small limit, and what is longer.
OPTIONS = BusOptions(batch_bytes=5000, max_message_bytes=10_000)
LONG = "x" * 10_000


def test_long_events_are_not_emitted() -> None:
    """An event beyond the limit is an error at once, and names the attribute."""
    with (
        open_bus("memory:", options=OPTIONS) as bus,
        pytest.raises(UnencodableAttribute, match=r"BaseEvent\.text is too long"),
    ):
        bus.emit(BaseEvent(text=LONG))


def test_long_messages_are_not_read() -> None:
    """What others send beyond the limit is counted, and those after it are heard."""
    heard: list[object] = []
    done = threading.Event()

    def listener(event: BaseEvent) -> None:
        heard.append(event.text)  # type: ignore[attr-defined]
        done.set()

    with open_bus("memory:") as sender, open_bus("memory:", options=OPTIONS) as bus:
        bus.connect(BaseEvent, listener)
        sender.emit(BaseEvent(text=LONG))
        sender.flush(5)
        sender.emit(BaseEvent(text="short"))

        assert done.wait(10)
        assert (["short"], 1) == (heard, bus.stats().corrupt)


@pytest.mark.parametrize("value", [0, 65541, 16 * 1024 * 1024 + 1, "1000000", 1e6])
def test_limits_that_make_no_sense(value: object) -> None:
    """Less than a batch may have, and more than RabbitMQ 4 takes, are refused."""
    with pytest.raises(InvalidBusOption, match="max_message_bytes is a whole number from 65542"):
        BusOptions(max_message_bytes=value)  # type: ignore[arg-type]
