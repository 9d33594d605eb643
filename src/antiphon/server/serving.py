"""Runs an application on uvicorn, from a thread of its own."""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType
from typing import Any, Self

from antiphon.errors import MissingDependency
from antiphon.server.uvicorn_server import MAX_HEAD_BYTES, TLS, uvicorn_server

__all__ = ["GRACE_S", "TLS", "HttpServer"]

#: Seconds that requests get to end when the server stops.
GRACE_S = 5.0


class HttpServer:
    """Serves an application until it is stopped; a context manager.

    Args:
        app: an ASGI application.
        host: the address to listen on.
        port: its port; 0 takes a free one.
        tls: None serves plain HTTP.
        grace_s: seconds that running requests get to end.
        max_head_bytes: largest request line with headers that is taken.

    Raises:
        OSError: the address cannot be listened on, or a file of *tls* not be read.
        MissingDependency: the libraries of ``antiphon[server]`` are not installed.
    """

    def __init__(
        self,
        app: Any,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: TLS | None = None,
        grace_s: float = GRACE_S,
        max_head_bytes: int = MAX_HEAD_BYTES,
    ) -> None:
        self._app = app
        self._grace_s = grace_s
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._sock = socket.create_server((host, port), family=family, backlog=1024)
        self.host: str = host
        self.port: int = self._sock.getsockname()[1]
        shown = f"[{host}]" if ":" in host else host
        self.url = f"{'http' if tls is None else 'https'}://{shown}:{self.port}"
        try:
            self._server = uvicorn_server(app, tls, grace_s, max_head_bytes)
        except ModuleNotFoundError as exc:
            self._sock.close()
            raise MissingDependency(
                f"serving over HTTP needs the library '{exc.name}', which is not installed;"
                " install it with: pip install 'antiphon[server]'",
                name=exc.name,
            ) from exc
        except BaseException:
            self._sock.close()
            raise
        self._thread = threading.Thread(target=self._serve, name="store-server", daemon=True)

    def _serve(self) -> None:
        # uvicorn takes over signals only on the main thread.
        self._server.run(sockets=[self._sock])

    @property
    def is_running(self) -> bool:
        """Whether it answers; False before the start, and after the end or a crash."""
        return self._thread.is_alive()

    def start(self) -> Self:
        """Begin to answer; what comes before that waits in the socket's queue."""
        _call_if_any(self._app, "begin_waits")
        self._thread.start()
        return self

    def stop(self) -> None:
        """Take no more requests, let the running ones end, and answer no more."""
        # Else they would wait on, and the server for them.
        _call_if_any(self._app, "end_waits")
        self._server.should_exit = True
        if self._thread.ident is not None:
            self._thread.join(self._grace_s + 3)
        with contextlib.suppress(OSError):
            self._sock.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


def _call_if_any(app: object, method: str) -> None:
    # Any ASGI application can be served.
    bound = getattr(app, method, None)
    if bound is not None:
        bound()
