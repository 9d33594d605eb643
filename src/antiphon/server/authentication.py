"""Who sends a request: Basic and bearer credentials (RFC 7617, RFC 6750)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from antiphon.errors import AuthenticationError
from antiphon.server.calls import Identity
from antiphon.storage.passwords import (
    BLOCK_SIZE,
    HASH_BYTES,
    LOG2_N,
    PARALLELISM,
    SALT_BYTES,
    verify_password,
)

#: Seconds for which a password that was right needs not be computed again, and
#: how many such passwords are remembered.
REMEMBERED_S = 60.0
REMEMBERED = 1024

#: Characters of a header beyond which it is no credential of ours.
_MAX_HEADER = 8192

_REALM = "antiphon"

_REFUSED = "nobody knows this user, or the password or token is wrong"


class Authenticator(Protocol):
    """Tells who sends a request, by its header ``Authorization``."""

    @property
    def challenges(self) -> tuple[str, ...]:
        """The values of ``WWW-Authenticate`` for whoever was refused."""

    def recall(self, header: str | None) -> Identity | None:
        """Return who it is if that is known at once; None if it must be computed.

        Raises:
            AuthenticationError: it is known at once that it is nobody.
        """

    def authenticate(self, header: str | None) -> Identity:
        """Return who it is; may take long, so it is called in a thread.

        Raises:
            AuthenticationError: nobody knows this user, or the password is wrong.
        """


@dataclass(frozen=True, slots=True)
class Account:
    """A user that may send requests.

    Attributes:
        name: of the user, and the tag by which permissions name the user.
        password_hash: as ``antiphon.storage.passwords`` makes them; None if
            the user has none.
        token_hashes: what ``token_hash`` makes of each of the user's tokens.
        tags: more tags: groups, roles.
        may: ``read`` or ``write``; in an authorizing store permissions count, too.
    """

    name: str
    password_hash: str | bytes | None = field(default=None, repr=False)
    token_hashes: tuple[str, ...] = field(default=(), repr=False)
    tags: frozenset[str] = frozenset()
    may: Literal["read", "write"] = "write"

    @property
    def identity(self) -> Identity:
        """The user as stores see it."""
        return Identity(self.name, self.tags, self.may == "write")


def token_hash(token: str) -> str:
    """Return what to keep in place of *token*.

    A token is long and random (``secrets.token_urlsafe()``), so one round of
    SHA-256 is enough: there is nothing to guess.
    """
    return "sha256$" + hashlib.sha256(token.encode()).hexdigest()


class Accounts:
    """An ``Authenticator`` that knows users, passwords and tokens.

    Args:
        accounts: the users.
        find: returns the account of any other name, or None; asked in a
            thread for each password that is not remembered.
        anonymous: what whoever says no name may do; None refuses them.

    A password that was right is remembered for a minute by a keyed hash, since
    computing it is slow on purpose: so long may one that was changed be used.
    """

    challenges = (f'Basic realm="{_REALM}", charset="UTF-8"', f'Bearer realm="{_REALM}"')

    def __init__(
        self,
        accounts: Iterable[Account] = (),
        *,
        find: Callable[[str], Account | None] | None = None,
        anonymous: Literal["read", "write"] | None = None,
    ) -> None:
        self._accounts = {account.name: account for account in accounts}
        self._find = find
        self._anonymous = (
            None if anonymous is None else Identity("anonymous", may_write=anonymous == "write")
        )
        # Everything is looked up by a hash with a key that nobody knows, so
        # that the time that a comparison takes tells nothing.
        self._secret = os.urandom(32)
        self._tokens = {
            self._keyed(hashed.encode()): account.identity
            for account in self._accounts.values()
            for hashed in account.token_hashes
        }
        self._remembered: OrderedDict[bytes, tuple[float, Identity]] = OrderedDict()
        self._lock = threading.Lock()

    def recall(self, header: str | None) -> Identity | None:
        """Return who it is if that is known at once; see ``Authenticator``."""
        if header is None:
            if self._anonymous is None:
                raise AuthenticationError("the request says nothing of who sends it")
            return self._anonymous
        scheme, credentials = _split(header)
        if scheme == "bearer":
            identity = self._tokens.get(self._keyed(token_hash(credentials).encode()))
            if identity is None:
                raise AuthenticationError(_REFUSED)
            return identity
        with self._lock:
            remembered = self._remembered.get(self._keyed(header.encode()))
        if remembered is not None and remembered[0] > time.monotonic():
            return remembered[1]
        return None

    def authenticate(self, header: str | None) -> Identity:
        """Return who it is; see ``Authenticator``."""
        known = self.recall(header)
        if known is not None or header is None:
            return known or Identity("")
        name, password = _basic(header)
        account = self._accounts.get(name) or (self._find(name) if self._find else None)
        stored = account.password_hash if account is not None else None
        # An unknown name takes as long as a wrong password.
        if not verify_password(password, stored or _no_password()) or account is None:
            raise AuthenticationError(_REFUSED)
        self._remember(header, account.identity)
        return account.identity

    def _remember(self, header: str, identity: Identity) -> None:
        with self._lock:
            key = self._keyed(header.encode())
            self._remembered[key] = (time.monotonic() + REMEMBERED_S, identity)
            self._remembered.move_to_end(key)
            while len(self._remembered) > REMEMBERED:
                self._remembered.popitem(last=False)

    def _keyed(self, text: bytes) -> bytes:
        return hmac.digest(self._secret, text, "sha256")


def accounts_in(
    store: Any,
    *,
    user_key_path: str = ".user_",
    may: Literal["read", "write"] = "write",
) -> Callable[[str], Account | None]:
    """Return a ``find`` for ``Accounts`` that reads a ``SimpleAuthStore``'s users.

    Args:
        store: holds the users' keys; the store that is wrapped, not the wrapper.
        user_key_path: what comes before the name in the key of a user, whose
            data are the hash of the password.
        may: what these users may do.
    """

    def find(name: str) -> Account | None:
        try:
            with store.get(user_key_path + name).data as stream:
                return Account(name, password_hash=stream.read(_MAX_HEADER), may=may)
        except KeyError:
            return None

    return find


def _split(header: str) -> tuple[str, str]:
    scheme, _, credentials = header.strip().partition(" ")
    if len(header) > _MAX_HEADER or scheme.lower() not in ("basic", "bearer"):
        raise AuthenticationError("say who you are by Basic or Bearer credentials")
    return scheme.lower(), credentials.strip()


def _basic(header: str) -> tuple[str, bytes]:
    try:
        raw = base64.b64decode(_split(header)[1], validate=True)
    except (binascii.Error, ValueError):
        raise AuthenticationError("the Basic credentials are no base64") from None
    name, colon, password = raw.partition(b":")
    if not colon:
        raise AuthenticationError("the Basic credentials have no colon")
    try:
        # Passwords are kept as UTF-8, and some clients (requests) send Latin-1.
        raw.decode()
    except UnicodeDecodeError:
        return name.decode("latin-1"), password.decode("latin-1").encode()
    return name.decode(), password


def _no_password() -> str:
    """Return a hash that no password has."""
    salt, digest = (
        base64.b64encode(os.urandom(size)).decode() for size in (SALT_BYTES, HASH_BYTES)
    )
    return f"scrypt${LOG2_N}${BLOCK_SIZE}${PARALLELISM}${salt}${digest}"
