"""Runs an application on uvicorn, from a thread of its own."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from antiphon.server.protocol import MAX_HEAD_BYTES, limited_protocol

if TYPE_CHECKING:
    import uvicorn

#: Seconds that requests get to end when the server stops.
GRACE_S = 5.0

#: Seconds for which an idle connection is kept.
KEEP_ALIVE_S = 75


@dataclass(frozen=True, slots=True)
class TLS:
    """How connections are encrypted.

    Attributes:
        certificate: path of the certificate chain, in PEM.
        key: path of its private key.
        client_ca: path of the certificates that clients' ones must be signed
            by; None asks clients for none.
    """

    certificate: str
    key: str
    client_ca: str | None = None


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
        self._grace_s = grace_s
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._sock = socket.create_server((host, port), family=family, backlog=1024)
        self.host: str = host
        self.port: int = self._sock.getsockname()[1]
        shown = f"[{host}]" if ":" in host else host
        self.url = f"{'http' if tls is None else 'https'}://{shown}:{self.port}"
        try:
            self._server = _uvicorn(app, tls, grace_s, max_head_bytes)
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
        self._thread.start()
        return self

    def stop(self) -> None:
        """Take no more requests, let the running ones end, and answer no more."""
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


def _uvicorn(app: Any, tls: TLS | None, grace_s: float, max_head_bytes: int) -> uvicorn.Server:
    import uvicorn

    secured: dict[str, Any] = {}
    if tls is not None:
        secured = {"ssl_certfile": tls.certificate, "ssl_keyfile": tls.key}
        if tls.client_ca is not None:
            secured |= {"ssl_ca_certs": tls.client_ca, "ssl_cert_reqs": ssl.CERT_REQUIRED}
    config = uvicorn.Config(
        app,
        http=limited_protocol(max_head_bytes),
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=max(1, round(grace_s)),
        **secured,
    )
    config.load()  # so that bad files are told here, not in the thread
    return uvicorn.Server(config)
