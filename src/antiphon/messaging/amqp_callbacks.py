"""Small things that pika is told, or is asked."""

from __future__ import annotations

from pika.channel import Channel
from pika.exceptions import ChannelClosedByBroker
from pika.frame import Method


def is_missing(reason: ChannelClosedByBroker) -> bool:
    """Return whether a channel was closed because there is no such queue."""
    # 404 is said, too, of a queue whose node is down.
    return "no queue" in reason.reply_text


def keep_consumers(channel: Channel) -> None:
    """Have pika close *channel* without a basic.cancel for each consumer before it."""
    getattr(channel, "_cancelled", set()).update(getattr(channel, "_consumers", ()))


def ignore_message(*_args: object) -> None:
    """Leave a delivery unacknowledged."""


def ignore(_frame: Method) -> None:
    """Do nothing with an answer."""
