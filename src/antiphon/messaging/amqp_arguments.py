"""The arguments that durable queues are declared with: what RabbitMQ 3.10 and 4.x both accept."""

from __future__ import annotations

from typing import Any

from antiphon.messaging.declarations import QueueSpec

#: Times that a quorum queue may come back to the broker unhandled.  RabbitMQ 4 drops a
#: message after 20 unless told otherwise; here the subscriber itself counts, and knows why.
DELIVERY_LIMIT = 1_000_000


def arguments_of(queue: QueueSpec) -> dict[str, Any] | None:
    """Return the arguments that *queue* is declared with: what 3.10 and 4.x both accept."""
    if queue.is_exclusive:
        return None
    arguments: dict[str, Any] = {
        "x-queue-type": "quorum",
        "x-delivery-limit": DELIVERY_LIMIT,
    }
    if queue.expires_s is not None:
        arguments["x-expires"] = max(1, round(queue.expires_s * 1000))
    if queue.is_single_active:
        arguments["x-single-active-consumer"] = True
    if queue.max_messages is not None:
        arguments["x-max-length"] = queue.max_messages
        arguments["x-overflow"] = "drop-head"
    if queue.dead_letters_to is not None:
        arguments["x-dead-letter-exchange"] = ""
        arguments["x-dead-letter-routing-key"] = queue.dead_letters_to
    return arguments


def passing_arguments() -> dict[str, Any]:
    """Return the arguments of a durable queue that is deleted at once, or else in a minute."""
    return {"x-queue-type": "quorum", "x-expires": 60_000}


def are_alike(one: QueueSpec, other: QueueSpec) -> bool:
    """Return whether it is enough to consume anew in order to have *other* in place of *one*."""
    is_consumed = one.is_consumed and other.is_consumed
    return is_consumed and arguments_of(one) == arguments_of(other)
