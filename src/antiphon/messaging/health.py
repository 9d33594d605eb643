"""Whether a bus works: what ``/readyz`` of a service asks."""

from __future__ import annotations

from dataclasses import dataclass

from antiphon.messaging.canary import Canary
from antiphon.messaging.inbox import Inbox
from antiphon.messaging.outgoing import OutgoingBuffer
from antiphon.messaging.subscribing import SubscribingManager


@dataclass(frozen=True, slots=True)
class BusHealth:
    """How a bus is at this moment.

    Attributes:
        ready: whether it works: a canary went round the broker lately, everything is
            declared and consumed, and nothing is blocked.
        problems: why not, a sentence each; empty if it is ready.
        is_broken: whether only a restart of the program helps: a thread of the bus
            has ended, or it was closed.
        is_connected: whether the connection stands.
        blocked_because: why the broker takes nothing; None if it does.
        canary_age_s: seconds since a canary came back over this connection; None if
            none has, or none is sent.
        canary_round_trip_s: seconds that the newest took.
        buffered: events that the broker has not confirmed.
        backlog: messages that have arrived and wait for listeners.
        consumers: queues that are consumed at the broker.
        subscriptions: durable subscriptions of this bus.
    """

    ready: bool
    problems: tuple[str, ...]
    is_broken: bool
    is_connected: bool
    blocked_because: str | None
    canary_age_s: float | None
    canary_round_trip_s: float | None
    buffered: int
    backlog: int
    consumers: int
    subscriptions: int


class HealthManager(SubscribingManager):
    """Base of ``BrokerEventManager``."""

    _inbox: Inbox
    _outgoing: OutgoingBuffer
    _canary: Canary

    def health(self) -> BusHealth:
        """Return how the bus is; never waits, and works on a closed bus, too."""
        broken = self._broken()
        is_connected = self._transport.is_connected and not broken
        problems = broken or self._problems()
        consumed = self._topology.consumed if is_connected else ()
        return BusHealth(
            ready=not problems,
            problems=tuple(problems),
            is_broken=bool(broken),
            is_connected=is_connected,
            blocked_because=self._inbox.blocked_because,
            canary_age_s=self._canary.age_s,
            canary_round_trip_s=self._canary.round_trip_s,
            buffered=len(self._outgoing),
            backlog=self._inbox.backlog,
            consumers=len(consumed),
            subscriptions=len(self.durable_subscriptions),
        )

    def _broken(self) -> list[str]:
        if self._closed_because is not None:
            return [f"the bus on {self.url} cannot be used: {self._closed_because}"]
        dead = list(self._inbox.dead_threads())
        if not self._canary.is_alive():
            dead.append("canary")
        if not self._timetable.is_alive():
            dead.append("retries")
        dead += [
            f"subscription {one.name!r}" for one in self.durable_subscriptions if not one.is_alive()
        ]
        if not self._transport.is_alive():
            dead.append("connection")
        return [f"the bus's thread for its {name} has ended" for name in dead]

    def _problems(self) -> list[str]:
        if not self._transport.is_connected:
            return [str(self._transport.last_error or f"not connected to {self.url} yet")]
        found = [
            f"queue {label!r} is not consumed: {error}"
            for label, error in self._topology.troubles.items()
        ]
        if (reason := self._inbox.blocked_because) is not None:
            found.append(f"the broker takes nothing: {reason}")
        elif (silence := self._canary.problem()) is not None:
            found.append(silence)
        return found
