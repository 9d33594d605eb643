"""Makes subscribers that are alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from antiphon.messaging.broker_event_manager import BrokerEventManager
from antiphon.notifications.subscriber import EventSubscriber


class SubscriberFactory:
    """Makes active subscribers of one class.

    Args:
        xp_name, process, bus: as for ``EventSubscriber``.
        subscriber_type: class of the subscribers.
    """

    def __init__(
        self,
        xp_name: str | None = None,
        process: Any = None,
        subscriber_type: type[EventSubscriber] = EventSubscriber,
        *,
        bus: BrokerEventManager | None = None,
    ) -> None:
        self._xp_name = xp_name
        self._process = process
        self._subscriber_type = subscriber_type
        self._bus = bus

    def build(
        self,
        handler: Callable[[Any], object] | None = None,
        *,
        binding_key: str | None = None,
        event_id: int | str | None = None,
        origin: str | None = None,
        queue_name: str | None = None,
    ) -> EventSubscriber:
        """Return a subscriber that calls *handler*, and is active.

        Args:
            handler: its ``ondata``; None for a class with an ``on_data`` of its own.
            binding_key, event_id, origin, queue_name: as for ``EventSubscriber``.

        Raises:
            As ``EventSubscriber`` and its ``activate()``.
        """
        subscriber = self._subscriber_type(
            self._xp_name,
            binding_key,
            event_id,
            origin,
            queue_name,
            self._process,
            bus=self._bus,
        )
        if handler is not None:
            subscriber.ondata = handler
        return subscriber.activate()
