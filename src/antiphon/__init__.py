"""Antiphon: a distributed event system over a message broker.

What a store changes in one process, every process that asked hears of, and
drops what it cached.  The names below are loaded when they are first used, so
``import antiphon`` is quick and needs no optional library.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from antiphon.archive.opening import open_archive as open_archive
    from antiphon.caching.invalidator import CacheInvalidator as CacheInvalidator
    from antiphon.errors import AntiphonError as AntiphonError
    from antiphon.events.abstract_event_manager import BaseEvent as BaseEvent
    from antiphon.events.delivery import delivery_of as delivery_of
    from antiphon.events.event_manager import EventManager as EventManager
    from antiphon.events.origin import Prefix as Prefix
    from antiphon.messaging.bus import BrokerEventManager as BrokerEventManager
    from antiphon.messaging.bus import BusOptions as BusOptions
    from antiphon.messaging.events import EventsMayBeMissing as EventsMayBeMissing
    from antiphon.messaging.subscription import Subscription as Subscription
    from antiphon.messaging.subscription_options import SubscriptionOptions as SubscriptionOptions
    from antiphon.outbox.opening import open_bus as open_bus
    from antiphon.storage.mounted_store import MountedStore as MountedStore
    from antiphon.storage.opening import open_store as open_store
    from antiphon.storage.string_value import StringValue as StringValue

__version__ = "0.1.0"

_HOMES = {
    "AntiphonError": "antiphon.errors",
    "BaseEvent": "antiphon.events.abstract_event_manager",
    "BrokerEventManager": "antiphon.messaging.bus",
    "BusOptions": "antiphon.messaging.bus",
    "CacheInvalidator": "antiphon.caching.invalidator",
    "EventManager": "antiphon.events.event_manager",
    "EventsMayBeMissing": "antiphon.messaging.events",
    "MountedStore": "antiphon.storage.mounted_store",
    "Prefix": "antiphon.events.origin",
    "StringValue": "antiphon.storage.string_value",
    "Subscription": "antiphon.messaging.subscription",
    "SubscriptionOptions": "antiphon.messaging.subscription_options",
    "delivery_of": "antiphon.events.delivery",
    "open_archive": "antiphon.archive.opening",
    "open_bus": "antiphon.outbox.opening",
    "open_store": "antiphon.storage.opening",
}

__all__ = sorted([*_HOMES, "__version__"])


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'antiphon' has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
