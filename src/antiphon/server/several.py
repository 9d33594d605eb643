"""The ASGI application that serves several stores, each under its name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

from antiphon.errors import InvalidKey
from antiphon.server.answers import Refused, answer_to_error
from antiphon.server.app import StoreApp
from antiphon.server.exchange import Receive, Scope, Send, below_root
from antiphon.server.lingering import has_body, linger
from antiphon.server.routing import decoded

_PREFIX = "/stores/"


class StoresApp:
    """Serves each of *apps* under ``/stores/<name>``.

    Args:
        apps: by name.
        close: ends what they share.
    """

    def __init__(self, apps: Mapping[str, StoreApp], close: Callable[[], None]) -> None:
        self.apps = dict(apps)
        self._close = close

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1003})
        else:
            await self._forward(scope, receive, send)

    async def _forward(self, scope: Scope, receive: Receive, send: Send) -> None:
        raw = below_root(scope)
        app = None
        if raw.startswith(_PREFIX.encode()):
            raw_name, _, rest = raw[len(_PREFIX) :].partition(b"/")
            try:
                app = self.apps.get(decoded(raw_name))
            except InvalidKey:
                app = None
        if app is None:
            await _answer_missing(scope, receive, send)
            return
        # The store's application sees its part of the path only, as it came.
        inner = {**scope, "root_path": "", "raw_path": b"/" + rest}
        await app(inner, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        while (message := await receive())["type"] != "lifespan.shutdown":
            await send({"type": message["type"] + ".complete"})
        self.close()
        await send({"type": "lifespan.shutdown.complete"})

    def begin_waits(self) -> None:
        """Let clients wait for changes again, after ``end_waits``."""
        for app in self.apps.values():
            app.begin_waits()

    def end_waits(self) -> None:
        """Answer all who wait for changes now, and let none wait: the server is to stop."""
        for app in self.apps.values():
            app.end_waits()

    def close(self) -> None:
        """End the threads; the stores stay as they are.  Twice is fine."""
        self.end_waits()
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


async def _answer_missing(scope: Scope, receive: Receive, send: Send) -> None:
    answer = answer_to_error(
        Refused(404, "no store is served at this path; one is at /stores/<name>"), None, []
    )
    headers = dict(scope["headers"])
    is_unread = has_body(headers)
    message: dict[str, Any] = {
        "type": "http.response.start",
        "status": answer.status,
        "headers": [*answer.headers, *([(b"connection", b"close")] if is_unread else [])],
    }
    await send(message)
    await send({"type": "http.response.body", "body": answer.body, "more_body": is_unread})
    if is_unread:
        if b"expect" not in headers:
            await linger(receive)
        await send({"type": "http.response.body", "body": b""})
