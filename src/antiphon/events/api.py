"""The names of this package that programs use."""

from __future__ import annotations

from antiphon.events.abstract_event_manager import BaseEvent, BaseEventManager
from antiphon.events.event_manager import EventManager
from antiphon.events.package_globals import get_event_manager, set_event_manager

__all__ = [
    "BaseEvent",
    "BaseEventManager",
    "EventManager",
    "get_event_manager",
    "set_event_manager",
]
