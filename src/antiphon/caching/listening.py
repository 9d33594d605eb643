"""Hears of the changes of a backing store, whatever it is made of."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from antiphon.caching.changes import Heard
from antiphon.errors import AntiphonError
from antiphon.events.abstract_event_manager import BaseEvent, BaseEventManager
from antiphon.events.delivery import delivery_of
from antiphon.messaging.bus import BrokerEventManager
from antiphon.messaging.inbox import EarlyListener
from antiphon.messaging.observing import has_heard_early
from antiphon.storage.events import StoreModificationEvent
from antiphon.storage.journal import Journal
from antiphon.storage.journals import key_in
from antiphon.storage.shielding import ShieldingManager

logger = logging.getLogger(__name__)

#: Takes a change that was heard of, and whether this process made it.
Take = Callable[[Heard, bool], None]

_Listener = Callable[[StoreModificationEvent], None]

#: Takes changes of other processes that were heard of together.
TakeMany = Callable[[list[Heard]], None]


class Listening:
    """Listens on a bus, and to what the stores of this process tell of themselves.

    Args:
        backing_store: connected.
        journals: its journals, if it has any.
        bus: hears of what other processes change; None hears of own changes only.
        take: gets what is heard, on the thread that tells.
        take_many: for a cache that never waits for anything: gets what other
            processes changed as soon as the bus has read it, on the bus's thread
            of the connection; None has *take* get it later.
    """

    def __init__(
        self,
        backing_store: Any,
        journals: Sequence[Journal] | None,
        bus: BrokerEventManager | None,
        take: Take,
        *,
        take_many: TakeMany | None = None,
    ) -> None:
        self._take_many = take_many
        self._early: list[EarlyListener] = []
        self._store = backing_store
        self._journals = journals
        self._bus = bus
        self._take = take
        self._connected: list[tuple[BaseEventManager, _Listener]] = []

    def start(self) -> None:
        """Begin to listen.

        Raises:
            BusClosed, BrokerRefused: nothing is heard.
        """
        inner = list(_innermost_stores(self._store))
        own = {id(m): m for m in map(_manager_of, inner) if m is not None and m is not self._bus}
        try:
            for condition, origin, listener in self._wanted(inner):
                if self._bus is not None:
                    self._bus.connect(StoreModificationEvent, listener, condition, origin=origin)
                    self._connected.append((self._bus, listener))
                for manager in own.values():
                    self._connect_own(manager, listener, condition)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Listen no more.  Twice is fine."""
        while self._early and self._bus is not None:
            self._bus.hear_early_no_more(self._early.pop())
        while self._connected:
            manager, listener = self._connected.pop()
            try:
                manager.disconnect(StoreModificationEvent, listener)
            except (AntiphonError, KeyError) as exc:
                logger.debug("a listener was gone already: %s", exc)

    def _wanted(
        self, inner: list[Any]
    ) -> Iterator[tuple[dict[str, object], str | None, _Listener]]:
        """Yield what to listen to: filter, origin and listener for each store."""
        if self._journals is None:
            store_id = getattr(self._store, "store_id", None)
            named = {"source": self._store} if store_id is None else {"source.store_id": store_id}
            yield named, _origin_of(self._store), self._listener(None)
            return
        by_id = {getattr(store, "store_id", None): store for store in inner}
        for journal in self._journals:
            store = by_id.get(journal.store_id, self._store)
            yield {"source.store_id": journal.store_id}, _origin_of(store), self._listener(journal)

    def _listener(self, journal: Journal | None) -> _Listener:
        on_early = None if journal is None else self._hear_early(journal)

        # Functions are held strongly by an event manager, bound methods are
        # not: this one keeps the invalidator alive for as long as its bus.
        def on_change(event: StoreModificationEvent) -> None:
            if on_early is None or not (event.position and has_heard_early(on_early, event)):
                self._take(_heard(event, journal), delivery_of(event) is None)

        return on_change

    def _hear_early(self, journal: Journal) -> EarlyListener | None:
        bus, take_many, store_id = self._bus, self._take_many, journal.store_id
        if bus is None or take_many is None or store_id is None:
            return None

        def on_early(events: Sequence[BaseEvent]) -> None:
            changes = [
                _heard(event, journal)
                for event in events
                if isinstance(event, StoreModificationEvent)
                and event.position
                and getattr(event.source, "store_id", None) == store_id
            ]
            if changes:
                take_many(changes)

        bus.hear_early(on_early)
        self._early.append(on_early)
        return on_early

    def _connect_own(
        self, manager: BaseEventManager, listener: _Listener, condition: dict[str, object]
    ) -> None:
        try:
            if isinstance(manager, BrokerEventManager):
                manager.connect(StoreModificationEvent, listener, condition, scope="local")
            else:
                manager.connect(StoreModificationEvent, listener, condition)
        except AntiphonError as exc:
            # Nothing is told there, then, and so nothing can be missed.
            logger.debug("cannot listen to %r: %s", manager, exc)
            return
        self._connected.append((manager, listener))


def _heard(event: StoreModificationEvent, journal: Journal | None) -> Heard:
    delivery = delivery_of(event)
    key, redacted = event.key, event.redacted
    if journal is not None and not redacted:
        named = key_in(journal, key)
        key, redacted = (key, True) if named is None else (named, False)
    sent_ns = None if delivery is None else delivery.time_ns
    return Heard(key, event.position, sent_ns, redacted, event.link)


def _origin_of(store: object) -> str | None:
    origin = getattr(store, "origin", None)
    return origin if isinstance(origin, str) else None


def _innermost_stores(store: Any) -> Iterator[Any]:
    """Yield the stores that emit the events of *store*: those that wrap no other."""
    below = [*(getattr(store, "stores", None) or ()), getattr(store, "store", None)]
    wrapped = [each for each in below if hasattr(each, "get") and hasattr(each, "query")]
    for each in wrapped:
        yield from _innermost_stores(each)
    if not wrapped:
        yield store


def _manager_of(store: Any) -> BaseEventManager | None:
    """Return what emits the events of *store*, behind what stands before it."""
    manager = getattr(store, "event_manager", None)
    while manager is not None:
        if isinstance(manager, ShieldingManager):
            manager = manager.target
        elif "event_manager" in getattr(manager, "__dict__", {}):
            manager = manager.event_manager
        else:
            break
    return manager
