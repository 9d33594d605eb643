"""Where a Redis store is: its URL taken apart, and its timeouts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from antiphon.errors import InvalidURL, InvalidValue
from antiphon.schemes import MASK, mask_url
from antiphon.storage.opening import url_parameters

#: Seconds to wait for a connection, and for an answer.
CONNECT_TIMEOUT_S = 3.0
TIMEOUT_S = 10.0

#: Seconds for which a call that may be repeated is tried again after a broken
#: connection; a restarting Redis is back within them.
RETRY_S = 3.0

_DEFAULT_PORT = 6379
_TLS_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_TIMEOUTS = ("connect_timeout_s", "timeout_s", "retry_s")


def _positive(kind: Callable[[str], float]) -> Callable[[str], float]:
    def convert(text: str) -> float:
        number = kind(text)
        if not number > 0:
            raise ValueError("it must be above 0")
        return number

    return convert


_PARAMETERS: dict[str, Callable[[str], Any]] = {
    "namespace": str,
    "db": int,
    "origin": str,
    "journal_length": _positive(int),
    "grace_s": _positive(int),
    **dict.fromkeys(_TIMEOUTS, _positive(float)),
}


def check_options(url: str, options: Mapping[str, Any]) -> None:
    """Raise ``InvalidURL`` if one of *options* is none of a Redis store's."""
    url_parameters(url.partition("?")[0], _PARAMETERS, options)


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


def parse_url(url: str, **given: Any) -> tuple[RedisAddress, dict[str, Any]]:
    """Return where *url* points, and the other options of the store.

    Args:
        url: ``redis://[user:password@]host[:port][/database]?namespace=name``,
            ``rediss://…`` for TLS (with ``ssl_ca_certs``, ``ssl_certfile``,
            ``ssl_keyfile`` if needed), or ``unix:///path/to/socket?db=0&namespace=name``.
            All options of ``RedisStore`` may stand there as parameters.
        given: options that win over those in the URL, unless they are None.

    Raises:
        InvalidURL: a part makes no sense; the message names it.
    """
    parts, port = _split(url)
    is_tls = parts.scheme == "rediss"
    known = _PARAMETERS | (dict.fromkeys(_TLS_FILES, str) if is_tls else {})
    options = url_parameters(url, known)
    options |= {name: value for name, value in given.items() if value is not None}
    address = RedisAddress(
        host="" if parts.scheme == "unix" else parts.hostname or "localhost",
        port=0 if parts.scheme == "unix" else port or _DEFAULT_PORT,
        path=unquote(parts.path) if parts.scheme == "unix" else "",
        database=_database(url, parts, options.pop("db", None)),
        namespace=_namespace(url, options.pop("namespace", "")),
        username=_unquote(parts.username),
        password=_unquote(parts.password),
        tls={n: options.pop(n) for n in _TLS_FILES if n in options} if is_tls else None,
        **{name: options.pop(name) for name in _TIMEOUTS if name in options},
    )
    return address, options


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


def _database(url: str, parts: SplitResult, number: int | None) -> int:
    text = "" if parts.scheme == "unix" else parts.path.strip("/")
    if not text:
        return number or 0
    if not (text.isascii() and text.isdecimal()):
        shown = MASK if "@" in text else text  # 'redis:me:password@host'
        raise InvalidURL(f"database {shown!r} of {mask_url(url)!r} is no number")
    return int(text)


def _namespace(url: str, name: str) -> str:
    if not name or "{" in name or "}" in name:
        raise InvalidURL(
            f"namespace {name!r} of {mask_url(url)!r}: add ?namespace=<name>, text without braces;"
            " it is what the keys in Redis begin with"
        )
    return name


def _unquote(part: str | None) -> str | None:
    return unquote(part) if part else None
