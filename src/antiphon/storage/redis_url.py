"""Where a Redis store is: its URL taken apart, and its timeouts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from antiphon.errors import InvalidURL, InvalidValue
from antiphon.schemes import mask_url

#: Seconds to wait for a connection, and for an answer.
CONNECT_TIMEOUT_S = 3.0
TIMEOUT_S = 10.0

#: Seconds for which a call that may be repeated is tried again after a broken
#: connection; a restarting Redis is back within them.
RETRY_S = 3.0

_DEFAULT_PORT = 6379
_TLS_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """A Redis server, a database in it and a namespace in that.

    Attributes:
        host: name or address; ``""`` for a Unix socket.
        port: TCP port; 0 for a Unix socket.
        path: of the Unix socket; ``""`` for TCP.
        database: number of the database.
        namespace: name of the store; all its keys begin with ``{namespace}:``.
        username, password: how to log in; never shown.
        tls: files for ``rediss:``, named as redis-py names them; None for no TLS.
        connect_timeout_s, timeout_s, retry_s: see the module.
    """

    host: str
    port: int
    path: str
    database: int
    namespace: str
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    tls: Mapping[str, str] | None = field(default=None, repr=False)
    connect_timeout_s: float = CONNECT_TIMEOUT_S
    timeout_s: float = TIMEOUT_S
    retry_s: float = RETRY_S

    def __str__(self) -> str:
        """Return the server and database, as messages name them: without user or password."""
        if self.path:
            return f"unix://{self.path}?db={self.database}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return (
            f"{'rediss' if self.tls is not None else 'redis'}://{host}:{self.port}/{self.database}"
        )

    def with_credentials(self, credentials: Any) -> RedisAddress:
        """Return the address with the user and password that ``connect()`` was given.

        Args:
            credentials: None, a password, a pair (user, password), or a mapping
                with ``username`` and ``password``.
        """
        if credentials is None:
            return self
        if isinstance(credentials, str):
            return replace(self, password=credentials)
        if isinstance(credentials, Mapping):
            username, password = credentials.get("username"), credentials.get("password")
        elif isinstance(credentials, tuple | list) and len(credentials) == 2:
            username, password = credentials
        else:
            raise InvalidValue(
                f"credentials of type {type(credentials).__name__} for {self};"
                " give a password, (user, password) or {'username': …, 'password': …}"
            )
        return replace(self, username=username, password=password)


def parse_url(url: str, *, namespace: str | None = None, **timeouts: float) -> RedisAddress:
    """Return what *url* says.

    Args:
        url: ``redis://[user:password@]host[:port][/database]?namespace=name``,
            ``rediss://…`` for TLS (with ``ssl_ca_certs``, ``ssl_certfile``,
            ``ssl_keyfile`` in the query if needed), or
            ``unix:///path/to/socket?db=0&namespace=name``.
        namespace: in place of the one in the URL.
        timeouts: the address's timeouts, in seconds.

    Raises:
        InvalidURL: a part makes no sense; the message names it.
    """
    parts, port = _split(url)
    query = _query(url, parts)
    name = namespace if namespace is not None else query.pop("namespace", "")
    query.pop("namespace", None)
    if not name or "{" in name or "}" in name:
        raise InvalidURL(
            f"namespace {name!r} of {mask_url(url)!r}: add ?namespace=<name>, text without braces;"
            " it is what the keys in Redis begin with"
        )
    is_socket = parts.scheme == "unix"
    database = query.pop("db", "") if is_socket else parts.path.strip("/") or query.pop("db", "")
    if not (database or "0").isdecimal():
        raise InvalidURL(f"database {database!r} of {mask_url(url)!r} is no number")
    tls = {key: query.pop(key) for key in _TLS_FILES if key in query}
    if query or (tls and parts.scheme != "rediss"):
        unknown = ", ".join([*query, *(tls if parts.scheme != "rediss" else ())])
        raise InvalidURL(f"unknown parameter {unknown} in {mask_url(url)!r} (known: namespace, db)")
    return RedisAddress(
        host="" if is_socket else parts.hostname or "localhost",
        port=0 if is_socket else port or _DEFAULT_PORT,
        path=unquote(parts.path) if is_socket else "",
        database=int(database or 0),
        namespace=name,
        username=_unquote(parts.username),
        password=_unquote(parts.password),
        tls=tls if parts.scheme == "rediss" else None,
        **timeouts,
    )


def _split(url: str) -> tuple[SplitResult, int | None]:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        # Without the cause: urllib quotes the part that may hold the password.
        raise InvalidURL(
            f"{mask_url(url)!r} is no URL: host or port make no sense; in a password write"
            " '/', '?', '#' and '@' as %2F, %3F, %23 and %40"
        ) from None
    if parts.scheme not in ("redis", "rediss", "unix"):
        raise InvalidURL(f"{mask_url(url)!r} is no URL of a Redis (redis:, rediss:, unix:)")
    if parts.fragment:
        raise InvalidURL(f"{mask_url(url)!r} has a '#': write it as %23 in a password or name")
    return parts, port


def _query(url: str, parts: SplitResult) -> dict[str, str]:
    try:
        return dict(
            parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
        )
    except ValueError as exc:
        raise InvalidURL(f"the query of {mask_url(url)!r} is not of the form name=value") from exc


def _unquote(part: str | None) -> str | None:
    return unquote(part) if part else None
