"""Who hears what of the changes behind an authorizing store.

Whoever may bind to a broker reads what is there, so what goes out has a keyed
digest in place of the key, and no metadata (DESIGN section 7).  Listeners of a
user's own event manager hear, in this process only, of the keys that the user
may see.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import hmac
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from antiphon.events.abstract_event_manager import Filter, Listener
from antiphon.events.api import BaseEvent, EventManager
from antiphon.storage.events import (
    StoreDeleteEvent,
    StoreKeyEvent,
    StoreModificationEvent,
    StoreProgressEvent,
    StoreTransactionEvent,
)
from antiphon.storage.journal import Version
from antiphon.storage.permissions import PERMISSIONS_NAME, Permissions, User, has_right, may_see

#: Ended permissions that are remembered: a few megabytes.
_REMEMBERED = 10_000

#: What a redacted event keeps of its attributes, besides its source.
_KEPT = frozenset(
    {"operation_id", "steps", "step", "exit_state", "_came", "_delivery", "_event_id", "_position"}
)

_E = TypeVar("_E", bound=BaseEvent)

#: Says what an event's key permits, given the event's metadata.
PermissionsOf = Callable[[Mapping[str, Any]], Permissions]


class UserEvents(EventManager):
    """The event manager of one user: hears what the user may, and sends nothing out.

    Args:
        policy: of the store; tells it what happens.
        view: the user's store, which is the source of the events.
    """

    def __init__(self, policy: AuthorizedEvents, view: Any) -> None:
        super().__init__()
        self.view = view
        self._policy = policy

    def connect(
        self, cls: type, func: Listener, filter: Filter | None = None, priority: float = 0
    ) -> None:
        """Call *func* with the events of keys that the user may see; see ``EventManager``."""
        super().connect(cls, func, filter, priority)
        self._policy.add(self)


class AuthorizedEvents:
    """The policy of an authorizing store, shared by the views of all users.

    Args:
        digest_key: of the digests; None lets key and metadata out as they are,
            but for the permissions.
        permissions_of: reads the permissions from the metadata of an event.
    """

    def __init__(self, digest_key: bytes | None, permissions_of: PermissionsOf) -> None:
        self._digest_key = digest_key
        self._permissions_of = permissions_of
        self._lock = threading.Lock()
        self._listening: tuple[UserEvents, ...] = ()
        self._acting = threading.local()
        self._ended: OrderedDict[Version, Permissions] = OrderedDict()

    # -- Who listens, and who acts -------------------------------------------

    def add(self, events: UserEvents) -> None:
        """Tell *events* what happens from now on, for as long as its view is connected."""
        with self._lock:
            if events not in self._listening:
                self._listening = (*self._listening, events)

    def remove(self, events: UserEvents) -> None:
        """Tell *events* no more."""
        with self._lock:
            self._listening = tuple(each for each in self._listening if each is not events)

    def listens(self, cls: type[BaseEvent]) -> bool:
        """Return whether ``tell`` would do anything with an event of class *cls*."""
        return bool(self._listening) or issubclass(cls, StoreDeleteEvent)

    # -- Who might see what once ---------------------------------------------

    def remember(self, version: Version | None, permissions: Permissions) -> None:
        """Note that the change at *version* ended *permissions*.

        A key that was deleted has none any more, and one that was given away
        others: who saw it before has to hear that it changed, or would keep it
        in a cache.
        """
        if version is None:
            return
        with self._lock:
            self._ended[version] = permissions
            while len(self._ended) > _REMEMBERED:
                self._ended.popitem(last=False)

    def saw(self, user: User, version: Version) -> bool:
        """Return whether *user* is known to have seen the key until the change at *version*."""
        permissions = self._ended.get(version)
        return permissions is not None and may_see(user, permissions)

    @contextlib.contextmanager
    def acting(self, view: object) -> Iterator[None]:
        """Note that what this thread does in the block it does for *view*."""
        before = getattr(self._acting, "view", None)
        self._acting.view = view
        try:
            yield
        finally:
            self._acting.view = before

    # -- What goes out -------------------------------------------------------

    def hides(self, event: BaseEvent) -> bool:
        """Return False: that something changed is no secret."""
        return False

    def outgoing(self, event: BaseEvent) -> BaseEvent:
        """Return *event* as those may hear it who have no permission at all."""
        if not isinstance(event, StoreKeyEvent) or event.redacted:
            return event
        if self._digest_key is None:
            return _without_permissions(event)
        redacted = type(event).__new__(type(event))
        kept = {name: value for name, value in vars(event).items() if name in _KEPT}
        digest = hmac.new(self._digest_key, event.key.encode(), hashlib.sha256).hexdigest()
        redacted.__dict__.update(kept, source=event.source, key=digest, metadata={}, redacted=True)
        if isinstance(event, StoreProgressEvent):
            redacted.__dict__["message"] = "Transferring a value"
        return redacted

    # -- What users hear -----------------------------------------------------

    def tell(self, event: BaseEvent) -> None:
        """Tell each user's listeners of *event* if the user may hear of it."""
        if isinstance(event, StoreDeleteEvent) and not event.redacted:
            self.remember(event.version, self._permissions_of(event.metadata))
        for events in self._listening:
            told = self._as_told(event, events.view)
            if told is not None:
                events.emit(told)

    def _as_told(self, event: BaseEvent, view: Any) -> BaseEvent | None:
        user: User | None = view.user
        if user is None or not view.is_connected():
            return None
        # Of how far others have come with what, nobody has to know.
        is_own = getattr(self._acting, "view", None) is view
        if isinstance(event, StoreModificationEvent) or (
            is_own and isinstance(event, StoreProgressEvent)
        ):
            permissions = self._permissions_of(event.metadata)
            if isinstance(event, StoreModificationEvent) and not may_see(user, permissions):
                return None
            told = _with_source(_without_permissions(event), view)
            if not has_right(user, permissions, "get"):
                told.metadata = {}
            return told
        if is_own and isinstance(event, StoreTransactionEvent):
            return _with_source(copy.copy(event), view)
        return None


def _without_permissions(event: StoreKeyEvent) -> StoreKeyEvent:
    changed = copy.copy(event)
    metadata = getattr(event, "metadata", None) or {}
    changed.metadata = copy.deepcopy(
        {name: value for name, value in metadata.items() if name != PERMISSIONS_NAME}
    )
    return changed


def _with_source(event: _E, source: object) -> _E:
    event.source = source
    return event
