"""HTTP for the stores behind URLs; the one file that knows requests.

One pool of connections for each store, a time limit on everything, and a
second try where that cannot do anything twice: reading requests after a broken
connection or a 502, 503 or 504, all others only if no connection came about.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import ssl
import threading
import weakref
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase, HTTPBasicAuth

from antiphon.errors import (
    InvalidURL,
    InvalidValue,
    NotConnected,
    StoreError,
    StoreUnavailable,
)
from antiphon.storage.http_answer import HttpAnswer, chain_of, length_in, reason_of
from antiphon.storage.http_options import HttpOptions

#: How often a request that may be repeated is tried again, and seconds before
#: the second such time; the pause doubles.
RETRIES = 3
_BACKOFF_S = 0.1

#: Connections that are kept for later; more are made when they are needed.
POOL_CONNECTIONS = 16

_OPEN = "; whether the change happened is open: reading tells"

_REPEATABLE = frozenset({"GET", "HEAD", "OPTIONS"})


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
        self._sockets: _Sockets | None = None
        self._auth: AuthBase | None = None
        self._given: Any = None
        self._take(credentials)
        self._is_closed = False
        self._pid = os.getpid()
        self._session = self._given or self._new_session()

    def for_waiting(self) -> HttpClient:
        """Return another client of the same server, for requests that wait for their answers.

        It tries nothing again, and ``close`` ends what waits, unless the session
        was given.
        """
        other = HttpClient(self._place, None, self._options)
        other._auth, other._given = self._auth, self._given
        other._sockets = _Sockets()
        other._session = self._given or other._new_session()
        return other

    def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        *,
        params: Mapping[str, str] | None = None,
        body: bytes | Iterable[bytes] | None = None,
        more_s: float = 0.0,
    ) -> HttpAnswer:
        """Send a request and return the answer, whatever its status, its body unread.

        Args:
            more_s: seconds that the answer may take longer than others.
            body: all of it, or pieces, which are sent as they are made; what
                making them raises is raised here, and the server gets no whole
                request.

        Raises:
            NotConnected: the client was closed.
            StoreUnavailable: there is no answer; what the request may have done
                is in the message.
            InvalidURL: the URL makes no sense.
        """
        self._check_open()
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
                timeout=(self._options.connect_timeout_s, self._options.timeout_s + more_s),
                # A write that is sent elsewhere would lose its body, or its method.
                allow_redirects=method in _REPEATABLE,
                **tls,
            )
        except _SourceFailed as failed:
            raise failed.error from None
        except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema) as exc:
            raise InvalidURL(f"{self._place}: {exc}") from None
        except _FAILURES as exc:
            self._check_open()
            raise self._unavailable(method, exc) from exc
        except ValueError as exc:
            # Of urllib, which requests lets through: our own URLs were read before.
            raise StoreError(
                f"{self._place}: the server sends us on to what is no URL ({exc})"
                + ("" if method in _REPEATABLE else _OPEN)
            ) from None
        if self._is_closed:
            # Closed meanwhile: what is taken back now would stay open in a new pool.
            response.close()
            self.close()
        self._check_open()
        return self._answer(response, has_body=method != "HEAD")

    def close(self) -> None:
        """Close the connections, unless the session was given.  Twice is fine."""
        self._is_closed = True
        if self._given is None:
            _close_pools(self._session)
            self._session.close()
        if self._sockets is not None:
            self._sockets.close()

    def _check_open(self) -> None:
        if self._is_closed:
            raise NotConnected(f"{self._place} was disconnected; call connect() first")

    # -- Helpers -------------------------------------------------------------

    def _answer(self, response: requests.Response, *, has_body: bool) -> HttpAnswer:
        headers = response.headers
        encoded = headers.get("Content-Encoding", "identity") != "identity"
        length = None
        if not has_body or response.status_code in (204, 304):
            length = 0
        elif not encoded and "Transfer-Encoding" not in headers:
            length = length_in(headers)
        # requests leaves bodies as they came; ours are never encoded, and those
        # of others are if they do not listen to what is asked for.
        kwargs = {"decode_content": True} if encoded else {}

        def read(size: int) -> bytes:
            piece: bytes = response.raw.read(*(() if size < 0 else (size,)), **kwargs)
            return piece

        return HttpAnswer(
            status=response.status_code,
            url=response.url,
            headers=headers,
            length=length,
            read=read,
            close=response.close,
            place=self._place,
            failures=_FAILURES,
        )

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
            total=RETRIES if self._sockets is None else 0,
            allowed_methods=_REPEATABLE,
            status_forcelist=(502, 503, 504),
            backoff_factor=_BACKOFF_S,
            raise_on_status=False,
            respect_retry_after_header=False,
        )
        for prefix in ("http://", "https://"):
            adapter = HTTPAdapter(pool_maxsize=POOL_CONNECTIONS, max_retries=retry)
            if self._sockets is not None:
                self._sockets.note_those_of(adapter)
            session.mount(prefix, adapter)
        return session

    def _own_session(self) -> Any:
        if self._given is None and self._pid != os.getpid():
            # A forked child that used its parent's connections would mix up the answers.
            self._pid = os.getpid()
            self._session = self._new_session()
        return self._session

    def _unavailable(self, method: str, exc: BaseException) -> StoreUnavailable:
        def is_any(*kinds: type[BaseException]) -> bool:
            return any(isinstance(each, kinds) for each in chain_of(exc))

        if is_any(ssl.SSLCertVerificationError):
            hint = "; nothing was sent (ca_file=… names other certificates to trust)"
        elif is_any(urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError):
            hint = "; nothing was sent"
        elif method in _REPEATABLE:
            hint = ""
        else:
            hint = _OPEN
        if is_any(urllib3.exceptions.ReadTimeoutError, requests.ReadTimeout):
            why = f"no answer within {self._options.timeout_s:g} s"
        else:
            why = reason_of(exc)
        return StoreUnavailable(f"{self._place} cannot be reached: {why}{hint}")


#: What requests and what is below it raise when a connection fails.
_FAILURES = (OSError, urllib3.exceptions.HTTPError, http.client.HTTPException)


class _Retry(urllib3.Retry):
    """Tries nothing again whose answer did not come in time: that only takes longer.

    Nor a change that may have been begun, whatever went wrong: urllib3 looks at
    the method only for some errors, and not for those of TLS.  What is sent is
    often a stream, of which a second try would send the rest for the whole.
    """

    def increment(  # type: ignore[override]
        self,
        method: str | None = None,
        url: str | None = None,
        response: Any = None,
        error: Exception | None = None,
        _pool: Any = None,
        _stacktrace: Any = None,
    ) -> urllib3.Retry:
        is_begun = error is not None and not self._is_connection_error(error)
        if isinstance(error, urllib3.exceptions.ReadTimeoutError) or (
            is_begun and method not in _REPEATABLE
        ):
            raise error  # type: ignore[misc]
        return super().increment(method, url, response, error, _pool, _stacktrace)


def _close_pools(session: requests.Session) -> None:
    # urllib3 (2.x) leaves it to the garbage collector, and a logged error that
    # names its connection keeps all others of the pool open.
    for adapter in session.adapters.values():
        pools = adapter.poolmanager.pools if isinstance(adapter, HTTPAdapter) else {}
        for key in list(pools.keys()):
            pool = pools.get(key)
            if pool is not None:
                pool.close()


class _Sockets:
    """The sockets of a client that waits, so that closing it ends the waiting."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self._is_closed = False

    def note_those_of(self, adapter: HTTPAdapter) -> None:
        """Note the socket of each connection that *adapter* makes from now on."""
        note = self._note

        class Plain(urllib3.connection.HTTPConnection):
            def connect(self) -> None:
                super().connect()
                note(self.sock)

        class Secured(urllib3.connection.HTTPSConnection):
            def connect(self) -> None:
                super().connect()
                note(self.sock)

        class PlainPool(urllib3.HTTPConnectionPool):
            ConnectionCls = Plain

        class SecuredPool(urllib3.HTTPSConnectionPool):
            ConnectionCls = Secured

        adapter.poolmanager.pool_classes_by_scheme = {"http": PlainPool, "https": SecuredPool}

    def _note(self, sock: Any) -> None:
        with self._lock:
            self._open.add(sock)
            is_closed = self._is_closed
        if is_closed:
            _shut_down(sock)

    def close(self) -> None:
        """Let whoever reads from one of them, now or later, meet its end."""
        with self._lock:
            self._is_closed = True
            sockets = list(self._open)
        for sock in sockets:
            _shut_down(sock)


def _shut_down(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


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
