"""Clients and stores that misbehave, over real connections."""

from __future__ import annotations

import errno
import json
import os
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from antiphon import open_store
from antiphon.server import RequestRecord, uvicorn_server
from antiphon.storage.abstract_store import AbstractStore
from antiphon.storage.dict_memory_store import DictMemoryStore
from antiphon.storage.string_value import StringValue
from antiphon.testing.store_server import ServedStore, serve
from tests.integration.http_raw import answer_on, ask, connect, head, wait_until

MIB = 1 << 20


class Records(list[RequestRecord]):
    """What was told of requests."""

    def wait(self, count: int) -> None:
        """Wait until so many have ended."""
        wait_until(lambda: len(self) >= count)


@pytest.fixture
def store() -> AbstractStore:
    """A store with one key."""
    store = DictMemoryStore()
    store.set("a", StringValue(b"old", {"n": 1}))
    return store


@pytest.fixture
def records() -> Records:
    """What the server told of its requests."""
    return Records()


@pytest.fixture
def served(store: AbstractStore, records: Records) -> Iterator[ServedStore]:
    """The store over HTTP; uploads are given up after a quarter of a second of silence."""
    with serve(store, observe=records.append, upload_idle_s=0.25) as served:
        yield served


def is_untouched(store: AbstractStore) -> bool:
    """Whether the store has the one key only, as it was."""
    value = store.get("a")
    return (value.data.read(), value.metadata) == (b"old", {"n": 1}) and ["a"] == list(
        store.query_keys()
    )


# -- Uploads -------------------------------------------------------------------


@pytest.mark.parametrize("sent", [0, 10, 300_000, 3 * MIB])
@pytest.mark.parametrize("url", ["memory:", "sqlite:///{}/store.sqlite"], ids=["memory", "sqlite"])
def test_an_upload_that_is_cut_changes_nothing(tmp_path: Path, url: str, sent: int) -> None:
    """A client that goes before the end has not written anything, no new key either."""
    records = Records()
    with (
        open_store(url.format(tmp_path)) as store,
        serve(store, observe=records.append) as served,
    ):
        store.set("a", StringValue(b"old", {"n": 1}))
        for key in ("a", "new"):
            with connect(served) as sock:
                length = f"Content-Length: {4 * MIB}"
                sock.sendall(head(served, "PUT", f"/keys/{key}/data", length) + b"x" * sent)
        records.wait(2)

        assert [0, 0] == [record.status for record in records]
        assert is_untouched(store)


def test_a_chunked_upload_that_is_cut_changes_nothing(
    store: AbstractStore, served: ServedStore, records: Records
) -> None:
    """Without the last chunk the body has no end, however much came."""
    with connect(served) as sock:
        sock.sendall(head(served, "PUT", "/keys/a/data", "Transfer-Encoding: chunked"))
        sock.sendall((b"%x\r\n" % MIB + b"x" * MIB + b"\r\n") * 3)
    records.wait(1)

    assert 0 == records[0].status
    assert is_untouched(store)


@pytest.mark.parametrize("sent", [10, 2 * MIB])
def test_a_client_that_falls_silent_is_given_up(
    store: AbstractStore, served: ServedStore, sent: int
) -> None:
    """It hears 408, and holds neither a connection nor a thread any longer."""
    with connect(served) as sock:
        sock.sendall(head(served, "PUT", "/keys/a/data", f"Content-Length: {4 * MIB}"))
        sock.sendall(b"x" * sent)

        assert 408 == answer_on(sock)[0]
    assert is_untouched(store)


def test_slow_clients_do_not_stop_the_others(store: AbstractStore, served: ServedStore) -> None:
    """While many uploads wait for their clients, a reader is answered."""
    slow = [connect(served) for _ in range(40)]
    for sock in slow:
        sock.sendall(head(served, "PUT", "/keys/slow/data", f"Content-Length: {4 * MIB}"))
        sock.sendall(b"x" * 300_000)

    assert (200, b"old") == ask(served, head(served, "GET", "/keys/a/data"))

    for sock in slow:
        sock.close()


def test_too_long_is_refused_before_it_is_read(store: AbstractStore, records: Records) -> None:
    """A declared length is enough to refuse, and the connection ends."""
    store, records = DictMemoryStore(), Records()
    with (
        serve(store, observe=records.append, max_value_bytes=100) as served,
        connect(served) as sock,
    ):
        sock.sendall(head(served, "PUT", "/keys/a/data", "Content-Length: 999999999999"))
        status, body = answer_on(sock)

        assert (413, "InvalidValue") == (status, json.loads(body)["error"])
    records.wait(1)
    assert 0 == records[0].bytes_in
    assert [] == list(store.query_keys())


def test_who_sends_on_still_reads_why() -> None:
    """A client that is refused while it sends is not cut off before it can read it."""
    with serve(DictMemoryStore(), max_value_bytes=100) as served, connect(served) as sock:
        sock.sendall(head(served, "PUT", "/keys/a/data", f"Content-Length: {8 * MIB}"))
        sock.sendall(b"x" * 8 * MIB)

        assert 413 == answer_on(sock)[0]


def test_nobody_sends_for_nothing() -> None:
    """Who asks first (Expect: 100-continue) is refused without having sent the body."""
    with serve(DictMemoryStore(), max_value_bytes=100) as served:
        request = head(
            served, "PUT", "/keys/a/data", "Content-Length: 8388608", "Expect: 100-continue"
        )

        assert 413 == ask(served, request)[0]


# -- Requests that are none ------------------------------------------------------


@pytest.mark.parametrize(
    "lines",
    [
        [b"GET /keys/%zz/data", b"GET /keys/%/data", b"GET /keys/%ff/data"],
        [b"GET /key/data?k=%ff", b"GET /key/data", b"DELETE /key?j=a"],
        ["GET /keys/é/data".encode("latin-1"), b"GET /keys/a b/data", b"nonsense"],
    ],
    ids=["paths", "parameters", "no-requests"],
)
def test_bad_request_lines(store: AbstractStore, served: ServedStore, lines: list[bytes]) -> None:
    """What is no request, or names no key, is answered 400."""
    requests = [
        line.replace(b" /", b" /stores/store/", 1) + b" HTTP/1.1\r\nHost: x\r\n\r\n"
        for line in lines
    ]

    assert [400] * len(lines) == [ask(served, request)[0] for request in requests]
    assert is_untouched(store)


BAD_JSON = [
    b"",
    b"{",
    b"[]",
    b"\xff\xfe",
    b"[" * 9000,
    b'{"a": {"!x": 1}}',
    b'{"a": {"!uuid": 5}}',
    b'{"a": {"!float": 1%s}}' % (b"0" * 400),
]


@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_bad_json(store: AbstractStore, served: ServedStore, method: str) -> None:
    """Metadata that are no JSON object are answered 400, and nothing is written."""
    for body in BAD_JSON:
        request = head(served, method, "/keys/a/metadata", f"Content-Length: {len(body)}") + body
        status, answer = ask(served, request)

        assert (400, "InvalidValue") == (status, json.loads(answer)["error"])
    assert is_untouched(store)


BAD_LENGTHS = ["-1", "x", "1, 2", "1\r\nContent-Length: 2", "99999999999999999999999"]


def test_bad_lengths(store: AbstractStore, served: ServedStore) -> None:
    """A length that is none is no request."""
    for length in BAD_LENGTHS:
        request = head(served, "PUT", "/keys/a/data", f"Content-Length: {length}")

        assert 400 == ask(served, request + b"xx")[0]
    assert is_untouched(store)


def test_rubbish_after_a_body_ends_the_connection(
    store: AbstractStore, served: ServedStore
) -> None:
    """What follows a body is another request; if it is none, nobody guesses what it meant."""
    request = head(served, "PUT", "/keys/b/data", "Content-Length: 3") + b"newrubbish\r\n\r\n"
    with connect(served) as sock:
        sock.sendall(request)
        answered = b"".join(iter(lambda: sock.recv(1000), b""))

    assert b"HTTP/1.1 400" in answered


@pytest.mark.parametrize("line", [b"X-Y: " + b"z" * 1000 + b"\r\n", b"z" * 1000])
def test_endless_headers_are_refused(served: ServedStore, line: bytes) -> None:
    """Neither many headers nor a single one take more memory than the limit."""
    with connect(served) as sock:
        sock.sendall(b"GET /stores/store/info HTTP/1.1\r\nHost: x\r\nX: ")

        assert is_cut_off(sock, line * 1000)
    assert 200 == ask(served, head(served, "GET", "/info"))[0]


def is_cut_off(sock: socket.socket, piece: bytes) -> bool:
    """Whether the server ends the connection before it was sent a piece twenty times."""
    try:
        for _ in range(20):
            sock.sendall(piece)
        return sock.recv(12) == b"HTTP/1.1 431" or not sock.recv(1)
    except ConnectionError:
        return True


def test_pipelined_requests_are_answered_in_order(
    store: AbstractStore, served: ServedStore
) -> None:
    """Requests that are sent without waiting are done one after the other."""
    put = head(served, "PUT", "/keys/a/data", "Content-Length: 3")
    get = head(served, "GET", "/keys/a/data")
    with connect(served) as sock:
        sock.sendall(put + b"one" + get + put + b"two" + get)
        answers = [answer_on_pipeline(sock) for _ in range(4)]

    assert [b"one", b"two"] == [answers[1], answers[3]]


def answer_on_pipeline(sock: socket.socket) -> bytes:
    """Read one answer and not a byte more; return its body."""
    received = b""
    while not received.endswith(b"\r\n\r\n"):
        received += sock.recv(1)
    length = int(received.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    body = b""
    while len(body) < length:
        body += sock.recv(length - len(body))
    return body


# -- Writers ---------------------------------------------------------------------


def test_of_two_writers_with_one_version_one_writes(
    store: AbstractStore, served: ServedStore
) -> None:
    """If-Match lets only the first of many through, whoever that is."""
    for _ in range(3):
        version = store.get("a").version
        start = threading.Barrier(8)

        def write(number: int) -> int:
            request = head(
                served,
                "PUT",
                "/keys/a/data",
                f'If-Match: "{version}"',  # noqa: B023 - used before the next round
                "Content-Length: 1",
            )
            start.wait()  # noqa: B023
            return ask(served, request + b"%d" % number)[0]

        with ThreadPoolExecutor(8) as pool:
            found = sorted(pool.map(write, range(8)))

        assert [200] + [412] * 7 == found


# -- Stores ------------------------------------------------------------------------


def test_a_full_disk() -> None:
    """A medium without room is answered 507, and the server goes on."""

    class Full(DictMemoryStore):
        def _stage(self, chunks: Any) -> Any:
            next(iter(chunks))
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/var/lib/store/chunk")

    with serve(Full()) as served:
        body = b"x" * 4 * MIB
        request = head(served, "PUT", "/keys/a/data", f"Content-Length: {len(body)}")
        status, answer = ask(served, request + body)

        assert (507, "StoreFull") == (status, json.loads(answer)["error"])
        assert b"/var" not in answer
        assert 404 == ask(served, head(served, "GET", "/keys/a/data"))[0]


class Failing(DictMemoryStore):
    """Its data end with an error, or too soon, after the first piece."""

    def __init__(self, *, raises: bool) -> None:
        super().__init__()
        self.raises = raises
        self.closed = threading.Event()

    def get(self, key: str) -> Any:
        value = super().get(key)
        value._stream = _FailingStream(self)
        return value


class _FailingStream:
    def __init__(self, store: Failing) -> None:
        self._store = store
        self._pieces = [b"x" * (1 << 18)]

    def read(self, size: int = -1) -> bytes:
        if not self._pieces and self._store.raises:
            raise OSError("the disk broke")
        return self._pieces.pop() if self._pieces else b""

    def close(self) -> None:
        self._store.closed.set()


@pytest.mark.parametrize("raises", [True, False])
def test_data_that_end_too_soon_cut_the_connection(raises: bool) -> None:
    """The client gets fewer bytes than were announced, so that it knows."""
    store = Failing(raises=raises)
    store.from_bytes("a", b"x" * 4 * MIB)
    with serve(store) as served, connect(served) as sock:
        sock.sendall(head(served, "GET", "/keys/a/data"))
        with pytest.raises(Exception, match="IncompleteRead"):
            answer_on(sock)
    assert store.closed.is_set()


def test_a_query_that_fails_half_way_has_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client tells a result that was cut short from one that is complete."""
    store = DictMemoryStore()

    def query_keys(**kwargs: Any) -> Iterator[str]:
        yield from (os.urandom(25).hex() for _ in range(5000))
        raise RuntimeError("the medium is gone")

    monkeypatch.setattr(store, "query_keys", query_keys)
    with serve(store) as served, connect(served) as sock:
        sock.sendall(head(served, "GET", "/query", "Accept: application/x-ndjson"))
        with pytest.raises(Exception, match="IncompleteRead"):
            answer_on(sock)


class Endless(DictMemoryStore):
    """Its values have no end that anyone would wait for."""

    def __init__(self) -> None:
        super().__init__()
        self.read_bytes = 0
        self.closed = threading.Event()
        self.from_bytes("a", b"")

    def get(self, key: str) -> Any:
        value = StringValue(b"", {})
        value.size = 1 << 40
        value._stream = _Zeros(self)  # type: ignore[assignment]
        return value


class _Zeros:
    def __init__(self, store: Endless) -> None:
        self._store = store

    def read(self, size: int) -> bytes:
        self._store.read_bytes += size
        return bytes(size)

    def close(self) -> None:
        self._store.closed.set()


def test_a_reader_that_goes_is_not_read_for() -> None:
    """The stream of a client that went away is closed, and not read to its end."""
    store = Endless()
    with serve(store) as served:
        with connect(served, receive_bytes=1 << 16) as sock:
            sock.sendall(head(served, "GET", "/keys/a/data"))
            assert sock.recv(1000)

        assert store.closed.wait(10)
    assert store.read_bytes < 64 * MIB


def test_a_reader_that_does_not_read_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who takes nothing for too long holds neither a connection nor a stream any longer."""
    monkeypatch.setattr(uvicorn_server, "WRITE_TIMEOUT_S", 0.1)
    store = Endless()
    with serve(store) as served, connect(served, receive_bytes=1 << 16) as sock:
        sock.sendall(head(served, "GET", "/keys/a/data"))

        assert store.closed.wait(10)
    assert store.read_bytes < 64 * MIB


def test_a_head_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection without a request, or with half of one, is closed."""
    monkeypatch.setattr(uvicorn_server, "HEAD_TIMEOUT_S", 0.1)
    with serve(DictMemoryStore()) as served:
        request = head(served, "GET", "/info")
        for sent in (b"", request[:20], request + request[:20]):
            with connect(served) as sock:
                sock.sendall(sent)
                answered = b"".join(iter(lambda: sock.recv(4096), b""))

                assert bool(answered) == (len(sent) > len(request))
