"""What a player notes of its own insides, so that the checker need not guess causes.

No public method tells when a queue's channel ends, or which events are sent to
another queue; whoever uses the package has no need of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from antiphon.messaging.amqp_doubts import Probe
from antiphon.messaging.amqp_publisher import Publisher
from antiphon.messaging.amqp_settling import Consumption
from antiphon.messaging.subscription_mover import Mover
from antiphon.messaging.subscription_runner import Runner
from antiphon.messaging.topology import BROADCAST
from antiphon.messaging.transport import Message
from tests.chaos.history import Recorder

Decode = Callable[[Message], Iterable[Any]]


def watch_publishing(recorder: Recorder) -> None:
    """Note each loss of a publishing connection on which something may have been published."""
    lost = Publisher.lost

    def watched(self: Publisher, error: Any) -> None:
        if self._channel is not None:
            recorder.note("lost")
        lost(self, error)

    Publisher.lost = watched  # type: ignore[method-assign]


def watch_queues(recorder: Recorder, queue: str, decode: Decode) -> None:
    """Note each end of consuming from *queue* ("" the broadcast one), and what is sent on."""
    _watch_cuts(recorder, queue or BROADCAST)
    watch_moves(recorder, decode)
    _watch_returns(recorder)
    opened = Probe.opened

    def watched(self: Probe, channel: Any) -> None:
        recorder.note("probe")
        opened(self, channel)

    Probe.opened = watched  # type: ignore[method-assign]


def _watch_cuts(recorder: Recorder, queue: str) -> None:
    def is_over(self: Consumption) -> bool:
        return bool(self.__dict__.get("is_over", False))

    def end(self: Consumption, value: bool) -> None:
        # The isolation queue counts as well: what was in hand of it comes again, too.
        if value and not is_over(self) and self.spec.label in (queue, _isolation(queue)):
            recorder.note("cut")
        self.__dict__["is_over"] = value

    Consumption.is_over = property(is_over, end)  # type: ignore[assignment]


def _watch_returns(recorder: Recorder) -> None:
    open_batch = Runner._batch

    def watched(self: Runner, arrival: Any, since: float, *, is_own: bool) -> Any:
        batch = open_batch(self, arrival, since, is_own=is_own)
        if batch is not None and arrival.delivery_count:
            for event in batch.events:
                recorder.note("returned", event.publisher, event.number)
        return batch

    Runner._batch = watched  # type: ignore[method-assign]


def _isolation(queue: str) -> str:
    return queue.replace(".sub.", ".retry.", 1)


def watch_moves(recorder: Recorder, decode: Decode) -> None:
    """Note which events are sent on to another queue."""
    move, isolate, put_aside = Mover.move, Mover.isolate, Mover.put_aside

    def note(events: Iterable[Any]) -> None:
        for event in events:
            recorder.note("moved", event.publisher, event.number)

    def watched_move(self: Mover, batch: Any, events: Any) -> None:
        note(events)
        move(self, batch, events)

    def watched_isolate(self: Mover, arrival: Any) -> None:
        note(decode(arrival.message))
        isolate(self, arrival)

    def watched_put_aside(self: Mover, arrival: Any) -> None:
        note(decode(arrival.message))
        put_aside(self, arrival)

    Mover.move = watched_move  # type: ignore[method-assign]
    Mover.isolate = watched_isolate  # type: ignore[method-assign]
    Mover.put_aside = watched_put_aside  # type: ignore[method-assign]
