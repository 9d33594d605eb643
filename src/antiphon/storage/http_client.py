"""HTTP for the stores behind URLs; the one file that knows requests.

One pool of connections for each store, a time limit on everything, and a
second try where that cannot do anything twice: reading requests after a broken
connection or a 502, 503 or 504, all others only if no connection came about.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, Self

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase, HTTPBasicAuth

from antiphon.errors import InvalidURL, InvalidValue, StoreError, StoreUnavailable
from antiphon.storage.http_options import HttpOptions

#: How often a request that may be repeated is tried again, and seconds before
#: the second such time; the pause doubles.
RETRIES = 3
_BACKOFF_S = 0.1

#: Connections that are kept for later; more are made when they are needed.
POOL_CONNECTIONS = 16

#: Bytes of an answer that is read at once: metadata have at most 4 MiB as text.
MAX_ANSWER_BYTES = 1 << 26

_REPEATABLE = frozenset({"GET", "HEAD", "OPTIONS"})


class HttpAnswer:
    """An answer whose body is read as it is asked for.

    Attributes:
        status: of HTTP.
        url: where it came from, after redirections.
        length: bytes of the body; None if the server does not say.
    """

    def __init__(self, response: requests.Response, place: str, *, has_body: bool) -> None:
        self.status: int = response.status_code
        self.url: str = response.url
        self.length: int | None = None
        self._response = response
        self._place = place
        self._is_encoded = bool(response.headers.get("Content-Encoding", "identity") != "identity")
        if not has_body:
            self.length = 0
        elif not self._is_encoded and not response.headers.get("Transfer-Encoding"):
            with contextlib.suppress(KeyError, ValueError):
                self.length = int(response.headers["Content-Length"])
        self._read = 0

    def header(self, name: str) -> str | None:
        """Return a header; None if it is not there."""
        return self._response.headers.get(name)

    def read(self, size: int = -1) -> bytes:
        """Return up to *size* bytes (negative: all that are left); ``b""`` at the end.

        Raises:
            StoreUnavailable: the connection broke, or the body is shorter than
                the server said.
        """
        if size == 0 or self.length == 0:
            return b""
        # requests leaves bodies as they came; ours are never encoded, and those
        # of others are if they do not listen to what is asked for.
        kwargs = {"decode_content": True} if self._is_encoded else {}
        with self._mapped():
            piece: bytes = self._response.raw.read(*(() if size < 0 else (size,)), **kwargs)
        self._read += len(piece)
        ended = size < 0 or not piece
        if ended and self.length is not None and self._read < self.length:
            self.close()
            raise StoreUnavailable(
                f"{self._place}: the answer ended after {self._read} of {self.length} bytes;"
                " try again"
            )
        return piece

    def exactly(self, size: int) -> bytes:
        """Return the next *size* bytes; ``StoreUnavailable`` if there are not so many."""
        pieces: list[bytes] = []
        while size > 0:
            piece = self.read(size)
            if not piece:
                self.close()
                raise StoreUnavailable(f"{self._place}: the answer ended {size} bytes too early")
            pieces.append(piece)
            size -= len(piece)
        return b"".join(pieces)

    def whole(self, limit: int = MAX_ANSWER_BYTES) -> bytes:
        """Return the whole body and close; raises ``StoreError`` if it is above *limit* bytes."""
        with self:
            if self.length is not None and self.length <= limit:
                return self.exactly(self.length)
            pieces: list[bytes] = []
            held = 0
            while held <= limit and (piece := self.read(1 << 16)):
                pieces.append(piece)
                held += len(piece)
        if held > limit:
            raise StoreError(f"{self._place}: the answer has more than {limit} bytes")
        return b"".join(pieces)

    def json(self) -> Any:
        """Return the body as JSON, and close; ``StoreError`` if it is none."""
        text = self.whole()
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            raise StoreError(f"{self._place}: the answer is no JSON: {text[:80]!r}") from None

    def lines(self) -> Iterator[bytes]:
        """Yield the lines of the body without their ends, and close."""
        with self:
            rest = b""
            while piece := self.read(1 << 16):
                *whole, rest = (rest + piece).split(b"\n")
                yield from whole
            if rest:
                yield rest

    def close(self) -> None:
        """Give the connection back; one with an unread rest is closed.  Twice is fine."""
        self._response.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @contextlib.contextmanager
    def _mapped(self) -> Iterator[None]:
        try:
            yield
        except (
            requests.RequestException,
            urllib3.exceptions.HTTPError,
            http.client.HTTPException,
            OSError,
        ) as exc:
            self.close()
            raise StoreUnavailable(
                f"{self._place}: the answer broke off after {self._read} bytes ({_reason(exc)})"
            ) from exc


class HttpClient:
    """One pool of connections to one server; used by any thread.

    Args:
        place: names the server in messages: no credentials in it.
        credentials: None, ``{"username": …, "password": …}``, ``{"token": …}``,
            the pair (username, password), or (user tag, ``requests.Session``):
            a session is used as it is, and not closed.
        options: time limits and certificates.

    Raises:
        InvalidValue: the credentials are nothing of that.
    """

    def __init__(
        self, place: str, credentials: Any = None, options: HttpOptions | None = None
    ) -> None:
        self._place = place
        self._options = HttpOptions() if options is None else options
        self.user_tag: str | None = None
        self._auth: AuthBase | None = None
        self._given: Any = None
        self._take(credentials)
        self._pid = os.getpid()
        self._session = self._given or self._new_session()

    def request(
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes | Iterable[bytes] | None = None,
    ) -> HttpAnswer:
        """Send a request and return the answer, whatever its status, its body unread.

        Args:
            body: all of it, or pieces, which are sent as they are made; what
                making them raises is raised here, and the server gets no whole
                request.

        Raises:
            StoreUnavailable: there is no answer; what the request may have done
                is in the message.
            InvalidURL: the URL makes no sense.
        """
        data = body if body is None or isinstance(body, bytes) else _guarded(body)
        wanted = {"Accept-Encoding": "identity", **(headers or {})}
        tls = {} if self._given else {"verify": self._options.ca_file or True}
        try:
            response = self._own_session().request(
                method,
                url,
                params=params,
                headers=wanted,
                data=data,
                stream=True,
                timeout=(self._options.connect_timeout_s, self._options.timeout_s),
                # A write that is sent elsewhere would lose its body, or its method.
                allow_redirects=method in _REPEATABLE,
                **tls,
            )
        except _SourceFailed as failed:
            raise failed.error from None
        except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema) as exc:
            raise InvalidURL(f"{self._place}: {exc}") from None
        except (OSError, urllib3.exceptions.HTTPError, http.client.HTTPException) as exc:
            raise self._unavailable(method, exc) from exc
        return HttpAnswer(
            response,
            self._place,
            has_body=method != "HEAD" and response.status_code not in (204, 304),
        )

    def close(self) -> None:
        """Close the connections, unless the session was given.  Twice is fine."""
        if self._given is None:
            self._session.close()

    # -- Helpers -------------------------------------------------------------

    def _take(self, credentials: Any) -> None:
        if credentials is None:
            return
        if isinstance(credentials, Mapping):
            if "token" in credentials:
                self._auth = _Bearer(str(credentials["token"]))
                return
            if "username" in credentials and "password" in credentials:
                self._auth = _basic(credentials["username"], credentials["password"])
                return
        elif isinstance(credentials, (tuple, list)) and len(credentials) == 2:
            first, second = credentials
            if callable(getattr(second, "request", None)):
                self.user_tag, self._given = first, second
                return
            if isinstance(first, str) and isinstance(second, str):
                self._auth = _basic(first, second)
                return
        raise InvalidValue(
            f"credentials of type {type(credentials).__name__} for {self._place}; give"
            " {'username': …, 'password': …}, {'token': …}, or (user tag, requests.Session)"
        )

    def _new_session(self) -> requests.Session:
        session = requests.Session()
        session.auth = self._auth
        options = self._options
        if options.cert_file is not None:
            session.cert = (
                options.cert_file
                if options.key_file is None
                else (options.cert_file, options.key_file)
            )
        retry = _Retry(
            total=RETRIES,
            allowed_methods=_REPEATABLE,
            status_forcelist=(502, 503, 504),
            backoff_factor=_BACKOFF_S,
            raise_on_status=False,
            respect_retry_after_header=False,
        )
        for prefix in ("http://", "https://"):
            session.mount(prefix, HTTPAdapter(pool_maxsize=POOL_CONNECTIONS, max_retries=retry))
        return session

    def _own_session(self) -> Any:
        if self._given is None and self._pid != os.getpid():
            # A forked child that used its parent's connections would mix up the answers.
            self._pid = os.getpid()
            self._session = self._new_session()
        return self._session

    def _unavailable(self, method: str, exc: BaseException) -> StoreUnavailable:
        root = _root(exc)
        if isinstance(root, (urllib3.exceptions.SSLError, requests.exceptions.SSLError)):
            hint = "; nothing was sent (ca_file=… names other certificates to trust)"
        elif isinstance(root, _NEVER_SENT):
            hint = "; nothing was sent"
        elif method in _REPEATABLE:
            hint = ""
        else:
            hint = "; whether the change happened is open: reading tells"
        if isinstance(root, (urllib3.exceptions.ReadTimeoutError, requests.ReadTimeout)):
            why = f"no answer within {self._options.timeout_s:g} s"
        else:
            why = _reason(exc)
        return StoreUnavailable(f"{self._place} cannot be reached: {why}{hint}")


_NEVER_SENT = (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError)


class _Retry(urllib3.Retry):
    """Tries nothing again whose answer did not come in time: that only takes longer."""

    def increment(  # type: ignore[override]
        self,
        method: str | None = None,
        url: str | None = None,
        response: Any = None,
        error: Exception | None = None,
        _pool: Any = None,
        _stacktrace: Any = None,
    ) -> urllib3.Retry:
        if isinstance(error, urllib3.exceptions.ReadTimeoutError):
            raise error
        return super().increment(method, url, response, error, _pool, _stacktrace)


class _Bearer(AuthBase):
    """A token; being an ``auth`` it is not replaced by what ``.netrc`` says."""

    def __init__(self, token: str) -> None:
        if not token.isascii() or not token.isprintable():
            raise InvalidValue("a token has ASCII characters only, and no line ends")
        self._header = f"Bearer {token}"

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = self._header
        return request


def _basic(username: str, password: str) -> AuthBase:
    # As bytes: requests takes text for Latin-1.
    return HTTPBasicAuth(str(username).encode(), str(password).encode())


class _SourceFailed(Exception):
    """What is to be sent could not be read; carries why.

    No ``OSError``, so that nobody takes it for a failure of the connection.
    """

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


def _guarded(pieces: Iterable[bytes]) -> Iterator[bytes]:
    try:
        yield from pieces
    except Exception as exc:
        raise _SourceFailed(exc) from exc


def _root(exc: BaseException) -> BaseException:
    """Return what is behind the errors that requests and urllib3 wrap it in."""
    while True:
        inner: object = getattr(exc, "reason", None)
        if not isinstance(inner, BaseException):
            inner = next((arg for arg in reversed(exc.args) if isinstance(arg, Exception)), None)
        if not isinstance(inner, BaseException):
            return exc
        if isinstance(exc, _NEVER_SENT):
            return exc
        exc = inner


def _reason(exc: BaseException) -> str:
    root = _root(exc)
    # urllib3 says which pool it was before it says what was the matter.
    text = str(root).rpartition("): ")[2] or type(root).__name__
    return text[:300]
