"""A store that lets each user do what permissions say."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

from antiphon.errors import InvalidValue
from antiphon.storage.abstract_store import AbstractStore
from antiphon.storage.authorized_writes import AuthorizedTransaction, AuthorizedWrites, Found
from antiphon.storage.authorizing_reading import AuthorizedReading
from antiphon.storage.checks import checked_key
from antiphon.storage.journal import Version
from antiphon.storage.metadata import normalise
from antiphon.storage.permissions import (
    EVERYONE,
    OWNED,
    PERMISSIONS_NAME,
    User,
    checked_permissions,
    to_entry,
)
from antiphon.storage.portions import bulk_of
from antiphon.storage.replaying import Replayable
from antiphon.storage.shielding import shield
from antiphon.storage.string_value import StringValue
from antiphon.storage.utils import BUFFER_BYTES, Readable
from antiphon.storage.value import split_value

__all__ = ["EVERYONE", "OWNED", "PERMISSIONS_NAME", "AuthorizingStore", "User"]


class AuthorizingStore(AuthorizedReading):
    """A store over another one in which each key has owners, who say who may do what.

    ``owned`` is the right to everything, ``get`` to read, ``set`` to write,
    ``delete`` to delete, ``exists`` to see that the key is there, which the
    others imply.  A new key is owned by who made it.  For who may not see a key
    it does not exist, except that it cannot be made either: its name is taken.

    Args:
        store: where the keys are.  Whoever has it has everything in it.  It is
            connected with this store and stays so after it.
        user: who uses this object; ``as_user`` makes others like it.
        authenticate: takes what ``connect`` was given and returns the user, or
            raises ``AuthenticationError``.
        events: what the wrapped store's event manager, and so the broker, gets:
            ``digest``: a keyed digest for a key, and no metadata; ``clear``: both.
        digest_key: key of the digests; the processes that have the same one
            agree on them.  None draws one.
        default_permissions: those of keys that have none, since they were put
            into the wrapped store by other ways.  None: nobody sees them.

    ``event_manager`` is this user's own: its listeners hear what happens through
    this object's store in this process to keys that the user may see, and
    nothing emitted there goes further.  Assigning one assigns it to the wrapped
    store, behind a shield that keeps keys from it.

    Raises:
        InvalidValue: an argument makes no sense.
    """

    def __init__(
        self,
        store: AbstractStore,
        *,
        user: User | None = None,
        authenticate: Callable[[Any], User] | None = None,
        events: Literal["digest", "clear"] = "digest",
        digest_key: bytes | None = None,
        default_permissions: Mapping[str, Iterable[str]] | None = None,
    ) -> None:
        super().__init__()
        if getattr(store, "shields_events", False):
            raise InvalidValue(f"{store!r} has permissions already; wrap what is behind it")
        if events not in ("digest", "clear"):
            raise InvalidValue(f"events must be 'digest' or 'clear', not {events!r:.80}")
        if digest_key is not None and not isinstance(digest_key, bytes):
            raise InvalidValue(f"digest_key must be bytes, not {type(digest_key).__name__}")
        if user is not None and not isinstance(user, User):
            raise InvalidValue(f"user must be a User(tag, tags), not {user!r:.80}")
        key = None if events == "clear" else digest_key or os.urandom(32)
        default = {} if default_permissions is None else checked_permissions(default_permissions)
        self.store = store
        self.user = user
        self._authenticate = authenticate
        self._writes = AuthorizedWrites(store, default, key)
        shield(store, self._writes.events)

    # -- Writing -------------------------------------------------------------

    def set(
        self,
        key: str,
        value: Any,
        buffer_size: int = BUFFER_BYTES,
        *,
        expect: Version | None = None,
    ) -> Version | None:
        data, metadata = split_value(value)
        plain = _own_metadata(metadata)
        size = getattr(value, "size", None)

        def attempt(found: Found, condition: dict[str, Any]) -> Version | None:
            whole = {**plain, PERMISSIONS_NAME: to_entry(found.permissions)}
            stream = source.again()
            given = (stream, whole) if size is None else _Incoming(stream, whole, size)
            return self.store.set(key, given, buffer_size, **condition)

        with Replayable(data) as source:
            return self._write(key, "set", attempt, expect, makes=True)

    def set_data(
        self,
        key: str,
        data: Readable,
        buffer_size: int = BUFFER_BYTES,
        *,
        expect: Version | None = None,
    ) -> Version | None:
        def attempt(found: Found, condition: dict[str, Any]) -> Version | None:
            if not found.is_new:
                return self.store.set_data(key, source.again(), buffer_size, **condition)
            entry = {PERMISSIONS_NAME: to_entry(found.permissions)}
            return self.store.set(key, (source.again(), entry), buffer_size, **condition)

        with Replayable(data) as source:
            return self._write(key, "set", attempt, expect, makes=True)

    def set_metadata(
        self, key: str, metadata: Mapping[str, Any], *, expect: Version | None = None
    ) -> Version | None:
        plain = _own_metadata(metadata)

        def attempt(found: Found, condition: dict[str, Any]) -> Version | None:
            whole = {**plain, PERMISSIONS_NAME: to_entry(found.permissions)}
            return self.store.set_metadata(key, whole, **condition)

        return self._write(key, "set", attempt, expect, makes=True)

    def update_metadata(
        self, key: str, metadata: Mapping[str, Any], *, expect: Version | None = None
    ) -> Version | None:
        plain = _own_metadata(metadata)
        return self._write(
            key,
            "set",
            lambda found, condition: self.store.update_metadata(key, plain, **condition),
            expect,
        )

    def delete(self, key: str, *, expect: Version | None = None) -> Version | None:
        return self._write(
            key, "delete", lambda found, condition: self.store.delete(key, **condition), expect
        )

    def transaction(self, notes: str = "") -> AuthorizedTransaction:
        """Return a transaction of the wrapped store.

        The block's writes depend on the permissions that it met: if somebody
        else changes one of its keys before the end, ``VersionConflict`` is
        raised there and nothing was written; do it again.
        """
        self._present_user()
        return AuthorizedTransaction(self._writes, self, self.store.transaction(notes))

    def _bulk(self, notes: str) -> AuthorizedTransaction:
        self._present_user()
        return AuthorizedTransaction(self._writes, self, bulk_of(self.store, notes))

    def _write(
        self,
        key: str,
        right: str,
        attempt: Callable[[Found, dict[str, Any]], Version | None],
        expect: Version | None = None,
        *,
        makes: bool = False,
    ) -> Version | None:
        user = self._present_user()
        return self._writes.write(self, user, checked_key(key), right, attempt, expect, makes=makes)

    # -- Permissions ---------------------------------------------------------

    def set_permissions(self, key: str, permissions: Mapping[str, Iterable[str]]) -> None:
        """Replace the permissions of *key*.

        Args:
            key: a key that the user owns.
            permissions: tags by name; ``*`` is the tag of everybody, and
                ``owned`` has at least one.

        Raises:
            KeyNotFound: there is no such key, or the user may not see it.
            AuthorizationError: the user sees the key, and does not own it.
            InvalidValue: nobody would own it, or *permissions* are not of that form.
        """
        entry = to_entry(checked_permissions(permissions))
        self._write_permissions(key, lambda found: entry)

    def update_permissions(self, key: str, permissions: Mapping[str, Iterable[str]]) -> None:
        """Add tags to the permissions of *key*; nobody's addition at the same time is lost.

        Raises as ``set_permissions`` does.
        """
        added = checked_permissions(permissions, partial=True)

        def together(found: Found) -> dict[str, list[str]]:
            names = {*found.permissions, *added}
            return to_entry(
                {
                    n: found.permissions.get(n, frozenset()) | added.get(n, frozenset())
                    for n in names
                }
            )

        self._write_permissions(key, together)

    def _write_permissions(
        self, key: str, entry_for: Callable[[Found], dict[str, list[str]]]
    ) -> None:
        def attempt(found: Found, condition: dict[str, Any]) -> Version | None:
            entry = entry_for(found)
            version = self.store.update_metadata(key, {PERMISSIONS_NAME: entry}, **condition)
            if any(
                tags.difference(entry.get(name, ())) for name, tags in found.permissions.items()
            ):
                self._writes.events.remember(version, found.permissions)
            return version

        self._write(key, OWNED, attempt)


class _Incoming(StringValue):
    """A value on its way into the wrapped store, its size known."""

    def __init__(self, data: Readable, metadata: Mapping[str, Any], size: int) -> None:
        super().__init__(b"", metadata)
        self._stream = data  # type: ignore[assignment]
        self.size = size


def _own_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    plain = normalise(metadata)
    if PERMISSIONS_NAME in plain:
        raise InvalidValue(
            f"metadata must have no entry {PERMISSIONS_NAME!r}, which is the store's own: use"
            " set_permissions()"
        )
    return plain
