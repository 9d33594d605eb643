"""HTTP by hand, for requests that no client would send."""

from __future__ import annotations

import http.client
import socket
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from antiphon.testing.store_server import ServedStore


def connect(served: ServedStore, *, receive_bytes: int | None = None) -> socket.socket:
    """Return a connection to the server."""
    sock = socket.socket()
    if receive_bytes is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    sock.settimeout(10)
    sock.connect((served.server.host, served.server.port))
    return sock


def head(served: ServedStore, method: str, path: str, *headers: str) -> bytes:
    """Return the head of a request for *path* below the store's base, as it is."""
    lines = [f"{method} {urlsplit(served.url).path}{path} HTTP/1.1", "Host: x", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def answer_on(sock: socket.socket) -> tuple[int, bytes]:
    """Read one answer; return status and body."""
    answer = http.client.HTTPResponse(sock)
    answer.begin()
    return answer.status, answer.read()


def ask(served: ServedStore, request: bytes) -> tuple[int, bytes]:
    """Send bytes, and return status and body of the answer."""
    with connect(served) as sock:
        sock.sendall(request)
        return answer_on(sock)


def wait_until(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, condition
        time.sleep(0.005)
