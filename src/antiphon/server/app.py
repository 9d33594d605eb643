"""The ASGI application that serves one store."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from antiphon.server.exchange import Exchange, Receive, Scope, Send, Served

#: Largest value that is taken, unless told otherwise: 16 GiB.
MAX_VALUE_BYTES = 1 << 34

#: Seconds without a byte after which an upload is given up.
UPLOAD_IDLE_S = 30.0


class StoreApp:
    """Serves one store; made by ``store_app``.

    Args:
        served: the store, and how it is served.
        owns_workers: whether ``close`` ends the threads.
    """

    def __init__(self, served: Served, *, owns_workers: bool) -> None:
        self.served = served
        self._owns_workers = owns_workers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await Exchange(self.served, scope, receive, send).run()
        elif scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            await send({"type": "websocket.close", "code": 1003})

    async def _live(self, receive: Receive, send: Send) -> None:
        while (message := await receive())["type"] != "lifespan.shutdown":
            await send({"type": message["type"] + ".complete"})
        self.close()
        await send({"type": "lifespan.shutdown.complete"})

    def begin_waits(self) -> None:
        """Let clients wait for changes again, after ``end_waits``."""
        self.served.waiting.begin()

    def end_waits(self) -> None:
        """Answer all who wait for changes now, and let none wait: the server is to stop."""
        self.served.waiting.end()

    def close(self) -> None:
        """End the threads, unless they were given; the store stays as it is.  Twice is fine."""
        self.end_waits()
        if self._owns_workers:
            self.served.workers.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
