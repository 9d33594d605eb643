"""What can be set about a durable subscription, and what it counts."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Literal, get_args

from antiphon.errors import InvalidBusOption

#: Who of those that use one name gets an event; see ``SubscribingManager.subscribe``.
Mode = Literal["broadcast", "group", "single"]
MODES: tuple[str, ...] = get_args(Mode)

#: Seconds that the queue of a broadcast subscription waits for its subscriber to come back.
BROADCAST_EXPIRES_S = 7 * 24 * 3600.0

#: Seconds that RabbitMQ waits for an acknowledgement before it closes the channel.
BROKER_PATIENCE_S = 1800.0

#: Longest that RabbitMQ keeps track of, in milliseconds (32 bits).
_MAX_EXPIRES_S = 4_294_967.0


class _Default:
    """Stands for what depends on the mode."""

    def __repr__(self) -> str:
        return "by mode"


#: Default of ``SubscriptionOptions.expires_s``: 7 days for broadcast, else for ever.
BY_MODE = _Default()


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionOptions:
    """What is rarely changed about a durable subscription.

    The first two belong to the queue at the broker: all who use one name must
    agree, and changing them needs ``Subscription.delete`` first.

    Attributes:
        expires_s: seconds without a subscriber after which the broker deletes the
            queue with all that is in it; None never.  Unless given: 7 days for
            mode "broadcast", never for the others.
        max_messages: messages that may wait; the oldest beyond go to the dead
            letters.  None for no bound.
        prefetch: messages that the broker sends ahead; each may hold many events.
        workers: threads that call the listener.  More than one give up the order.
        ordered: a failing event is tried again at once where it stands, and those
            behind it wait; False lets them pass meanwhile.
        delivery_limit: how often the listener is tried with an event before that
            goes to the dead letters; counts exceptions, and separately crashes.
        retry_delay_s: seconds before the second attempt; doubled for each further one.
        retry_max_delay_s: seconds between two attempts at most.
        broker_patience_s: the broker's ``consumer_timeout`` in seconds, which is
            half an hour unless its operator says otherwise.
    """

    expires_s: float | _Default | None = BY_MODE
    max_messages: int | None = None
    prefetch: int = 50
    workers: int = 1
    ordered: bool = False
    delivery_limit: int = 5
    retry_delay_s: float = 0.2
    retry_max_delay_s: float = 30.0
    broker_patience_s: float = BROKER_PATIENCE_S

    def __post_init__(self) -> None:
        if not isinstance(self.ordered, bool):
            raise InvalidBusOption(f"ordered is True or False, not {self.ordered!r}")
        if self.max_messages is not None:
            _check_number(self, "max_messages", int, 1, 10**9)
        if not (self.expires_s is None or self.expires_s is BY_MODE):
            _check_number(self, "expires_s", float, 1, _MAX_EXPIRES_S)
        _check_number(self, "prefetch", int, 1, 65535)
        _check_number(self, "workers", int, 1, 1000)
        _check_number(self, "delivery_limit", int, 1, 1000)
        _check_number(self, "retry_delay_s", float, 0, 86400)
        _check_number(self, "retry_max_delay_s", float, 0, 86400)
        _check_number(self, "broker_patience_s", float, 0.1, 10**7)
        if self.ordered and self.workers > 1:
            raise InvalidBusOption(
                f"ordered=True needs workers=1, not {self.workers}: several threads keep no order"
            )
        if (total_s := sum(map(self.delay_s, range(1, self.delivery_limit)))) > (
            limit_s := self.broker_patience_s / 2
        ):
            raise InvalidBusOption(
                f"the delays between {self.delivery_limit} attempts (delivery_limit) add up to "
                f"{total_s:g} s, but the broker takes an event back after broker_patience_s="
                f"{self.broker_patience_s:g} s: let them be {limit_s:g} s at most, by a lower "
                "delivery_limit or retry_max_delay_s"
            )

    def delay_s(self, attempts: int) -> float:
        """Return the seconds to wait after so many failed *attempts*."""
        delay_s: float = self.retry_delay_s * 2.0 ** min(attempts - 1, 60)
        return min(delay_s, self.retry_max_delay_s)

    def expiry_s(self, mode: Mode) -> float | None:
        """Return ``expires_s``, or what *mode* makes of it."""
        if isinstance(self.expires_s, _Default):
            return BROADCAST_EXPIRES_S if mode == "broadcast" else None
        return self.expires_s


def _check_number(
    options: SubscriptionOptions, name: str, kind: type, lowest: float, highest: float
) -> None:
    value = getattr(options, name)
    is_number = type(value) is int or (kind is float and type(value) is float)
    if not is_number or not lowest <= value <= highest or math.isnan(value):
        what = "whole number" if kind is int else "number"
        raise InvalidBusOption(f"{name} is a {what} from {lowest} to {highest:g}, not {value!r}")


@dataclass(slots=True)
class SubscriptionStats:
    """What a durable subscription has done in this process.

    Attributes:
        received: events that came from its queue, those that came again included.
        handled: events that the listener was called with and returned from.
        unwanted: events that did not match class, filter or origin, and were passed over.
        duplicates: events that had been handled, or were in hand, and were dropped.
        failures: calls of the listener that raised.
        dead: events that went to the dead letters.
        moved: messages that were sent on singly, within the subscription: a process
            may have crashed with them, or they would have waited too long here.
        in_hand: messages that came and are not settled yet.
    """

    received: int = 0
    handled: int = 0
    unwanted: int = 0
    duplicates: int = 0
    failures: int = 0
    dead: int = 0
    moved: int = 0
    in_hand: int = 0

    def copy(self) -> SubscriptionStats:
        """Return the counters as they are now."""
        return SubscriptionStats(*(getattr(self, one.name) for one in fields(self)))
