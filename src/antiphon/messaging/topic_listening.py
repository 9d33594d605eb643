"""The part of a bus that listens by topic, to exchanges beside the bus's own."""

from __future__ import annotations

from antiphon.errors import BrokerRefused
from antiphon.events.abstract_event_manager import Filter, Listener
from antiphon.messaging.exchanges import Exchanges
from antiphon.messaging.listening import ListeningManager
from antiphon.messaging.matching import Condition
from antiphon.messaging.subscriptions import BIND_TIMEOUT_S
from antiphon.messaging.topology import BROADCAST, Binding


class TopicListeningManager(ListeningManager):
    """Base of ``BrokerEventManager``."""

    _exchanges: Exchanges

    def put_exchange(self, name: str) -> str:
        """Declare the topic exchange *name* beside the bus's own, which it feeds.

        Args:
            name: without ``<system>.`` before it.

        Returns:
            Its name at the broker.  When it returns and the bus is connected, the
            exchange stands; events whose class says that they go there are
            published in any case.

        Raises:
            BrokerRefused: the broker does not allow it.
            BusClosed: nothing was declared.
        """
        self._check_open()
        return self._exchanges.put(name, BIND_TIMEOUT_S, is_connected=self._transport.is_connected)

    def connect_topic(
        self,
        exchange: str,
        pattern: str,
        cls: type,
        func: Listener,
        filter: Filter | None = None,
        condition: Condition | None = None,
    ) -> None:
        """Call *func* with every event of class *cls* that is published by a topic, from now on.

        Args:
            exchange: where such events are published, without ``<system>.``.
            pattern: the broker sends what matches it here.
            cls, func: as for ``connect``; ``disconnect`` ends it.
            filter, condition: they must say of an event whether *pattern* matches
                its topic, since events come here for other listeners, too.

        Raises:
            BrokerRefused: the broker does not allow it; nothing was connected.
            BusClosed: nothing was connected.

        As with ``connect``, the binding stands when it returns, if the bus is connected.
        """
        self._check_open()
        full = self.put_exchange(exchange)
        self._connect(cls, func, filter, 0, condition)
        try:
            self._subscriptions.put(cls, func, (Binding(BROADCAST, pattern, full),))
        except BrokerRefused:
            super().disconnect(cls, func)
            raise
