"""What an ``amqp://`` URL says, checked before anything is connected."""

from __future__ import annotations

import urllib.parse
from dataclasses import dataclass, field

from antiphon.errors import InvalidURL
from antiphon.schemes import mask_url, scheme_of

#: Seconds between signs of life that both sides agree on; the broker sends one every half of it.
DEFAULT_HEARTBEAT_S = 6

_EXAMPLE = "amqp://user:password@host:5672/virtual-host?heartbeat=6"


@dataclass(frozen=True, slots=True)
class AmqpAddress:
    """Where a broker is and who asks; the password is kept out of the repr.

    Attributes:
        virtual_host: ``"/"`` if the URL names none; ``""`` for a URL that ends
            in a bare slash, which is what AMQP URLs mean by it.
        heartbeat_s: seconds; 0 switches heartbeats, and with them the search
            for a silent broker, off.
    """

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    virtual_host: str
    is_tls: bool
    heartbeat_s: int

    @property
    def where(self) -> str:
        """``host:port``, for messages."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(url: str) -> AmqpAddress:
    """Return what *url* says.

    Raises:
        InvalidURL: a part makes no sense; the message says which.
    """
    try:
        parts = urllib.parse.urlsplit(url)
        port = parts.port
    except ValueError as exc:
        raise InvalidURL(f"'{mask_url(url)}' is no AMQP URL: {_blame(url, exc)}") from None
    if not url[len(parts.scheme) :].startswith("://"):
        raise InvalidURL(f"'{mask_url(url)}' is no AMQP URL: '//' is missing, as in {_EXAMPLE}")
    is_tls = scheme_of(url) == "amqps"
    name = parts.path.removeprefix("/")
    if "/" in name:
        raise InvalidURL(
            f"'{mask_url(url)}' names the virtual host '{name}' with a raw slash; "
            "a slash inside a name is written %2F"
        )
    return AmqpAddress(
        host=parts.hostname or "localhost",
        port=port or (5671 if is_tls else 5672),
        user=_unquote(parts.username, "guest"),
        password=_unquote(parts.password, "guest"),
        virtual_host=urllib.parse.unquote(name) if parts.path else "/",
        is_tls=is_tls,
        heartbeat_s=_heartbeat(url, parts.query),
    )


def _unquote(text: str | None, default: str) -> str:
    return default if text is None else urllib.parse.unquote(text)


def _blame(url: str, exc: ValueError) -> str:
    # urlsplit quotes what it could not read as a port, which may be half a password.
    if "@" in url.partition("://")[2]:
        return "special characters in user and password are written %XX (/ is %2F, @ is %40)"
    return f"{exc}; an AMQP URL looks like {_EXAMPLE}"


def _heartbeat(url: str, query: str) -> int:
    options = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
    text = options.pop("heartbeat", str(DEFAULT_HEARTBEAT_S))
    if options:
        unknown = ", ".join(sorted(options))
        raise InvalidURL(f"'{mask_url(url)}' has unknown options ({unknown}); known: heartbeat")
    if not text.isascii() or not text.isdigit() or not 0 <= int(text) <= 3600:
        raise InvalidURL(
            f"'{mask_url(url)}': heartbeat is whole seconds from 0 (off) to 3600, not '{text}'"
        )
    return int(text)
