"""Clients that try to hold, mislead or exhaust the server, over real connections."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from antiphon.server import Account, Accounts, RequestRecord, token_hash, uvicorn_server
from antiphon.storage.dict_memory_store import DictMemoryStore
from antiphon.storage.string_value import StringValue
from antiphon.testing.store_server import ServedStore, serve
from tests.integration.http_raw import answer_on, ask, connect, head, wait_until

MIB = 1 << 20

TOKEN = "a-token-of-ann"
ACCOUNTS = Accounts([Account("ann", token_hashes=(token_hash(TOKEN),))])


@pytest.fixture
def store() -> DictMemoryStore:
    """A store with a large value and many keys."""
    store = DictMemoryStore()
    store.set("large", StringValue(b"x" * MIB, {}))
    for number in range(9000):
        store.set_metadata(f"a key of some length {number}", {})
    return store


@pytest.fixture
def served(store: DictMemoryStore) -> Iterator[ServedStore]:
    """The store over HTTP."""
    with serve(store) as served:
        yield served


def is_closed(sock: socket.socket) -> bool:
    """Whether the server ends the connection without another word."""
    try:
        return not sock.recv(1)
    except ConnectionError:
        return True


# -- Bodies that nobody reads --------------------------------------------------


def test_data_are_whole_although_the_request_has_a_body(served: ServedStore) -> None:
    """A body that means nothing costs the connection, and no byte of the answer."""
    request = head(served, "GET", "/keys/large/data", "Content-Length: 1") + b"x"

    assert (200, b"x" * MIB) == ask(served, request)


def test_a_query_is_whole_although_the_request_has_a_body(served: ServedStore) -> None:
    """Nor are keys missing from a result that looks complete."""
    request = head(served, "GET", "/query", "Content-Length: 1") + b"x"

    assert 9001 == len(ask(served, request)[1].splitlines())


def test_a_store_that_is_not_there_ends_an_upload(served: ServedStore) -> None:
    """The client reads 404 although it has not sent all, and the connection ends."""
    with connect(served) as sock:
        sock.sendall(
            b"PUT /stores/none/keys/a/data HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n"
        )
        sock.sendall(b"x" * MIB)
        answer = http.client.HTTPResponse(sock)
        answer.begin()

        assert (404, "close") == (answer.status, answer.getheader("Connection"))


# -- Connections that are held ---------------------------------------------------


def test_blank_lines_do_not_hold_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line end after an answer is no request: it is given no more time than one."""
    monkeypatch.setattr(uvicorn_server, "HEAD_TIMEOUT_S", 0.1)
    with serve(DictMemoryStore()) as served, connect(served) as sock:
        sock.sendall(head(served, "GET", "/info"))
        answer_on(sock)
        sock.sendall(b"\r\n")

        assert is_closed(sock)


def test_fields_after_a_body_without_end_are_refused() -> None:
    """One long field after the last chunk takes no more memory than a head may."""
    with serve(DictMemoryStore()) as served, connect(served) as sock:
        sock.sendall(head(served, "PUT", "/keys/a/data", "Transfer-Encoding: chunked"))
        sock.sendall(b"1\r\nx\r\n0\r\nX: ")
        answered = b""
        try:
            for _ in range(20):
                sock.sendall(b"y" * MIB)
            answered = sock.recv(12)
        except ConnectionError:
            answered = b"HTTP/1.1 431"

        assert b"HTTP/1.1 431" == answered
    with pytest.raises(KeyError):
        served.app.served.views.of(None).get("a")


def test_large_heads_share_what_there_is_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many clients that begin large requests hold no more than that, and small ones go on."""
    monkeypatch.setattr(uvicorn_server, "LARGE_HEADS_BYTES", MIB)
    with serve(DictMemoryStore()) as served:
        large = head(served, "GET", "/info")[:-2] + b"X: " + b"y" * (MIB - 1000)
        with connect(served) as first:
            first.sendall(large)
            wait_until(lambda: is_refused(served, b"X: " + b"y" * MIB))

            assert 200 == ask(served, head(served, "GET", "/info"))[0]
            first.sendall(b"\r\n\r\n")
            assert 200 == answer_on(first)[0]
        assert 200 == ask(served, large + b"\r\n\r\n")[0]


def is_refused(served: ServedStore, field: bytes) -> bool:
    """Whether a request with a large head is told to come again."""
    try:
        return 503 == ask(served, head(served, "GET", "/info")[:-2] + field + b"\r\n\r\n")[0]
    except ConnectionError:
        return True


def test_a_client_that_goes_is_noticed_behind_another_request(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """An answer ends with its connection, also if the next request has come already."""
    records: list[RequestRecord] = []
    store = DictMemoryStore()
    store.set("large", StringValue(b"x" * 64 * MIB, {}))
    with serve(store, observe=records.append) as served:
        with connect(served, receive_bytes=1 << 16) as sock:
            sock.sendall(head(served, "GET", "/keys/large/data") + head(served, "GET", "/info"))
            assert sock.recv(1000)
        wait_until(lambda: bool(records))

        assert records[0].bytes_out < 64 * MIB
    assert "" == caplog.text


# -- What a request may say ------------------------------------------------------


def test_fields_after_a_body_are_no_credentials() -> None:
    """Who asks is said before the body: what stands after it no proxy has looked at."""
    with serve(DictMemoryStore(), authenticator=ACCOUNTS) as served:
        request = head(served, "PUT", "/keys/a/data", "Transfer-Encoding: chunked")
        request += f"1\r\nx\r\n0\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode()

        assert 401 == ask(served, request)[0]


def test_strangers_have_no_path_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Decoding a long path takes the time of everyone, so it is done for users only."""
    decoded: list[Any] = []
    monkeypatch.setattr("antiphon.server.exchange.target_of", decoded.append)
    with serve(DictMemoryStore(), authenticator=ACCOUNTS) as served:
        for method in ("GET", "OPTIONS"):
            assert 401 == ask(served, head(served, method, "/keys/%41/data"))[0]

    assert [] == decoded


ELSEWHERE = ["Origin: https://evil.example", "Origin: null", "Sec-Fetch-Site: cross-site"]


@pytest.mark.parametrize("field", ELSEWHERE)
def test_a_page_of_another_site_does_not_write(field: str) -> None:
    """A browser sends its user's password with it, so that is not enough."""
    store = DictMemoryStore()
    body = b'{"a": 1}'
    with serve(store) as served:
        request = head(served, "PUT", "/keys/a/metadata", f"Content-Length: {len(body)}", field)
        status, answer = ask(served, request + body)

        assert (403, "AuthorizationError") == (status, json.loads(answer)["error"])
        assert not store.exists("a")


@pytest.mark.parametrize("field", ["Origin: http://X", "Sec-Fetch-Site: same-origin"])
def test_a_page_of_the_same_site_writes(field: str) -> None:
    """Programs in pages that come from the same host are clients like others."""
    with serve(DictMemoryStore()) as served:
        request = head(served, "PUT", "/keys/a/metadata", "Content-Length: 2", field)

        assert 201 == ask(served, request + b"{}")[0]


def test_an_upgrade_that_is_not_known_is_no_news(
    served: ServedStore, caplog: pytest.LogCaptureFixture
) -> None:
    """It is answered as without, and nothing in the log advises to install anything."""
    upgrade = ("Connection: Upgrade", "Upgrade: h2c")
    with connect(served) as sock:
        for _ in range(2):
            sock.sendall(head(served, "GET", "/info", *upgrade))
            assert 200 == answer_on(sock)[0]

    assert "" == caplog.text
