"""A TCP proxy before Redis that loses or delays what tests tell it to."""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType
from typing import Self


class RedisProxy:
    """Passes everything on, but for what is switched on.

    Args:
        host, port: of the Redis.

    Attributes:
        url: where clients reach it.
        requests: pieces of data that came from clients; a small command is one.
    """

    def __init__(self, host: str, port: int, database: str) -> None:
        self.requests = 0
        self._target = (host, port)
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self._server.getsockname()[1]}/{database}"
        self._lock = threading.Lock()
        self._lose_answer = False
        self._hold_request = False
        self._let_go = threading.Event()
        self._passed_on = threading.Event()
        self._sockets: list[socket.socket] = [self._server]
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._let_go.set()
        for sock in self._sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()
        for thread in self._threads:
            thread.join(10)

    def lose_next_answer(self) -> None:
        """Close the connection in place of passing the next answer on."""
        self._lose_answer = True

    def hold_next_request(self) -> None:
        """Keep the next request back until ``let_go``; others pass."""
        self._hold_request = True

    def let_go(self) -> None:
        """Pass on the request that was held, and wait until Redis answered it."""
        self._let_go.set()
        assert self._passed_on.wait(10)

    def _start(self, target: object, *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._server.accept()
                redis = socket.create_connection(self._target)
                self._sockets += (client, redis)
                held = threading.Event()
                self._start(self._forward, client, redis, held)
                self._start(self._back, redis, client, held)

    def _take(self, flag: str) -> bool:
        with self._lock:
            is_on: bool = getattr(self, flag)
            setattr(self, flag, False)
            return is_on

    def _forward(self, client: socket.socket, redis: socket.socket, held: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(1 << 16):
                self.requests += 1
                if self._take("_hold_request"):
                    self._let_go.wait(30)
                    held.set()
                redis.sendall(data)
            if not held.is_set():
                redis.shutdown(socket.SHUT_WR)

    def _back(self, redis: socket.socket, client: socket.socket, held: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := redis.recv(1 << 16):
                if held.is_set():
                    self._passed_on.set()
                if self._take("_lose_answer"):
                    break
                client.sendall(data)
            client.shutdown(socket.SHUT_RDWR)
