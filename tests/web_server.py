"""A web server in this process that knows the manual's protocol, and can go wrong."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

#: Goes wrong: gets the handler, returns whether the request is dealt with.
Fault = Callable[["Handler"], bool]

#: Seconds after which a test's server gives up what it waits for.
PATIENCE_S = 20.0


class PlainWeb(ThreadingHTTPServer):
    """Keeps keys in dictionaries, as the manual's protocol says and no more.

    Attributes:
        data, metadata, permissions: what it holds, by key.
        fault: what goes wrong next; None for nothing.
        requests: method and path of each request so far.
        user: the user and password to ask for; None asks for none.
        files: whole answers by path, for static serving: (headers, body).
        ranges: whether it knows ranges.
    """

    daemon_threads = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.data: dict[str, bytes] = {}
        self.metadata: dict[str, Any] = {}
        self.permissions: dict[str, dict[str, list[str]]] = {}
        self.files: dict[str, tuple[dict[str, str], bytes]] = {}
        self.fault: Fault | None = None
        self.requests: list[tuple[str, str]] = []
        self.user: str | None = None
        self.ranges = True
        self.lock = threading.Lock()
        self.stopping = threading.Event()
        self.open: set[socket.socket] = set()
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no news."""

    def process_request(self, request: Any, client_address: Any) -> None:
        self.open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.open.discard(request)
        super().shutdown_request(request)


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # headers and body in one piece: two would wait for each other
    server: PlainWeb

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def handle_one_request(self) -> None:
        with contextlib.suppress(ConnectionError, ValueError):
            super().handle_one_request()
            return
        self.close_connection = True

    def _do(self) -> None:
        with self.server.lock:
            self.server.requests.append((self.command, self.path))
        body = self._body()
        if body is None:
            self.close_connection = True
            return
        fault = self.server.fault
        if fault is not None and fault(self):
            return
        if self.server.user is not None and self.headers.get("Authorization") != self.server.user:
            self.answer(401, b"", {"WWW-Authenticate": 'Basic realm="test"'})
            return
        self._route(unquote(urlsplit(self.path).path), body)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = do_OPTIONS = _do

    def _body(self) -> bytes | None:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        pieces = []
        while size := int(self.rfile.readline() or b"x", 16):
            piece = self.rfile.read(size)
            if len(piece) < size or self.rfile.readline() != b"\r\n":
                return None
            pieces.append(piece)
        self.rfile.readline()
        return b"".join(pieces)

    def _route(self, path: str, body: bytes) -> None:
        if path in self.server.files:
            self._file(*self.server.files[path])
        elif path == "/query":
            self._query()
        elif path.startswith("/keys/"):
            self._key(path.removeprefix("/keys/"), body)
        else:
            self.answer(404, b"no such page")

    def _file(self, headers: dict[str, str], body: bytes) -> None:
        tag = headers.get("ETag")
        if tag is not None and self.headers.get("If-None-Match") == tag:
            self.answer(304, b"", headers)
        else:
            self._part(body, headers)

    def _query(self) -> None:
        wanted = {name: json.loads(text) for name, text in parse_qsl(urlsplit(self.path).query)}
        found = [
            key
            for key, metadata in list(self.server.metadata.items())
            if all(
                name in metadata and _text(metadata[name]) == _text(value)
                for name, value in wanted.items()
            )
        ]
        self.answer(200, "".join(f"{key}\n" for key in found).encode())

    def _key(self, rest: str, body: bytes) -> None:
        web = self.server
        if self.command == "DELETE":
            found = rest in web.metadata
            for held in (web.data, web.metadata, web.permissions):
                held.pop(rest, None)
            self.answer(204 if found else 404, b"")
            return
        key, _, part = rest.rpartition("/")
        held: dict[str, Any] = {
            "data": web.data, "metadata": web.metadata, "auth": web.permissions
        }.get(part, {})  # fmt: skip
        if self.command in ("GET", "HEAD"):
            if key not in held:
                self.answer(404, b"")
            elif part == "data":
                self._part(held[key], {"Last-Modified": "Tue, 15 Nov 1994 12:45:26 GMT"})
            else:
                self.answer(200, json.dumps(held[key]).encode())
            return
        if part == "data":
            held[key] = body
        elif self.command == "PUT":
            held[key] = json.loads(body)
        else:
            held.setdefault(key, {}).update(json.loads(body))
        web.data.setdefault(key, b"")
        web.metadata.setdefault(key, {})
        web.permissions.setdefault(key, {"owned": ["user"]})
        self.answer(200, b"ok")

    def _part(self, body: bytes, headers: dict[str, str]) -> None:
        wanted = self.headers.get("Range")
        if wanted is None or not self.server.ranges:
            self.answer(200, body, headers)
            return
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        start, end = int(first), int(last or len(body) - 1)
        if start >= len(body):
            self.answer(416, b"")
            return
        end = min(end, len(body) - 1)
        told = {"Content-Range": f"bytes {start}-{end}/{len(body)}"}
        self.answer(206, body[start : end + 1], {**headers, **told})

    def answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        """Send an answer."""
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if status not in (204, 304):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    # -- What goes wrong -----------------------------------------------------

    def fail(self, status: int) -> bool:
        """Answer an error."""
        self.answer(status, b"<html>something is wrong</html>")
        return True

    def hang(self) -> bool:
        """Answer nothing until the server is stopped."""
        self.server.stopping.wait(PATIENCE_S)
        self.close_connection = True
        return True

    def hang_up(self) -> bool:
        """Close the connection without an answer."""
        self.close_connection = True
        return True

    def cut(self, body: bytes, said: int) -> bool:
        """Say that there are *said* bytes, send *body*, and close the connection."""
        self.send_response(200)
        self.send_header("Content-Length", str(said))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True
        return True


def _text(value: object) -> str:
    return json.dumps(value, sort_keys=True)


@contextlib.contextmanager
def running() -> Iterator[PlainWeb]:
    """Give a server for as long as the block runs."""
    web = PlainWeb()
    thread = threading.Thread(target=web.serve_forever, args=(0.01,), name="web")
    thread.start()
    try:
        yield web
    finally:
        web.stopping.set()
        web.shutdown()
        for connection in list(web.open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        web.server_close()
        thread.join()
