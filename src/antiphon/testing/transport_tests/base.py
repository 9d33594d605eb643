"""What the parts of the suite share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator

import pytest

from antiphon.messaging.transport import Transport
from antiphon.testing.transport_party import PATIENCE_S, Party


class TransportTests(ABC):
    """Base of the parts of the suite: what they need of the transport."""

    @abstractmethod
    def make_transport(self) -> Transport:
        """Return a transport that is not started; all of a test reach the same broker."""

    @abstractmethod
    def make_unreachable(self) -> Transport:
        """Return a transport to a place where no broker is."""

    @abstractmethod
    def break_connections(self) -> None:
        """Have the broker break every connection, once."""

    @abstractmethod
    def delete_queue(self, name: str) -> None:
        """Delete the queue *name* at the broker, under its consumers."""

    @pytest.fixture
    def join(self) -> Iterator[Callable[..., Party]]:
        """Start parties, and stop them after the test."""
        parties: list[Party] = []

        def start(*patterns: str, exchange: str = "suite.events", **options: int) -> Party:
            party = Party(
                self.make_transport(),
                exchange=exchange,
                publisher=f"party-{len(parties)}",
                patterns=patterns,
                **options,
            )
            parties.append(party)
            return party

        yield start
        for party in parties:
            party.transport.stop(PATIENCE_S)
