"""Servers that fail, hang or cut bodies short: clear errors, old data, nothing left open."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from antiphon.errors import (
    AuthenticationError,
    AuthorizationError,
    InvalidKey,
    InvalidValue,
    PermissionsUnsupported,
    StoreError,
    StoreFull,
    StoreUnavailable,
)
from antiphon.events.api import EventManager
from antiphon.storage.dynamic_url_store import DynamicURLStore
from antiphon.storage.events import StoreEvent
from antiphon.storage.http_options import HttpOptions
from antiphon.storage.string_value import StringValue
from web_server import Handler, PlainWeb, running

#: More than is read at once.
LARGE = b"0123456789" * 300_000


@pytest.fixture
def web() -> Iterator[PlainWeb]:
    """A server with one small and one large key."""
    with running() as web:
        for key, data in (("a", b"data"), ("large", LARGE)):
            web.data[key] = data
            web.metadata[key] = {"n": 1}
            web.permissions[key] = {"owned": ["me"]}
        yield web


@pytest.fixture
def store(web: PlainWeb) -> Iterator[DynamicURLStore]:
    """A connected store that does not wait long."""
    store = DynamicURLStore(f"{web.url}/keys", f"{web.url}/query", http=HttpOptions(timeout_s=0.3))
    store.event_manager = EventManager()
    with store:
        yield store


Use = Callable[[Any], object]

READS: list[Use] = [
    lambda store: store.get("a"),
    lambda store: store.to_bytes("a"),
    lambda store: store.get_metadata("a"),
    lambda store: store.exists("a"),
    lambda store: store.get_data("a"),
    lambda store: store.get_data_range("a", 1, 3),
    lambda store: list(store.query(n=1)),
    lambda store: list(store.query_keys()),
    lambda store: store.get_permissions("a"),
]

WRITES: list[Use] = [
    lambda store: store.set("a", StringValue(b"new", {"n": 2})),
    lambda store: store.set_data("a", io.BytesIO(b"new")),
    lambda store: store.set_data("a", io.BytesIO(LARGE)),
    lambda store: store.set_metadata("a", {"n": 2}),
    lambda store: store.update_metadata("a", {"n": 2}),
    lambda store: store.delete("a"),
    lambda store: store.set_permissions("a", {"owned": {"you"}}),
]


@pytest.mark.parametrize("use", READS + WRITES)
def test_a_server_that_fails_is_an_error(web: PlainWeb, store: Any, use: Use) -> None:
    """500 says so, with the status; nothing is told of a change."""
    heard: list[Any] = []
    store.event_manager.connect(StoreEvent, heard.append)
    web.fault = lambda handler: handler.fail(500)
    with pytest.raises(StoreError, match="500"):
        use(store)

    assert [] == [event for event in heard if "Progress" not in type(event).__name__]
    web.fault = None
    assert b"data" == store.to_bytes("a")


@pytest.mark.parametrize("use", READS)
def test_a_server_that_hangs_is_an_error(web: PlainWeb, store: Any, use: Use) -> None:
    """After the time that was set, and it is not tried again."""
    del web.requests[:]
    web.fault = Handler.hang
    with pytest.raises(StoreUnavailable, match=r"no answer within 0\.3 s"):
        use(store)

    assert 1 == len(web.requests)


def test_a_write_that_hangs_says_that_it_may_have_happened(web: PlainWeb, store: Any) -> None:
    """And it is not repeated."""
    del web.requests[:]
    web.fault = lambda handler: handler.command == "PUT" and handler.hang()
    with pytest.raises(StoreUnavailable, match="reading tells"):
        store.set_data("a", io.BytesIO(b"new"))

    assert 1 == sum(method == "PUT" for method, _ in web.requests)


@pytest.mark.parametrize("kind", ["hang up", 502, 503, 504])
def test_reading_is_tried_again(
    web: PlainWeb, store: Any, kind: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """After a broken connection, and what gateways answer for a while."""
    # A kept log record would keep the error, and with it the broken connection.
    caplog.set_level(logging.ERROR, logger="urllib3.connectionpool")
    left = [1, 1]

    def once(handler: Handler) -> bool:
        if not left:
            return False
        left.pop()
        return handler.hang_up() if kind == "hang up" else handler.fail(kind)

    web.fault = once

    assert {"n": 1} == store.get_metadata("a")
    assert [] == left


@pytest.mark.parametrize("kind", ["hang up", 503])
def test_writing_is_not_tried_again(web: PlainWeb, store: Any, kind: Any) -> None:
    """It may have happened: the error says so, and what happened is one thing at most."""
    del web.requests[:]

    def fail(handler: Handler) -> bool:
        if handler.command != "PUT":
            return False
        return handler.hang_up() if kind == "hang up" else handler.fail(503)

    web.fault = fail
    with pytest.raises(StoreUnavailable):
        store.set_metadata("a", {"n": 2})

    assert 1 == sum(method == "PUT" for method, _ in web.requests)


def test_a_server_that_is_gone_is_an_error() -> None:
    """At connect; what was never sent did not happen, and the error says so."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    store = DynamicURLStore(f"http://127.0.0.1:{port}/keys", f"http://127.0.0.1:{port}/query")
    with pytest.raises(StoreUnavailable, match=r"refused; nothing was sent"):
        store.connect()

    assert not store.is_connected()


@pytest.mark.parametrize("path", ["/keys/a/data", "/keys/a/metadata", "/query"])
def test_a_body_that_is_cut_short_is_an_error(web: PlainWeb, store: Any, path: str) -> None:
    """It never passes as whole."""
    uses: dict[str, Use] = {
        "/keys/a/data": lambda store: store.to_bytes("a"),
        "/keys/a/metadata": lambda store: store.get_metadata("a"),
        "/query": lambda store: list(store.query_keys()),
    }
    web.fault = lambda handler: handler.path == path and handler.cut(b'{"n"', 10)
    with pytest.raises(StoreUnavailable, match="4 bytes"):
        uses[path](store)


def test_a_large_body_that_is_cut_short_is_an_error(
    web: PlainWeb, store: Any, tmp_path: Any
) -> None:
    """Wherever it is read, and however."""
    web.fault = lambda handler: (
        handler.path == "/keys/large/data" and handler.cut(LARGE[:-1], len(LARGE))
    )
    uses: list[Use] = [
        lambda store: store.to_bytes("large"),
        lambda store: store.to_file("large", tmp_path / "file"),
        lambda store: store.get_data("large").read(),
        lambda store: store.get("large").data.read(),
        lambda store: store.set_data("b", store.get_data("large")),
    ]
    for use in uses:
        with pytest.raises(StoreUnavailable):
            use(store)
    assert "b" not in web.data


def test_a_server_that_hangs_within_a_body_is_an_error(web: PlainWeb, store: Any) -> None:
    """After the time that was set."""

    def stop_half_way(handler: Handler) -> bool:
        if handler.path != "/keys/large/data":
            return False
        handler.cut(LARGE[: len(LARGE) // 2], len(LARGE))
        handler.wfile.flush()
        return handler.hang()

    web.fault = stop_half_way
    with store.get_data("large") as stream, pytest.raises(StoreUnavailable, match="broke off"):
        stream.read()


def test_an_upload_that_fails_changes_nothing(web: PlainWeb, store: Any) -> None:
    """The source's error comes through, and the server never gets a whole request."""

    class Failing(io.RawIOBase):
        left = len(LARGE)

        def read(self, size: int = -1) -> bytes:
            if self.left <= 0:
                raise OSError("the source failed")
            self.left -= size
            return b"x" * size

    with pytest.raises(OSError, match="the source failed"):
        store.set_data("a", Failing(), 1 << 16)

    assert b"data" == store.to_bytes("a") == web.data["a"]


def test_a_server_that_hangs_up_during_an_upload_is_an_error(web: PlainWeb, store: Any) -> None:
    """And the connection is not used again."""
    sent: list[int] = []

    class Endless(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            sent.append(size)
            if len(sent) == 4:
                for connection in list(web.open):
                    connection.shutdown(socket.SHUT_RDWR)
            return b"x" * size if len(sent) < 200 else b""

    with pytest.raises(StoreUnavailable, match="reading tells"):
        store.set_data("a", Endless())

    assert len(sent) < 200
    assert b"data" == store.to_bytes("a")


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (401, AuthenticationError),
        (403, AuthorizationError),
        (404, KeyError),
        (413, InvalidValue),
        (507, StoreFull),
    ],
)
def test_a_status_is_an_error_of_ours(
    web: PlainWeb, store: Any, status: int, error: type[Exception]
) -> None:
    """The same one as with a store in this process; a 404 is a key that is not there."""
    web.fault = lambda handler: handler.fail(status)
    with pytest.raises(error):
        store.get("a")


def test_a_server_without_permissions_says_so(web: PlainWeb, store: Any) -> None:
    """A value's permissions belong to nobody then."""
    web.fault = lambda handler: handler.path.endswith("/auth") and handler.fail(501)
    with pytest.raises(PermissionsUnsupported):
        store.get_permissions("a")
    with pytest.raises(AuthorizationError):
        store.get("a").permissions


def test_a_redirected_write_is_refused(web: PlainWeb, store: Any) -> None:
    """It would lose its body; the error tells the other place."""

    def redirect(handler: Handler) -> bool:
        if handler.command == "GET":
            return False
        handler.answer(302, b"", {"Location": "http://elsewhere/x"})
        return True

    web.fault = redirect
    with pytest.raises(StoreError, match="http://elsewhere/x"):
        store.set_metadata("a", {"n": 2})


@pytest.mark.parametrize("key", ["..", "../a", "a/../b", ".", "./a", ""])
def test_a_key_that_leads_elsewhere_is_refused(web: PlainWeb, store: Any, key: str) -> None:
    """A server that knows the manual only cannot be told of it; nothing is sent."""
    del web.requests[:]
    uses: list[Use] = [
        lambda store: store.get(key),
        lambda store: store.set_data(key, io.BytesIO(b"x")),
        lambda store: store.delete(key),
    ]
    for use in uses:
        with pytest.raises(InvalidKey, match="lead elsewhere"):
            use(store)

    assert [] == web.requests


def test_a_server_that_cannot_do_ranges_is_read_up_to_them(web: PlainWeb, store: Any) -> None:
    """What comes before is thrown away."""
    web.ranges = False
    for start, end in [(2, 3), (1, None), (None, 2), (-2, None), (3, 1), (9, 12), (-3, -1)]:
        assert b"data"[start:end] == store.get_data_range("a", start, end).read()
    assert LARGE[5:2_000_000] == store.get_data_range("large", 5, 2_000_000).read()


def test_a_server_that_sends_another_range_is_an_error(web: PlainWeb, store: Any) -> None:
    """Its bytes are not taken for those that were asked for."""

    def other(handler: Handler) -> bool:
        if "Range" not in handler.headers:
            return False
        handler.answer(206, b"da", {"Content-Range": "bytes 0-1/4"})
        return True

    web.fault = other
    with pytest.raises(StoreError, match="bytes 0-1/4"):
        store.get_data_range("a", 2, 4)


def test_unread_streams_leave_nothing_open(web: PlainWeb, store: Any) -> None:
    """The connection of a stream that nobody closed goes with it."""
    for _ in range(5):
        store.get_data("large")
        store.get("large").data.read(10)
        next(store.query_keys())

    assert LARGE == store.to_bytes("large")


def test_one_connection_does_for_many_requests(web: PlainWeb, store: Any) -> None:
    """They are kept and used again, also after errors."""
    for _ in range(5):
        store.get_metadata("a")
        assert b"data" == store.to_bytes("a")
        assert not store.exists("none")

    assert 1 == len(web.open)


def test_many_threads_use_one_store(web: PlainWeb, store: Any) -> None:
    """Each gets its own answers."""
    for number in range(8):
        web.data[f"k{number}"] = str(number).encode() * 1000
        web.metadata[f"k{number}"] = {"n": number}
    wrong: list[str] = []

    def use(number: int) -> None:
        for _ in range(10):
            key = f"k{number}"
            if store.get_metadata(key) != {"n": number} or store.to_bytes(key) != web.data[key]:
                wrong.append(key)

    threads = [threading.Thread(target=use, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [] == wrong


def test_a_forked_child_has_connections_of_its_own(web: PlainWeb, store: Any) -> None:
    """It must not read the answers to its parent's requests."""
    assert {"n": 1} == store.get_metadata("a")
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = 0 if all(store.to_bytes("a") == b"data" for _ in range(20)) else 2
        finally:
            os._exit(code)
    assert all(store.get_metadata("a") == {"n": 1} for _ in range(20))

    assert 0 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


class _Rude:
    """A server with TLS that hangs up in the middle of every upload.

    Attributes:
        url: where it is.
        uploads: how many were begun.
    """

    def __init__(self, context: ssl.SSLContext) -> None:
        self.uploads = 0
        self._context = context
        self._sock = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://127.0.0.1:{self._sock.getsockname()[1]}"
        self._thread = threading.Thread(target=self._run)
        self._is_wanted = True

    def _run(self) -> None:
        while True:
            plain, _ = self._sock.accept()
            if not self._is_wanted:
                plain.close()
                return
            with (
                contextlib.suppress(OSError),
                plain,
                self._context.wrap_socket(plain, server_side=True) as sock,
            ):
                self._serve(sock)

    def _serve(self, sock: ssl.SSLSocket) -> None:
        with sock.makefile("rb") as lines:
            while line := lines.readline():
                while lines.readline().strip():
                    pass
                if line.startswith(b"PUT"):
                    self.uploads += 1
                    return
                sock.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")

    def __enter__(self) -> _Rude:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._is_wanted = False
        socket.create_connection(self._sock.getsockname()).close()
        self._thread.join()
        self._sock.close()


def test_an_upload_that_breaks_off_under_tls_is_not_repeated(tmp_path: Path) -> None:
    """A second try would send the rest of a stream for the whole; and what happened is open."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    options = HttpOptions(timeout_s=5, ca_file=str(tmp_path / "ca.pem"))
    with _Rude(context) as server:
        store = DynamicURLStore(f"{server.url}/keys", f"{server.url}/query", http=options)
        with store:
            # Which error it is depends on when the client sees it.
            for _ in range(5):
                with pytest.raises(StoreUnavailable, match="reading tells"):
                    store.set_data("a", io.BytesIO(LARGE))

        assert 5 == server.uploads
