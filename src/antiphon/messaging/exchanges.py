"""Topic exchanges beside a bus's own: what is published there reaches the bus's own, too."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from antiphon.errors import BrokerRefused
from antiphon.messaging.topology import ExchangeSpec, Topology
from antiphon.messaging.transport import KEY_HEADER

#: Seconds after a refusal before the broker is asked again.
REFUSAL_S = 30.0

#: RabbitMQ routes by the keys in this header, too, and takes it out.
BCC_HEADER = "BCC"


class Exchanges:
    """Declares an exchange when it is first asked for; safe from any thread.

    Args:
        system: comes before the name of each.
        topology: what is to be declared.
        reconcile: called when that changed.
    """

    def __init__(self, system: str, topology: Topology, reconcile: Callable[[], None]) -> None:
        self._prefix = f"{system}."
        self._topology = topology
        self._reconcile = reconcile
        self._known: dict[str, tuple[str, int]] = {}
        self._refusals: dict[str, tuple[str, float]] = {}  # why, and when that was asked

    def full_name(self, name: str) -> str:
        """Return *name* at the broker: after ``<system>.``, unless that is there already."""
        return name if name.startswith(self._prefix) else self._prefix + name

    def named(self, name: str) -> str:
        """Return the full name of an exchange that feeds the bus's own; it is declared soon.

        Raises:
            BrokerRefused: the broker did not let it be declared lately.  What is
                published to it all the same reaches the listeners of its class only.
        """
        self._check(name)
        return self._declared(name)[0]

    def put(self, name: str, timeout_s: float, *, is_connected: bool) -> str:
        """Do as ``named``, and wait at most *timeout_s* until it stands, if it can.

        Args:
            name: the exchange.
            timeout_s: seconds to wait at most.
            is_connected: whether the broker can be asked now.

        Raises:
            BrokerRefused: the broker does not allow it, or did not lately: it is
                asked again after a while, since each refusal costs the connection.
        """
        self._check(name, is_connected=is_connected)
        full, generation = self._declared(name)
        self._wait(name, generation, timeout_s)
        return full

    def _check(self, name: str, *, is_connected: bool = True) -> None:
        text, asked_at = self._refusals.get(name, (None, 0.0))
        if text is not None and (not is_connected or time.monotonic() - asked_at < REFUSAL_S):
            raise BrokerRefused(text)

    def _wait(self, name: str, generation: int, timeout_s: float) -> None:
        try:
            if self._topology.wait(generation, timeout_s):
                self._refusals.pop(name, None)
        except BrokerRefused as exc:
            self._known.pop(name, None)
            self._refusals[name] = (str(exc), time.monotonic())
            raise

    def _declared(self, name: str) -> tuple[str, int]:
        known = self._known.get(name)
        if known is not None and self._topology.exchange_named(known[0]) is None:
            # Refused when nobody waited for it: it was wished for without a connection.
            self._wait(name, known[1], 0)
            known = None
        if known is None:
            full = self.full_name(name)
            generation = self._topology.put_exchange(ExchangeSpec(full, feeds_main=True))
            known = self._known[name] = (full, generation)
            self._reconcile()
        return known

    def address(
        self, key: str, headers: Mapping[str, Any] | None, *, exchange: str, topic: str
    ) -> tuple[str, Mapping[str, Any], str]:
        """Return routing key, headers and exchange of an event for *exchange*, by *topic*.

        By *key* it reaches the listeners of its class, each queue once, whatever
        it is bound to.
        """
        return topic, {**(headers or {}), KEY_HEADER: key, BCC_HEADER: [key]}, self.named(exchange)
