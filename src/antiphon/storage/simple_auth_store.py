"""A store that asks for a user name and a password."""

from __future__ import annotations

import contextlib
import hmac
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from io import BytesIO
from typing import Any, BinaryIO

from antiphon.errors import AuthenticationError, InvalidKey, InvalidValue, NotConnected
from antiphon.storage.abstract_store import AbstractStore
from antiphon.storage.changes import missing
from antiphon.storage.checks import checked_key, checked_select
from antiphon.storage.conditions import check_honours, condition, honours_expect
from antiphon.storage.journal import Journal, Version
from antiphon.storage.journals import journals_of, visible
from antiphon.storage.passwords import PasswordEncoder, make_encoder, sha1_hasher
from antiphon.storage.portions import Bulk, bulk_of
from antiphon.storage.shielding import HiddenKeys, shield
from antiphon.storage.utils import BUFFER_BYTES, Readable
from antiphon.storage.value import Value

__all__ = ["AuthenticationError", "PasswordEncoder", "SimpleAuthStore", "make_encoder"]
__all__ += ["sha1_hasher"]

#: Makes of a password what is kept of it.
Encoder = Callable[[bytes], bytes]

#: What ``check_permissions`` returns to who may do everything.
ALL_PERMISSIONS = frozenset({"connect", "exists", "get", "set", "delete"})


class SimpleAuthStore(AbstractStore):
    """A store over another one, for users with a password.

    Each user has a key in the user store, *user_key_path* followed by the user's
    name, that holds what the encoder made of the password.  These keys are in no
    query and no event, and cannot be read or written through this store.

    All users may do everything.  A subclass says otherwise by overriding
    ``check_permissions``: without ``exists`` a key is not there for the user;
    without ``get``, ``set`` or ``delete`` the operation is an
    ``AuthenticationError``, as in Encore.

    It emits nothing itself: the events are those of the wrapped store.

    Args:
        store: has the data.  It is connected with this store, and stays so after it.
        encoder: takes a password as bytes and returns bytes.  One with a method
            ``verify(password, stored)`` is asked by that; see ``make_encoder``.
        user_key_path: prefix of the keys of users.  Keys of the wrapped store
            that begin with it are hidden, also if *user_key_store* is another:
            it may be another object over the same data.
        user_key_store: has the keys of users; None: the wrapped store.

    Raises:
        InvalidValue: *encoder* cannot be called, or *user_key_path* is empty, so
            that every key would be a user's.
    """

    def __init__(
        self,
        store: AbstractStore,
        encoder: Encoder,
        user_key_path: str = ".user_",
        user_key_store: AbstractStore | None = None,
    ) -> None:
        super().__init__()
        if not callable(encoder):
            raise InvalidValue(f"the encoder must be a function, not {encoder!r:.80}")
        if not isinstance(user_key_path, str) or (not user_key_path and user_key_store is None):
            raise InvalidValue(
                f"user_key_path is {user_key_path!r}: it must be text, and not empty unless the"
                " users have a store of their own"
            )
        self.store = store
        self.encoder = encoder
        self.user_key_path = user_key_path
        self.user_key_store = store if user_key_store is None else user_key_store
        self._username: str | None = None
        self._verified: bytes | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.store!r} for {self._username!r}>"

    # -- Connecting ----------------------------------------------------------

    def connect(self, credentials: Any = None) -> None:
        """Connect as a user.

        Args:
            credentials: a dictionary with ``username`` and ``password``, both text.

        Raises:
            AuthenticationError: there is no such user, or the password is another:
                which of the two is not told, nor does the time it takes tell.
                The store is not connected then, whoever it was connected for.
            InvalidValue: *credentials* are not of that form; likewise.
        """
        if credentials is None and self._connected:
            return
        self.disconnect()
        username, password = _checked_credentials(credentials)
        for store in (self.store, self.user_key_store):
            if not store.is_connected():
                store.connect()
        self._shield()
        stored = self._stored_password(username)
        # Also for nobody, so that the time does not tell who is known.
        is_right = self._verify(password, b"" if stored is None else stored)
        if stored is not None and is_right:
            self._username, self._verified = username, stored
        if not self._is_known() or "connect" not in self.check_permissions():
            self._username = self._verified = None
            raise AuthenticationError(
                f"cannot connect to {self.store!r}: no such user, or another password"
            )
        self._connected = True

    def disconnect(self) -> None:
        """Forget the user; the wrapped store was given, and stays connected."""
        super().disconnect()
        self._username = self._verified = None

    def info(self) -> dict[str, Any]:
        return {**super().info(), "readonly": bool(self.store.info().get("readonly", False))}

    def _shield(self) -> None:
        hidden = HiddenKeys(self.user_key_path)
        shield(self.user_key_store, hidden)
        if self.user_key_path:
            shield(self.store, hidden)

    def _verify(self, password: str, stored: bytes) -> bool:
        secret = password.encode("utf-8", "surrogatepass")
        verify = getattr(self.encoder, "verify", None)
        if verify is None:
            return hmac.compare_digest(_as_bytes(self.encoder(secret)), stored)
        if stored:
            return bool(verify(secret, stored))
        # As slow as verifying, and never right.
        self.encoder(secret or b"-")
        return False

    def _stored_password(self, username: str | None) -> bytes | None:
        if not username:
            return None
        try:
            with contextlib.closing(self.user_key_store.get_data(self._user_key(username))) as data:
                return data.read()
        except (KeyError, InvalidKey):
            return None

    def _user_key(self, username: str) -> str:
        return checked_key(self.user_key_path + username)

    # -- Users ---------------------------------------------------------------

    def set_password(self, username: str, password: str) -> None:
        """Make a user, or give one another password.

        For administrators: whoever has this object may, connected or not; the
        user store has to be connected.  Users who are connected with the
        password of before have to connect again.

        Args:
            username: text, not empty.
            password: text, not empty.

        Raises:
            InvalidValue: one of the two is not; nothing was changed.
        """
        username, password = _checked_credentials({"username": username, "password": password})
        if not username or not password:
            raise InvalidValue("neither the name of a user nor a password can be empty")
        encoded = _as_bytes(self.encoder(password.encode("utf-8", "surrogatepass")))
        self._shield()
        self.user_key_store.set(self._user_key(username), (BytesIO(encoded), {}))

    def remove_user(self, username: str) -> None:
        """Forget a user, who can do nothing more from now on; for administrators.

        Raises:
            KeyNotFound: there is no such user.
        """
        self._shield()
        self.user_key_store.delete(self._user_key(username))

    def check_permissions(self, key: str | None = None) -> Set[str]:
        """Return what the user may do with *key*; with the store, if it is None.

        Override it to permit less.  Here everybody may do everything as long as
        the password is still the one that the user connected with.

        Returns:
            Some of ``connect``, ``exists``, ``get``, ``set`` and ``delete``.
        """
        return set(ALL_PERMISSIONS) if self._is_known() else set()

    def _is_known(self) -> bool:
        """Whether the password is still the one that the user connected with."""
        stored = self._stored_password(self._username) or b""
        return bool(stored) and hmac.compare_digest(stored, self._verified or b"")

    def _check_connected(self) -> None:
        if not self._connected:
            raise NotConnected(f"{self!r} is not connected; call connect(credentials) first")

    def _permitted(self, key: str, operation: str) -> str:
        """Return *key* if the user may do *operation* with it."""
        self._check_connected()
        key = checked_key(key)
        permissions = self._permissions_of(key)
        if "exists" not in permissions:
            raise missing(key, self)
        if operation not in permissions:
            raise AuthenticationError(
                f"user {self._username!r} is not permitted to {operation} {key!r:.200}"
            )
        return key

    def _permissions_of(self, key: str) -> Set[str]:
        if self._is_users(key):
            return set()
        # A subclass need not ask whether the user is still known.
        return self.check_permissions(key) if self._is_same or self._is_known() else set()

    @property
    def _is_same(self) -> bool:
        """Whether the permissions are those of this class, the same for all keys."""
        return type(self).check_permissions is SimpleAuthStore.check_permissions

    def _is_users(self, key: str) -> bool:
        return bool(self.user_key_path) and key.startswith(self.user_key_path)

    # -- Reading -------------------------------------------------------------

    def get(self, key: str) -> Value:
        return self.store.get(self._permitted(key, "get"))

    def get_data(self, key: str) -> BinaryIO:
        return self.store.get_data(self._permitted(key, "get"))

    def get_data_range(
        self, key: str, start: int | None = None, end: int | None = None
    ) -> BinaryIO:
        return self.store.get_data_range(self._permitted(key, "get"), start, end)

    def get_metadata(self, key: str, select: Iterable[str] | None = None) -> dict[str, Any]:
        return self.store.get_metadata(self._permitted(key, "get"), select)

    # Of several keys the wrapped store may read many at a time, so it is asked for all.

    def multiget(self, keys: Iterable[str]) -> Iterator[Value]:
        return self.store.multiget(self._permitted(key, "get") for key in keys)

    def multiget_data(self, keys: Iterable[str]) -> Iterator[BinaryIO]:
        return self.store.multiget_data(self._permitted(key, "get") for key in keys)

    def multiget_metadata(
        self, keys: Iterable[str], select: Iterable[str] | None = None
    ) -> Iterator[dict[str, Any]]:
        permitted = (self._permitted(key, "get") for key in keys)
        return self.store.multiget_metadata(permitted, select)

    def exists(self, key: str) -> bool:
        self._check_connected()
        key = checked_key(key)
        return "exists" in self._permissions_of(key) and self.store.exists(key)

    def query(
        self, select: Iterable[str] | None = None, **kwargs: Any
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield ``(key, metadata)`` of the keys whose metadata match all of *kwargs*.

        Keys that the user may not get are left out, but for a query without
        conditions, which says with empty metadata that they exist.
        """
        self._check_connected()
        names = checked_select(select)
        rows = self.store.query(names, **kwargs)
        return self._visible(rows, tells_all=not kwargs)

    def query_keys(self, **kwargs: Any) -> Iterator[str]:
        self._check_connected()
        keys = self.store.query_keys(**kwargs)
        return (key for key, _ in self._visible(((key, {}) for key in keys), tells_all=not kwargs))

    def _visible(
        self, rows: Iterable[tuple[str, dict[str, Any]]], *, tells_all: bool
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        is_same = self._is_same
        same: Set[str] = self.check_permissions() if is_same else frozenset()
        for key, metadata in rows:
            is_plain = is_same and not self._is_users(key)
            permissions = same if is_plain else self._permissions_of(key)
            if "exists" not in permissions:
                continue
            if "get" in permissions:
                yield key, metadata
            elif tells_all:
                yield key, {}

    def journals(self) -> tuple[Journal, ...] | None:
        """Return those of the wrapped store, without a key where the user may not see it."""
        self._check_connected()
        return visible(
            journals_of(self.store), lambda entry: "exists" in self._permissions_of(entry.key or "")
        )

    # -- Writing -------------------------------------------------------------

    @property
    def honours_expect(self) -> bool:
        """Whether writes may be conditional: where they may in the wrapped store."""
        return honours_expect(self.store)

    @property
    def in_transaction(self) -> bool:
        """Whether this thread is inside a transaction of the wrapped store."""
        return bool(getattr(self.store, "in_transaction", False))

    def set(
        self,
        key: str,
        value: Any,
        buffer_size: int = BUFFER_BYTES,
        *,
        expect: Version | None = None,
    ) -> Version | None:
        key = self._writable(key, "set", expect)
        return self.store.set(key, value, buffer_size, **condition(expect))

    def multiset(
        self, keys: Iterable[str], values: Iterable[Any], buffer_size: int = BUFFER_BYTES
    ) -> None:
        permitted = (self._permitted(key, "set") for key in keys)
        self.store.multiset(permitted, values, buffer_size)

    def set_data(
        self,
        key: str,
        data: Readable,
        buffer_size: int = BUFFER_BYTES,
        *,
        expect: Version | None = None,
    ) -> Version | None:
        key = self._writable(key, "set", expect)
        return self.store.set_data(key, data, buffer_size, **condition(expect))

    def set_metadata(
        self, key: str, metadata: Mapping[str, Any], *, expect: Version | None = None
    ) -> Version | None:
        key = self._writable(key, "set", expect)
        return self.store.set_metadata(key, metadata, **condition(expect))

    def update_metadata(
        self, key: str, metadata: Mapping[str, Any], *, expect: Version | None = None
    ) -> Version | None:
        key = self._writable(key, "set", expect)
        return self.store.update_metadata(key, metadata, **condition(expect))

    def delete(self, key: str, *, expect: Version | None = None) -> Version | None:
        key = self._writable(key, "delete", expect)
        return self.store.delete(key, **condition(expect))

    def transaction(self, notes: str = "") -> contextlib.AbstractContextManager[Any]:
        """Return a transaction of the wrapped store."""
        self._check_connected()
        return self.store.transaction(notes)

    def _bulk(self, notes: str) -> Bulk:
        self._check_connected()
        return bulk_of(self.store, notes)

    def _writable(self, key: str, operation: str, expect: Version | None) -> str:
        check_honours(self.store, expect)
        return self._permitted(key, operation)


def _checked_credentials(credentials: Any) -> tuple[str, str]:
    given = type(credentials).__name__
    if isinstance(credentials, Mapping):
        username, password = credentials.get("username"), credentials.get("password")
        if isinstance(username, str) and isinstance(password, str):
            return username, password
        given = f"{type(username).__name__} and {type(password).__name__}"
    # Not the credentials themselves: a password must not get into a log.
    raise InvalidValue(
        f"credentials must be a dictionary with 'username' and 'password', both text; not {given}"
    )


def _as_bytes(encoded: object) -> bytes:
    if isinstance(encoded, str):
        encoded = encoded.encode()
    if not isinstance(encoded, bytes):
        raise InvalidValue(f"the encoder must return bytes, not {type(encoded).__name__}")
    return encoded
