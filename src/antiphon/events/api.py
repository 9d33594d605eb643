"""The names of this package that programs use."""

from __future__ import annotations

from antiphon.events.abstract_event_manager import BaseEvent, BaseEventManager
from antiphon.events.event_manager import EventManager
from antiphon.events.heartbeat import Heartbeat, HeartbeatEvent
from antiphon.events.package_globals import get_event_manager, set_event_manager
from antiphon.events.progress_events import (
    ProgressEndEvent,
    ProgressEvent,
    ProgressManager,
    ProgressStartEvent,
    ProgressStepEvent,
)

__all__ = [
    "BaseEvent",
    "BaseEventManager",
    "EventManager",
    "Heartbeat",
    "HeartbeatEvent",
    "ProgressEndEvent",
    "ProgressEvent",
    "ProgressManager",
    "ProgressStartEvent",
    "ProgressStepEvent",
    "get_event_manager",
    "set_event_manager",
]
