"""Bodies of requests: collected if they are short, else a stream for a worker thread."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Awaitable, Callable
from typing import Any

from antiphon.server.answers import Refused

Receive = Callable[[], Awaitable[Any]]

#: Bodies up to this many bytes are collected before a worker thread is asked.
COLLECTED_BYTES = 1 << 18

#: Bytes that are gathered for the store while it works on those before.
_GATHERED_BYTES = 1 << 19


class ClientGone(Exception):
    """The client went away before its request was complete; nobody reads an answer."""


class Incoming:
    """The body of a request, as it arrives on the event loop.

    Args:
        receive: of ASGI.
        max_bytes: a longer body is refused with 413.
        idle_s: seconds without any byte after which the client is refused with 408.
    """

    def __init__(self, receive: Receive, max_bytes: int, idle_s: float) -> None:
        self._receive = receive
        self._max_bytes = max_bytes
        self._idle_s = idle_s
        self.received = 0
        self.ended = False

    async def next(self) -> bytes:
        """Return the next bytes; ``b""`` at the end.

        Raises:
            ClientGone: the client went away.
            Refused: the body is too long, or comes too slowly.
        """
        while not self.ended:
            try:
                async with asyncio.timeout(self._idle_s):
                    message = await self._receive()
            except TimeoutError:
                raise Refused(
                    408, f"no byte of the body came for {self._idle_s:g} s", closes=True
                ) from None
            if message["type"] != "http.request":
                raise ClientGone
            self.ended = not message.get("more_body", False)
            piece: bytes = message.get("body", b"")
            self.received += len(piece)
            if self.received > self._max_bytes:
                raise too_large(self._max_bytes)
            if piece:
                return piece
        return b""

    async def collect(self, max_bytes: int) -> list[bytes]:
        """Return what comes until the end, or until it is more than *max_bytes*."""
        pieces: list[bytes] = []
        size = 0
        while size <= max_bytes and (piece := await self.next()):
            pieces.append(piece)
            size += len(piece)
        return pieces


class UploadStream:
    """The body as a stream that a worker thread reads; it waits for the client.

    While the store works on what it has, the next bytes are gathered: at most
    two times half a MiB are held.

    Args:
        incoming: the rest of the body.
        head: what came of it already.
        loop: the event loop that it arrives on.
    """

    def __init__(self, incoming: Incoming, head: bytes, loop: asyncio.AbstractEventLoop) -> None:
        self._incoming = incoming
        self._held = head
        self._loop = loop
        # Else one that begins to wait while the stream is closed would wait
        # for a loop that has ended.
        self._closing = threading.Lock()
        self._ahead: concurrent.futures.Future[bytes] | None = None
        self._failure: Exception | None = None
        self._is_closed = False

    def read(self, size: int = -1) -> bytes:
        """Return up to *size* bytes; ``b""`` at the end; negative: all.

        Raises:
            ClientGone, Refused: see ``Incoming.next``; nothing may be stored.
        """
        if size < 0:
            return b"".join(iter(lambda: self.read(_GATHERED_BYTES), b""))
        if not self._held:
            self._held = self._next()
        piece, self._held = self._held[:size], self._held[size:]
        return piece

    def _next(self) -> bytes:
        # A store that tries again must not take the rest for the whole.
        if self._failure is not None:
            raise self._failure
        ahead = self._ahead or self._gather()
        try:
            piece = ahead.result()
        except concurrent.futures.CancelledError:
            self._failure = ClientGone()
            raise self._failure from None
        except Exception as exc:
            self._failure = exc
            raise
        if self._incoming.ended:
            self._ahead = None
        else:
            self._gather()
        return piece

    def _gather(self) -> concurrent.futures.Future[bytes]:
        with self._closing:
            if self._is_closed:
                raise ClientGone
            self._ahead = asyncio.run_coroutine_threadsafe(self._gathered(), self._loop)
            return self._ahead

    async def _gathered(self) -> bytes:
        return b"".join(await self._incoming.collect(_GATHERED_BYTES))

    def close(self) -> None:
        """Wait for the client no more; a reader gets ``ClientGone``."""
        with self._closing:
            self._is_closed = True
            if self._ahead is not None:
                self._ahead.cancel()


def too_large(max_bytes: int) -> Refused:
    """Return the refusal of a body that is too long."""
    return Refused(
        413, f"this body may have at most {max_bytes} bytes", error="InvalidValue", closes=True
    )
