"""What a queue of a connection tells whoever opened it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import pika
from pika import spec

from antiphon.errors import AntiphonError
from antiphon.messaging.amqp_settling import Consumption

if TYPE_CHECKING:
    from antiphon.messaging.amqp_queue import QueueChannel


class QueueUser(Protocol):
    """What a queue tells of itself; called on the link's thread."""

    def on_message(
        self,
        consumption: Consumption,
        method: spec.Basic.Deliver,
        properties: pika.BasicProperties,
        body: bytes,
    ) -> None:
        """Take a delivery."""

    def is_silent(self) -> bool:
        """Return whether the broker answers nobody, which is no fault of a queue."""

    def stood(self, queue: QueueChannel, *, is_new: bool) -> None:
        """Take note that the queue stands; *is_new*: it was not there before."""

    def failed(self, queue: QueueChannel, error: AntiphonError) -> None:
        """Take note that the queue does not stand; a durable one is tried again by itself."""

    def ended(self, queue: QueueChannel) -> None:
        """Take note that the queue is no longer consumed, or was deleted, as wished."""
