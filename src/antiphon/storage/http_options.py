"""How the stores behind URLs talk HTTP: time limits, certificates, and credentials in URLs."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from antiphon.errors import InvalidURL, InvalidValue
from antiphon.schemes import mask_url

#: Seconds to wait for a connection, and for each next piece of an answer.
CONNECT_TIMEOUT_S = 10.0
TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class HttpOptions:
    """How a store talks HTTP.

    Attributes:
        timeout_s: seconds to wait for each next piece of an answer.
        connect_timeout_s: seconds to wait for a connection, and for the server
            to take the next piece of what is sent.
        ca_file: certificates to trust, instead of those that come with requests.
        cert_file, key_file: the client's own certificate, and its key if that
            is in a file of its own.
        token_file: has a bearer token, which is read at each ``connect()`` that is
            given no credentials.
    """

    timeout_s: float = TIMEOUT_S
    connect_timeout_s: float = CONNECT_TIMEOUT_S
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = field(default=None, repr=False)
    token_file: str | None = None

    def __post_init__(self) -> None:
        for name in ("timeout_s", "connect_timeout_s"):
            if not getattr(self, name) > 0:
                raise InvalidValue(f"{name} must be above 0 seconds, not {getattr(self, name)!r}")
        for name in ("ca_file", "cert_file", "key_file", "token_file"):
            path = getattr(self, name)
            if path is not None and not os.path.exists(path):
                raise InvalidValue(f"{name}: there is no file {path!r}")

    def credentials(self, given: Any, in_url: Any) -> Any:
        """Return what to connect with: what was *given*, else what the URL has, else the token.

        Raises:
            InvalidValue: the URL has a user, and there is a file with a token; or
                the file cannot be read, or has no token.
        """
        if given is not None or self.token_file is None:
            return in_url if given is None else given
        if in_url is not None:
            raise InvalidValue("give either a user and password in the URL or token_file")
        try:
            token = Path(self.token_file).read_text(encoding="ascii").strip()
        except (OSError, ValueError) as exc:
            # Without the cause: it may quote what is in the file.
            reason = exc.strerror if isinstance(exc, OSError) else "it is no ASCII"
            raise InvalidValue(f"token_file {self.token_file!r} cannot be read: {reason}") from None
        if not token:
            raise InvalidValue(f"token_file {self.token_file!r} is empty")
        return {"token": token}


def _seconds(text: str) -> float:
    seconds = float(text)
    if not seconds > 0:
        raise ValueError("it must be above 0")
    return seconds


#: Parameters in URLs that become ``HttpOptions``.
OPTION_PARAMETERS: Mapping[str, Callable[[str], Any]] = {
    "timeout_s": _seconds,
    "connect_timeout_s": _seconds,
    "ca_file": str,
    "cert_file": str,
    "key_file": str,
    "token_file": str,
}


def split_url(url: str) -> tuple[str, dict[str, str] | None]:
    """Return *url* without user and password, and these as credentials; None if it has none.

    Raises:
        InvalidURL: it is no URL; the message has no password.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        # Without the cause: urllib quotes the part that may hold the password.
        raise InvalidURL(
            f"'{mask_url(url)}' is no URL: host or port make no sense; in a password write"
            " '/', '?', '#' and '@' as %2F, %3F, %23 and %40"
        ) from None
    before, at, host = parts.netloc.rpartition("@")
    if not at:
        return url, None
    username, colon, password = before.partition(":")
    if not colon:
        # It may be a token, so it is not repeated.
        raise InvalidURL(
            f"the URL of {host} has a user and no password: write user:password@host,"
            " or give a token to connect(): {'token': …}"
        )
    clean = urlunsplit(parts._replace(netloc=host))
    return clean, {"username": unquote(username), "password": unquote(password)}
