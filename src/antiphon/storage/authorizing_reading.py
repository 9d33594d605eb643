"""How an authorizing store reads, and who it does it for."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, BinaryIO, ClassVar, Self, TypeVar
from uuid import UUID

from antiphon.errors import AuthenticationError, InvalidValue, NotConnected, StoreError
from antiphon.events.api import BaseEventManager
from antiphon.storage.abstract_store import AbstractAuthorizingStore, AbstractStore
from antiphon.storage.authorized_value import AuthorizedValue, without_permissions
from antiphon.storage.authorized_writes import AuthorizedWrites
from antiphon.storage.authorizing_events import UserEvents
from antiphon.storage.checks import checked_key, checked_select, checked_timeout
from antiphon.storage.conditions import honours_expect
from antiphon.storage.journal import Journal, JournalEntry, Position
from antiphon.storage.journals import journals_of, visible, wait_for_change, wake
from antiphon.storage.permissions import OWNED, PERMISSIONS_NAME, User, has_right, may_see
from antiphon.storage.shielding import assign_behind_shield, shield
from antiphon.storage.value import Value, metadata_of, select_from

_T = TypeVar("_T")

#: Seconds after which one who waits finds out that the user was disconnected.
_WAIT_SLICE_S = 1.0


class AuthorizedReading(AbstractAuthorizingStore):
    """The reading half of ``AuthorizingStore``, which is the one to use."""

    #: Its events are shielded already, for whoever wraps it.
    shields_events: ClassVar[bool] = True

    store: AbstractStore
    user: User | None
    _authenticate: Callable[[Any], User] | None
    _writes: AuthorizedWrites

    def __init__(self) -> None:
        # Not super().__init__(): it would assign the global event manager.
        self._connected = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.store!r} for {self.user_tag!r}>"

    # -- Users ---------------------------------------------------------------

    def as_user(self, user: User) -> Self:
        """Return the same store for *user*, connected; cheap enough for one a request."""
        if not isinstance(user, User):
            raise InvalidValue(f"as_user takes a User(tag, tags), not {user!r:.80}")
        if not self.store.is_connected():
            self.store.connect()
        view = type(self).__new__(type(self))
        view.__dict__.update(self.__dict__)
        view.__dict__.pop("_user_events", None)
        view.user = user
        view._connected = True
        return view

    @property
    def user_tag(self) -> str:
        """The tag of the user who is connected; ``""`` if nobody is."""
        return "" if self.user is None else self.user.tag

    def connect(self, credentials: Any = None) -> None:
        """Find out who the user is, and connect the wrapped store if it is not yet.

        Args:
            credentials: what *authenticate* takes; without that function, what
                the wrapped store takes.

        Raises:
            AuthenticationError: nobody, or not with these credentials; the store
                is not connected then, whoever it was connected for before.
        """
        if self._authenticate is not None and not (self._connected and credentials is None):
            self.disconnect()
            user = self._authenticate(credentials)
            if not isinstance(user, User):
                raise AuthenticationError("the credentials are not valid")
            self.user = user
            credentials = None
        if not self.store.is_connected():
            self.store.connect(credentials)
        shield(self.store, self._writes.events)
        self._connected = True
        own = self.__dict__.get("_user_events")
        if own is not None:
            self._writes.events.add(own)

    def disconnect(self) -> None:
        """End this user's use of the store; the wrapped one was given, and stays connected."""
        self._connected = False
        own = self.__dict__.get("_user_events")
        if own is not None:
            self._writes.events.remove(own)

    def _present_user(self) -> User:
        if not self._connected:
            raise NotConnected(f"{self!r} is not connected; call connect() first")
        if self.user is None:
            raise AuthenticationError(
                f"nobody is connected to {self!r}: give it a user, or use as_user(user)"
            )
        return self.user

    @property
    def event_manager(self) -> BaseEventManager:
        """The user's own event manager."""
        own = self.__dict__.get("_user_events")
        if own is None:
            own = self.__dict__.setdefault("_user_events", UserEvents(self._writes.events, self))
        return own  # type: ignore[no-any-return]

    @event_manager.setter
    def event_manager(self, manager: BaseEventManager) -> None:
        assign_behind_shield(self.store, manager)

    def info(self) -> dict[str, Any]:
        return {**self.store.info(), **super().info(), "readonly": self._is_read_only()}

    def _is_read_only(self) -> bool:
        return bool(self.store.info().get("readonly", False))

    # -- Reading -------------------------------------------------------------

    def get(self, key: str) -> Value:
        user, key = self._present_user(), checked_key(key)
        return self._as_value(user, key, self._writes.value_of(key))

    def get_metadata(self, key: str, select: Iterable[str] | None = None) -> dict[str, Any]:
        user, key = self._present_user(), checked_key(key)
        names = checked_select(select)
        metadata = self._writes.metadata_of(key)
        return select_from(self._as_metadata(user, key, metadata), names)

    def exists(self, key: str) -> bool:
        user = self._present_user()
        metadata = self._writes.metadata_of(checked_key(key))
        return metadata is not None and may_see(user, self._writes.permissions_in(metadata))

    def _as_value(self, user: User, key: str, value: Any) -> Value:
        """Return *value*, which the wrapped store has under *key*, if *user* may read it."""
        metadata = None if value is None else metadata_of(value)
        permissions = self._writes.permit(user, key, metadata, "get", self)
        return AuthorizedValue(value, permissions if has_right(user, permissions, OWNED) else None)

    def _as_metadata(
        self, user: User, key: str, metadata: Mapping[str, Any] | None
    ) -> dict[str, Any]:
        self._writes.permit(user, key, metadata, "get", self)
        assert metadata is not None  # noqa: S101 - permitted, so it is there
        return without_permissions(metadata)

    # Of several keys the wrapped store may read many at a time, so it is asked for all.

    def multiget(self, keys: Iterable[str]) -> Iterator[Value]:
        user = self._present_user()
        return (
            self._as_value(user, key, value) for key, value in _beside(keys, self.store.multiget)
        )

    def multiget_data(self, keys: Iterable[str]) -> Iterator[BinaryIO]:
        return (value.data for value in self.multiget(keys))

    def multiget_metadata(
        self, keys: Iterable[str], select: Iterable[str] | None = None
    ) -> Iterator[dict[str, Any]]:
        user = self._present_user()
        names = checked_select(select)
        return (
            select_from(self._as_metadata(user, key, metadata), names)
            for key, metadata in _beside(keys, self.store.multiget_metadata)
        )

    def query(
        self, select: Iterable[str] | None = None, **kwargs: Any
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield ``(key, metadata)`` of the keys whose metadata match all of *kwargs*.

        Of keys that the user may see and not read, only that they are there is
        told: with empty metadata, and only where nothing is asked of these.
        """
        user = self._present_user()
        if PERMISSIONS_NAME in kwargs:
            raise InvalidValue(f"nobody can search by {PERMISSIONS_NAME!r}")
        asked = checked_select(select)
        names = None if asked is None else [n for n in asked if n != PERMISSIONS_NAME]
        wanted = None if names is None else [*names, PERMISSIONS_NAME]
        rows = self.store.query(wanted, **kwargs)
        return self._visible(user, rows, tells_all=not kwargs)

    def _visible(
        self, user: User, rows: Iterable[tuple[str, dict[str, Any]]], *, tells_all: bool
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        for key, metadata in rows:
            permissions = self._writes.permissions_in(metadata)
            if has_right(user, permissions, "get"):
                yield key, without_permissions(metadata)
            elif tells_all and may_see(user, permissions):
                yield key, {}

    def query_keys(self, **kwargs: Any) -> Iterator[str]:
        return (key for key, _ in self.query((), **kwargs))

    def get_permissions(self, key: str) -> dict[str, set[str]]:
        user, key = self._present_user(), checked_key(key)
        metadata = self._writes.metadata_of(key)
        permissions = self._writes.permit(user, key, metadata, OWNED, self)
        return {name: set(tags) for name, tags in permissions.items()}

    # -- The journal ---------------------------------------------------------

    @property
    def store_id(self) -> UUID | None:
        """Identity of the data of the wrapped store; None if it has no journal."""
        return getattr(self.store, "store_id", None)

    @property
    def origin(self) -> str | None:
        """Readable name of the wrapped store."""
        return getattr(self.store, "origin", None)

    @property
    def honours_expect(self) -> bool:
        """Whether writes may be conditional: where they may in the wrapped store."""
        return honours_expect(self.store)

    @property
    def in_transaction(self) -> bool:
        """Whether this thread is inside a transaction of the wrapped store."""
        return bool(getattr(self.store, "in_transaction", False))

    def head(self) -> Position:
        """Return the position of the newest commit, of whatever keys."""
        self._present_user()
        return self._journal().head()  # type: ignore[no-any-return]

    def since(self, position: Position) -> Iterable[JournalEntry]:
        """Return the entries after *position*; without a key where the user may not see it.

        A key is named to who may see it now, and its deletion, or the loss of a
        permission, to who might until then: as far as it happened through this
        object or a view of it, and not long ago.  Older entries of a key that is
        gone have none.

        Raises:
            PositionLost: the journal does not go on from there; see ``Journal``.
        """
        user = self._present_user()
        entries = self._journal().since(position)
        return (
            entry if self._may_name(user, entry) else entry._replace(key=None) for entry in entries
        )

    def wait(self, position: Position, timeout_s: float) -> Position:
        """Return the head as soon as it is another than *position*, by whatever key."""
        deadline = time.monotonic() + checked_timeout(timeout_s)
        while True:
            self._present_user()
            left_s = max(0.0, deadline - time.monotonic())
            # The wrapped store stays connected when this one is not any more.
            begun, slice_s = time.monotonic(), min(left_s, _WAIT_SLICE_S)
            found = wait_for_change(self._journal(), position, slice_s)
            was_woken = time.monotonic() - begun < 0.9 * slice_s
            if found != position or left_s == 0 or was_woken:
                return found

    def wake(self) -> None:
        """Have all who wait, of all users, return the head now, be it new or not."""
        wake(self.store)

    def journals(self) -> tuple[Journal, ...] | None:
        """Return those of the wrapped store, without a key where the user may not see it."""
        self._present_user()
        return visible(
            journals_of(self.store), lambda entry: self._may_name(self._present_user(), entry)
        )

    def _may_name(self, user: User, entry: JournalEntry) -> bool:
        if entry.key is None:
            return False
        return self._writes.events.saw(user, entry.version) or self.exists(entry.key)

    def _journal(self) -> Any:
        if self.store_id is None:
            raise StoreError(f"{self.store!r} keeps no journal")
        return self.store


def _beside(
    keys: Iterable[str], read: Callable[[Iterable[str]], Iterator[_T]]
) -> Iterator[tuple[str, _T | None]]:
    """Yield each of *keys* with what *read* has for it; None if it has nothing, and ends there."""
    mine, theirs = itertools.tee(map(checked_key, keys))
    values = iter(read(theirs))
    for key in mine:
        try:
            value = next(values, None)
        except KeyError:
            value = None
        yield key, value
