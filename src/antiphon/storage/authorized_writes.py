"""How an authorizing store looks at permissions, and writes only by them.

Between the look and the write somebody else may change the permissions, or
delete the key.  So every write is conditional on the version that was looked
at, and is tried again with what is there then.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Any, NamedTuple, Self

from antiphon.errors import AuthorizationError, KeyNotFound, VersionConflict
from antiphon.storage.abstract_store import AbstractStore
from antiphon.storage.authorizing_events import AuthorizedEvents
from antiphon.storage.changes import conflict, missing
from antiphon.storage.checks import checked_expect
from antiphon.storage.commits import noted_commits
from antiphon.storage.conditions import check_honours, condition, honours_expect
from antiphon.storage.journal import ABSENT, Version
from antiphon.storage.permissions import (
    OWNED,
    PERMISSIONS_NAME,
    Permissions,
    User,
    from_entry,
    has_right,
    may_see,
)
from antiphon.storage.shielding import shield
from antiphon.storage.value import metadata_of

#: How often a write is tried while others change the same key.  Each conflict
#: means that one of them got through.
_TRIES = 1000

_DOING = {
    "get": "read",
    "set": "write",
    "delete": "delete",
    OWNED: "see or change the permissions of",
}


class Found(NamedTuple):
    """What a write starts from.

    Attributes:
        is_new: whether the key is not there.
        permissions: those of the key, or those that the new key will have.
        version: of the key, where the wrapped store has versions.
    """

    is_new: bool
    permissions: Permissions
    version: Version | None


class _OpenTransaction(threading.local):
    """What this thread's open transaction has changed."""

    def __init__(self) -> None:
        self.depth = 0
        self.touched: set[str] = set()


class AuthorizedWrites:
    """Permissions and writes of one wrapped store, shared by the views of all users.

    Args:
        store: the wrapped store.
        default: permissions of keys that have none.
        digest_key: see ``AuthorizedEvents``.
    """

    def __init__(
        self, store: AbstractStore, default: Permissions, digest_key: bytes | None
    ) -> None:
        self.events = AuthorizedEvents(digest_key, self.permissions_in)
        self.open = _OpenTransaction()
        self._store = store
        self._default = default
        # For stores without versions: there, only this process can be kept from
        # changing a key between the look at its permissions and the write.
        self._lock = threading.RLock()

    # -- Looking -------------------------------------------------------------

    def permissions_in(self, metadata: Mapping[str, Any]) -> Permissions:
        """Return the permissions among *metadata* of the wrapped store; nobody's if broken."""
        if PERMISSIONS_NAME not in metadata:
            return self._default
        found = from_entry(metadata[PERMISSIONS_NAME])
        return {} if found is None else found

    def value_of(self, key: str) -> Any:
        """Return what the wrapped store has under *key*; None if it has no such key."""
        try:
            return self._store.get(key)
        except KeyError:
            return None

    def metadata_of(self, key: str) -> Mapping[str, Any] | None:
        """Return the wrapped store's metadata of *key*; None if it has no such key."""
        try:
            return self._store.get_metadata(key)
        except KeyError:
            return None

    def permit(
        self, user: User, key: str, metadata: Mapping[str, Any] | None, right: str, view: object
    ) -> Permissions:
        """Return the permissions of *key* if *user* has *right*.

        Args:
            user: who asks.
            key: the key.
            metadata: the wrapped store's; None if there is no such key.
            right: a name of a permission.
            view: named in errors, which are the same for a key that is not
                there and for one that *user* may not see.

        Raises:
            KeyNotFound: *user* may not see the key.
            AuthorizationError: *user* sees it, and may not do this.
        """
        permissions = {} if metadata is None else self.permissions_in(metadata)
        if not may_see(user, permissions):
            raise missing(key, view)
        if not has_right(user, permissions, right):
            raise AuthorizationError(
                f"{user.tag!r} may not {_DOING[right]} key {key!r:.200}: its permission"
                f" {right!r} has none of the user's tags; an owner can add one"
            )
        return permissions

    # -- Writing -------------------------------------------------------------

    def put_shield(self) -> None:
        """Shield the event manager that the wrapped store has now."""
        shield(self._store, self.events)

    @contextlib.contextmanager
    def acting(self, view: Any) -> Iterator[None]:
        """Do what is done in the block for *view*: its user hears of the progress."""
        with self.events.acting(view), noted_commits() as notes:
            try:
                yield
            finally:
                for note in notes:
                    self._keep_to_oneself(view.user, note.committed.metadata)

    def _keep_to_oneself(self, user: User | None, metadata: dict[str, Any]) -> None:
        """Take out of *metadata* what whoever answers *user* must not tell."""
        if user is None or not has_right(user, self.permissions_in(metadata), "get"):
            metadata.clear()
        metadata.pop(PERMISSIONS_NAME, None)

    def write(
        self,
        view: Any,
        user: User,
        key: str,
        right: str,
        attempt: Callable[[Found, dict[str, Any]], Version | None],
        expect: Version | None,
        *,
        makes: bool,
    ) -> Version | None:
        """Change *key* if *user* has *right*, as things are at the commit.

        Args:
            view: the user's store.
            user: who writes.
            key: the key.
            right: what it needs.
            attempt: writes, given what was found and the condition as keyword
                arguments; called again if somebody else was quicker.
            expect: what the caller expects.
            makes: whether a key that is not there is made.
        """
        expect = checked_expect(expect)
        self.put_shield()
        if not honours_expect(self._store):
            check_honours(self._store, expect)
            with self._lock, self.acting(view):
                return attempt(self._find(view, user, key, right, makes=makes), {})
        for tries_left in reversed(range(_TRIES)):
            try:
                found = self._find(view, user, key, right, makes=makes)
            except KeyNotFound:
                if expect in (None, ABSENT):
                    raise
                # The same for a key that the user may not see.
                raise conflict(key, expect, None, view) from None
            wanted = self._condition(key, found, expect, view)
            try:
                with self.acting(view):
                    version = attempt(found, condition(wanted))
            except VersionConflict:
                if expect is not None or wanted is None or not tries_left:
                    raise
            else:
                if self.open.depth:
                    self.open.touched.add(key)
                return version
        raise AssertionError("unreachable: the last try raises")

    def _find(self, view: Any, user: User, key: str, right: str, *, makes: bool) -> Found:
        value = self.value_of(key)
        metadata = None if value is None else metadata_of(value)
        if makes and metadata is None:
            return Found(True, {OWNED: frozenset({user.tag})}, None)
        if makes and metadata is not None and not may_see(user, self.permissions_in(metadata)):
            raise AuthorizationError(
                f"{user.tag!r} may not make the key {key!r:.200}: the name is taken; use another"
            )
        permissions = self.permit(user, key, metadata, right, view)
        return Found(False, permissions, getattr(value, "version", None))

    def _condition(
        self, key: str, found: Found, expect: Version | None, view: object
    ) -> Version | None:
        """Return what the write has to expect so that *found* still holds."""
        if key in self.open.touched:
            # The condition on what others do is that of the transaction's first
            # change of the key; what it finds now is its own.
            return expect
        present = ABSENT if found.is_new else found.version
        if expect is not None and present is not None and expect != present:
            raise conflict(key, expect, found.version, view)
        return present if expect is None else expect


class AuthorizedTransaction:
    """The block of one ``with store.transaction(…)`` of one user, or of one bulk.

    Args:
        writes: of the store.
        view: the user's store.
        transaction: of the wrapped store, or a bulk of it.
    """

    def __init__(self, writes: AuthorizedWrites, view: object, transaction: Any) -> None:
        self._writes = writes
        self._view = view
        self._transaction = transaction

    def __enter__(self) -> Self:
        with self._writes.acting(self._view):
            self._transaction.__enter__()
        self._writes.open.depth += 1
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        exc_traceback: TracebackType | None,
    ) -> None:
        open_now = self._writes.open
        open_now.depth -= 1
        if not open_now.depth:
            open_now.touched = set()
        # Its events are emitted now: by an event manager assigned meanwhile, perhaps.
        self._writes.put_shield()
        with self._writes.acting(self._view):
            self._transaction.__exit__(exc_type, exc_value, exc_traceback)

    def step(self) -> bool:
        """Take note that a key of a bulk was written; see ``portions.Bulk``."""
        self._writes.put_shield()
        with self._writes.acting(self._view):
            is_committed: bool = self._transaction.step()
        if is_committed:
            # What the next change of a key finds is in the medium again.
            self._writes.open.touched = set()
        return is_committed
