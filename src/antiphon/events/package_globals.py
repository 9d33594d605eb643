"""The event manager that a whole program shares."""

from __future__ import annotations

import threading

from antiphon.errors import AlreadyRegistered
from antiphon.events.abstract_event_manager import BaseEventManager
from antiphon.events.event_manager import EventManager

_event_manager: BaseEventManager | None = None
_lock = threading.Lock()


def get_event_manager() -> BaseEventManager:
    """Return the event manager of this program, made when first asked for."""
    global _event_manager
    with _lock:
        if _event_manager is None:
            _event_manager = EventManager()
        return _event_manager


def set_event_manager(event_manager: BaseEventManager) -> None:
    """Make *event_manager* the one of this program, before anyone has asked for it.

    Raises:
        AlreadyRegistered: (a ``ValueError``) the program has one already, which
            listeners may be connected to; nothing was changed.
    """
    global _event_manager
    with _lock:
        if _event_manager is not None:
            raise AlreadyRegistered(
                "the program has an event manager already, and listeners may be connected to it: "
                "call set_event_manager() before anything calls get_event_manager()"
            )
        _event_manager = event_manager
