"""Topic exchanges beside a bus's own: what is published there reaches the bus's own, too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from antiphon.messaging.topology import ExchangeSpec, Topology
from antiphon.messaging.transport import KEY_HEADER

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

    def full_name(self, name: str) -> str:
        """Return *name* at the broker: after ``<system>.``, unless that is there already."""
        return name if name.startswith(self._prefix) else self._prefix + name

    def named(self, name: str) -> str:
        """Return the full name of an exchange that feeds the bus's own; it is declared soon."""
        return self._declared(name)[0]

    def generation_of(self, name: str) -> int:
        """Return what to wait for (``Topology.wait``) until the exchange stands."""
        return self._declared(name)[1]

    def forget(self, name: str) -> None:
        """Declare *name* again when it is asked for next: the broker refused it."""
        self._known.pop(name, None)

    def _declared(self, name: str) -> tuple[str, int]:
        known = self._known.get(name)
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
