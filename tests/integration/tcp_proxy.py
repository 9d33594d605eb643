"""A TCP proxy that stands for a node of a cluster, or for the network before it."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit


class Node:
    """Passes everything on, until it is told to die or to fall silent.

    Args:
        url: of the broker behind it.

    Attributes:
        port: where it listens on 127.0.0.1.
        accepted: connections that were accepted so far.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._target = (parts.hostname or "localhost", parts.port or 5672)
        self._server: socket.socket | None = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self.accepted = 0
        self._peers: dict[socket.socket, socket.socket] = {}
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._server, selectors.EVENT_READ)
        self._is_silent = self._is_dying = self._is_over = False
        self._died = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._is_over = True
        self._thread.join()
        self._close()
        self._selector.close()

    @property
    def connections(self) -> int:
        """How many connections go through it now."""
        return len(self._peers) // 2

    def die(self) -> None:
        """Close every connection, and refuse new ones."""
        self._is_dying = True
        assert self._died.wait(10)

    def live(self) -> None:
        """Accept connections again."""
        self._died.clear()
        self._server = socket.create_server(("127.0.0.1", self.port))
        self._selector.register(self._server, selectors.EVENT_READ)

    def fall_silent(self) -> None:
        """Accept and keep everything, and pass nothing on."""
        self._is_silent = True

    def speak(self) -> None:
        """Pass on what was kept, and everything else."""
        self._is_silent = False

    def _run(self) -> None:
        pause = threading.Event()
        while not self._is_over:
            if self._is_dying:
                self._is_dying = False
                self._close()
                self._died.set()
            if self._is_silent or not self._selector.get_map():
                pause.wait(0.02)
                continue
            for key, _ in self._selector.select(0.02):
                self._pass_on(key.fileobj)  # type: ignore[arg-type]

    def _close(self) -> None:
        for sock in (*filter(None, [self._server]), *self._peers):
            self._selector.unregister(sock)
            sock.close()
        self._server = None
        self._peers.clear()

    def _pass_on(self, sock: socket.socket) -> None:
        if sock is self._server:
            near, _ = sock.accept()
            self.accepted += 1
            far = socket.create_connection(self._target)
            for one, other in ((near, far), (far, near)):
                self._peers[one] = other
                self._selector.register(one, selectors.EVENT_READ)
            return
        data = b""
        if sock in self._peers:
            with contextlib.suppress(OSError):
                data = sock.recv(65536)
                self._peers[sock].sendall(data)
        if not data and sock in self._peers:
            for one in (sock, self._peers[sock]):
                del self._peers[one]
                self._selector.unregister(one)
                one.close()
