"""What stands between a store and its event manager when not everybody may know.

Only the innermost store commits, and it emits itself what it committed.  So a
wrapper that has something to hide cannot do so on the way: it puts a shield
before the event manager of the store that it wraps, which redacts or drops what
goes out, and tells the wrapper's own listeners what they may hear.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from antiphon.errors import ReadOnlyStore
from antiphon.events.abstract_event_manager import Filter, Listener
from antiphon.events.api import BaseEvent, BaseEventManager
from antiphon.storage.abstract_store import AbstractReadOnlyStore
from antiphon.storage.bulk_telling import gathered_by
from antiphon.storage.events import StoreKeyEvent
from antiphon.storage.tellings import StoreOutbox, outbox_of

logger = logging.getLogger(__name__)

#: Held while shields are put up: two that come at once must not put up one each,
#: and lose what the first one hides.
_shielding = threading.RLock()


class EventPolicy(Protocol):
    """What is done with the events of one shielded store."""

    def hides(self, event: BaseEvent) -> bool:
        """Return whether nobody at all may hear of *event*."""

    def outgoing(self, event: BaseEvent) -> BaseEvent:
        """Return what goes to the event manager in place of *event*."""

    def tell(self, event: BaseEvent) -> None:
        """Tell whoever listens here, and may hear it, of *event* as it was made."""

    def listens(self, cls: type[BaseEvent]) -> bool:
        """Return whether ``tell`` would do anything with an event of class *cls*."""


class ShieldingManager(BaseEventManager):
    """An event manager that lets policies look at each event first.

    Args:
        target: where what may go out goes.
        policies: what one of them hides, nobody hears; the rest goes out as
            they make it, in this order.
    """

    def __init__(self, target: BaseEventManager, policies: tuple[EventPolicy, ...]) -> None:
        self.target = target
        self.policies = policies

    def __getattr__(self, name: str) -> Any:
        # A bus has more to it than an event manager: its system, its state.
        if name == "target":  # not there yet: somebody copies the object
            raise AttributeError(name)
        return getattr(self.target, name)

    def __repr__(self) -> str:
        return f"<shield before {self.target!r}>"

    def emit(self, event: BaseEvent, block: bool = True) -> threading.Thread | None:
        """Emit what the policies make of *event*, then tell who may hear it as it was."""
        outgoing = self.outgoing(event)
        if outgoing is None:
            return None
        try:
            return self.target.emit(outgoing, block)
        finally:
            # Also if the bus refuses it: the change is committed all the same.
            self.tell(event)

    def emit_observed(self, event: BaseEvent) -> None:
        """Do as ``emit`` does with an event that another process published."""
        outgoing = self.outgoing(event)
        if outgoing is None:
            return
        getattr(self.target, "emit_observed", self.target.emit)(outgoing)
        self.tell(event)

    @property
    def outbox(self) -> StoreOutbox | None:
        """The outbox of the bus behind the shield; None without one."""
        return outbox_of(self.target)

    def hears(self, cls: type[BaseEvent]) -> bool:
        """Return False if an event of class *cls* would have no effect at all."""
        if any(policy.listens(cls) for policy in self.policies):
            return True
        # Asked of the class, as stores do: a user's wrapper of an event manager
        # passes on what it lacks, and must not pass on this.
        hears = getattr(type(self.target), "hears", None)
        return hears is None or bool(hears(self.target, cls))

    def gather(self) -> Any:
        """Return what ``gather`` of the manager behind the shield returns; None without."""
        return gathered_by(self.target)

    def outgoing(self, event: BaseEvent) -> BaseEvent | None:
        """Return *event* as it may go out; None if nobody may hear of it."""
        # Of the event as it was made: what one has redacted another cannot tell.
        if any(policy.hides(event) for policy in self.policies):
            return None
        for policy in self.policies:
            event = policy.outgoing(event)
        return event

    def tell(self, event: BaseEvent) -> None:
        """Tell those of *event* as it was made who may hear it here."""
        for policy in self.policies:
            policy.tell(event)

    # -- Everything else is the target's -------------------------------------

    def connect(
        self, cls: type, func: Listener, filter: Filter | None = None, priority: float = 0
    ) -> None:
        """Connect *func* to the event manager behind the shield."""
        self.target.connect(cls, func, filter, priority)

    def disconnect(self, cls: type, func: Listener) -> None:
        """Disconnect *func* from the event manager behind the shield."""
        self.target.disconnect(cls, func)

    def disable(self, cls: type) -> None:
        """Disable *cls* at the event manager behind the shield."""
        self.target.disable(cls)

    def enable(self, cls: type) -> None:
        """Enable *cls* at the event manager behind the shield."""
        self.target.enable(cls)

    def is_enabled(self, cls: type) -> bool:
        """Return whether *cls* is enabled at the event manager behind the shield."""
        return self.target.is_enabled(cls)

    def add_source(self, source: object) -> None:
        """Tell the event manager behind the shield of *source*, and its medium of the shield."""
        note_shield(source)
        _call_if_any(self.target, "add_source", source)

    def remove_source(self, source: object) -> None:
        """Tell the event manager behind the shield that *source* is gone."""
        _call_if_any(self.target, "remove_source", source)


@dataclass(frozen=True)
class HiddenKeys:
    """Keeps the events of some keys from everybody; see ``EventPolicy``.

    Attributes:
        prefix: what these keys begin with.
    """

    prefix: str

    def hides(self, event: BaseEvent) -> bool:
        """Return whether *event* is of such a key."""
        return isinstance(event, StoreKeyEvent) and str(event.key).startswith(self.prefix)

    def outgoing(self, event: BaseEvent) -> BaseEvent:
        """Return *event*."""
        return event

    def tell(self, event: BaseEvent) -> None:
        """Tell nobody."""

    def listens(self, cls: type[BaseEvent]) -> bool:
        """Return False: ``tell`` does nothing."""
        return False


def shield(store: AbstractReadOnlyStore, policy: EventPolicy) -> None:
    """Put *policy* before the event managers of *store* and of all stores below it.

    Cheap where it stands there already, so it is called before every write: an
    event manager may have been assigned meanwhile.
    """
    for each in _stores_of(store):
        standing = shield_of(each.event_manager)
        if standing is None or policy not in standing.policies:
            with _shielding:
                _put_before(each, policy)


def assign_behind_shield(store: AbstractReadOnlyStore, manager: BaseEventManager) -> None:
    """Make *manager* the one behind the shields of *store* and of all stores below it."""
    with _shielding:
        for each in _stores_of(store):
            standing = shield_of(each.event_manager)
            policies = () if standing is None else standing.policies
            # A new one, assigned: so the store tells both managers what they have to know.
            each.event_manager = ShieldingManager(manager, policies)


def note_shield(store: Any) -> None:
    """Note in the medium of *store* that its keys are not to be published in clear."""
    make_ledger = getattr(store, "outbox_ledger", None)
    ledger = None if make_ledger is None else make_ledger()
    if ledger is None or ledger.is_shielded():
        return
    try:
        ledger.shield()
    except ReadOnlyStore:
        logger.debug("%r cannot be written, and so needs no note of its shield", store)


def _put_before(store: Any, policy: EventPolicy) -> None:
    standing = shield_of(store.event_manager)
    if standing is None:
        store.event_manager = ShieldingManager(store.event_manager, (policy,))
    elif policy not in standing.policies:
        standing.policies = (*standing.policies, policy)


def _stores_of(store: Any) -> Iterator[Any]:
    """Yield *store* and, if it is a wrapper, the stores that it wraps."""
    if not getattr(store, "shields_events", False) and hasattr(store, "event_manager"):
        yield store
    below = [*getattr(store, "stores", ()), getattr(store, "store", None)]
    for each in below:
        # Not by its class: whoever joins stores may bring what merely acts as one.
        if hasattr(each, "get") and hasattr(each, "query"):
            yield from _stores_of(each)


def shield_of(manager: Any) -> ShieldingManager | None:
    """Return the shield that *manager* is, or passes events on to; None without one."""
    # Behind what holds events back while a transaction of utils is open.
    while manager is not None and not isinstance(manager, ShieldingManager):
        manager = getattr(manager, "__dict__", {}).get("event_manager")
    return manager


def _call_if_any(obj: object, method: str, argument: object) -> None:
    bound = getattr(obj, method, None)
    if bound is not None:
        bound(argument)
