"""Which node of a cluster to try next, and when."""

from __future__ import annotations

import logging
import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from antiphon.errors import AntiphonError, BrokerRefused, BrokerUnavailable
from antiphon.messaging.amqp_address import AmqpAddress
from antiphon.messaging.backoff import STEADY_S, Backoff

logger = logging.getLogger(__name__)

#: Seconds at most before the next node is tried, when one was lost: a thousand clients
#: of a node that died do not come to the next in one instant.
SPREAD_S = 0.1

#: Seconds that a node is left alone after it refused us once, and at most; doubled each time.
#: RabbitMQ refuses for a moment while it starts, so the first ones are short.
FIRST_REFUSAL_S = 1.0
MAX_REFUSAL_S = 60.0

#: Seconds between looks at whether secrets were replaced, while all nodes refuse us.
LOOK_S = 2.0

# So that both connections of a bus, and all buses of a process, begin at the same node.
_salt = os.urandom(8)


@dataclass(slots=True)
class _Refusal:
    """A node that refused us, and with what."""

    address: AmqpAddress
    count: int = 0
    until: float = 0.0


class Route:
    """Goes round the nodes of *address*; the link asks ``choose`` before each attempt.

    The nodes are tried in the order of the URL, beginning with the first: it is the
    one that the user named first, and both connections of a bus land on one node.
    ``order=random`` in the URL shuffles them once in each process, which spreads many
    clients over a cluster.  After a loss the next node is tried at once, and after
    each round there is a pause, which grows (``Backoff``).  A node that refuses us is
    left alone for 1 s, 2 s, … 60 s, or until the user, the password or the
    certificate's file is another one.

    Args:
        address: with all nodes.
        clock: seconds that never go back.
    """

    def __init__(self, address: AmqpAddress, clock: Callable[[], float] = time.monotonic) -> None:
        self._address = address
        self._clock = clock
        self._backoff = Backoff(clock)
        self._index = 0
        self._left = len(self._nodes())
        self._refusals: dict[tuple[str, int], _Refusal] = {}
        self._errors: dict[str, AntiphonError] = {}
        self._up_since: float | None = None
        self._told: str | None = None  # why secrets could not be read, so that it is said once

    def choose(self) -> AmqpAddress | None:
        """Return where to connect to now; None if every node refused us lately."""
        self._refresh()
        nodes = self._nodes()
        for step in range(len(nodes)):
            index = (self._index + step) % len(nodes)
            address = self._address.at(nodes[index])
            if not self._is_held(address):
                self._index = index
                return address
        return None

    def connected(self) -> None:
        """Take note that the connection is open."""
        self._backoff.connected()
        self._up_since = self._clock()
        self._errors.clear()
        nodes = self._nodes()
        self._refusals.pop(nodes[self._index % len(nodes)], None)

    def failed(
        self, address: AmqpAddress, error: AntiphonError
    ) -> tuple[float, AntiphonError | None]:
        """Take note that *address* failed or was lost, and what that means.

        Returns:
            Seconds to wait before the next attempt; and what to report: None if
            there are nodes that were not tried since.
        """
        up_since, self._up_since = self._up_since, None
        if up_since is None and isinstance(error, BrokerRefused):
            self._hold(address)
        if up_since is not None and self._clock() - up_since >= STEADY_S:
            self._left = len(self._nodes())
        self._errors[address.where] = error
        self._index += 1
        self._left -= 1
        if up_since is not None and self._left > 0:
            return random.uniform(0, SPREAD_S), error  # noqa: S311 - no secret
        if self._left > 0:
            return 0.0, None
        self._left = len(self._nodes())
        report, self._errors = self._summary(error), {}
        return self._backoff.next_delay_s(), report

    def pause_s(self) -> float:
        """Return how many seconds to wait before ``choose`` is asked again."""
        soonest = min((one.until for one in self._refusals.values()), default=0.0)
        return min(max(soonest - self._clock(), 0.05), LOOK_S)

    def _summary(self, error: AntiphonError) -> AntiphonError:
        if len(self._errors) < 2:
            return error
        texts = "; ".join(str(one) for one in self._errors.values())
        refused = all(isinstance(one, BrokerRefused) for one in self._errors.values())
        kind = BrokerRefused if refused else BrokerUnavailable
        return kind(f"none of the {len(self._errors)} nodes can be used: {texts}")

    def _nodes(self) -> tuple[tuple[str, int], ...]:
        nodes = self._address.nodes or ((self._address.host, self._address.port),)
        if self._address.is_shuffled:
            nodes = tuple(sorted(nodes, key=lambda node: hash((_salt, node))))
        return nodes

    def _hold(self, address: AmqpAddress) -> None:
        refusal = self._refusals.setdefault((address.host, address.port), _Refusal(address))
        hold_s = min(FIRST_REFUSAL_S * 2.0 ** min(refusal.count, 10), MAX_REFUSAL_S)
        refusal.address = address
        refusal.count += 1
        refusal.until = self._clock() + hold_s

    def _is_held(self, address: AmqpAddress) -> bool:
        refusal = self._refusals.get((address.host, address.port))
        if refusal is None or self._clock() >= refusal.until:
            return False
        if refusal.address != address:  # another password: it may let us in now
            del self._refusals[address.host, address.port]
            return False
        return True

    def _refresh(self) -> None:
        if not self._address.url:
            return
        try:
            self._address = self._address.again()
        except AntiphonError as exc:
            # Secrets are being replaced, or were by nonsense: the old ones may do.
            if self._told != str(exc):
                logger.warning("going on with the address as it was: %s", exc)
            self._told = str(exc)
        else:
            self._told = None
