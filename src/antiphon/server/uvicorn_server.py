"""All that is known of uvicorn: how it is set up, and limits on what clients may do to it.

uvicorn 0.54 with httptools takes a head of any length, and waits for its end
for ever; a client that never comes to the end of its headers would take memory
and a connection until the server is stopped.  So would one that does not read
what it asked for, or that keeps an answered connection with a blank line or
the rest of a body.  Fields after a chunked body it takes for headers.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio

    import uvicorn

#: Bytes of request line and headers: a key of 1 MiB, percent-encoded, and more.
MAX_HEAD_BYTES = 1 << 22

#: Seconds in which a head must have come, counted from its first byte or from
#: the connection's beginning.
HEAD_TIMEOUT_S = 30.0

#: Seconds in which a client must take something of what is sent to it.
WRITE_TIMEOUT_S = 120.0

#: Longest URL that httptools.parse_url (0.9) takes: it counts with 16 bits.
_PARSED_BYTES = (1 << 16) - 1

#: Bytes of a head that every client may send, and those that all together may
#: send above that: anybody may, before it is known who it is.
_SMALL_HEAD_BYTES = 1 << 16
LARGE_HEADS_BYTES = 1 << 26

_TOO_LARGE = b"the head of the request is too large"
_TOO_MANY = b"too many requests with large heads at once; try again"

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


def uvicorn_server(
    app: Any, tls: TLS | None, grace_s: float, max_head_bytes: int
) -> uvicorn.Server:
    """Return a server that is not running yet; its sockets come from the caller.

    Args:
        app: an ASGI application.
        tls: None serves plain HTTP.
        grace_s: seconds that running requests get to end.
        max_head_bytes: see ``limited_protocol``.

    Raises:
        OSError: a file of *tls* cannot be read, or is none.
    """
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


@dataclass(slots=True)
class _LargeHeads:
    """What the connections of a server hold of heads that are not small."""

    bytes: int = 0


def limited_protocol(
    max_head_bytes: int = MAX_HEAD_BYTES,
) -> type[asyncio.Protocol]:
    """Return the class of protocols that ``uvicorn.Config(http=…)`` takes."""
    head_timeout_s, write_timeout_s = HEAD_TIMEOUT_S, WRITE_TIMEOUT_S
    large, large_heads_bytes = _LargeHeads(), LARGE_HEADS_BYTES
    # Imported and derived from here, so that this module can be imported without.
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

    class LimitedProtocol(HttpToolsProtocol):
        # Since the last byte of a body, or the beginning of the request.
        _head_bytes = 0
        _counted = 0
        _in_head = True
        _running: Any = None
        _timer: asyncio.TimerHandle | None = None
        _write_timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._expect_head()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_timer()
            self._stop_write_timer()
            self._count(0)
            super().connection_lost(exc)
            # uvicorn tells the newest request only, and the one that is being
            # answered may have others behind it.
            running = self._running
            if running is not None and not running.response_complete:
                running.disconnected = True
                running.message_event.set()

        def pause_writing(self) -> None:
            super().pause_writing()
            # Not close(): that would wait for the client to take the rest.
            self._write_timer = self.loop.call_later(write_timeout_s, self.transport.abort)

        def resume_writing(self) -> None:
            self._stop_write_timer()
            super().resume_writing()

        def data_received(self, data: bytes) -> None:
            self._head_bytes += len(data)
            super().data_received(data)
            if self.transport.is_closing():
                return
            if not self._in_head and not self.cycle.response_complete:
                self._stop_timer()
            elif self._timer is None:
                # A head, or blank lines and the rest of a body after the answer.
                self._expect_head()
            if self._head_bytes > max_head_bytes:
                self._refuse(b"431 Request Header Fields Too Large", _TOO_LARGE)
            elif self._in_head and self._head_bytes > _SMALL_HEAD_BYTES:
                self._count(self._head_bytes)
                if large.bytes > large_heads_bytes:
                    self._refuse(b"503 Service Unavailable", _TOO_MANY)

        def on_message_begin(self) -> None:
            self._in_head = True
            self._head_bytes = 0
            super().on_message_begin()

        def on_header(self, name: bytes, value: bytes) -> None:
            # Those after the body were not there when it was decided who asks for what.
            if self._in_head:
                super().on_header(name, value)

        def on_headers_complete(self) -> None:
            self._in_head = False
            self._count(0)
            url = self.url
            if len(url) <= _PARSED_BYTES:
                super().on_headers_complete()
                return
            self.url = b"/"
            super().on_headers_complete()
            # The application has not been started yet, only been planned.
            path, _, query = url.partition(b"?")
            self.scope["raw_path"] = path
            # Not unquoted: that takes a second, and the raw path is what counts.
            self.scope["path"] = path.decode("ascii", "replace")
            self.scope["query_string"] = query

        def on_body(self, body: bytes) -> None:
            self._head_bytes = 0
            super().on_body(body)

        def _start_asgi_task(self, cycle: Any, app: Any) -> None:
            self._running = cycle
            super()._start_asgi_task(cycle, app)

        def _unsupported_upgrade_warning(self) -> None:
            """Say nothing: the request is answered as if it had not asked."""

        def _count(self, size: int) -> None:
            large.bytes += size - self._counted
            self._counted = size

        def _refuse(self, status: bytes, why: bytes) -> None:
            self.transport.write(
                b"HTTP/1.1 %s\r\nconnection: close\r\ncontent-type: text/plain\r\n"
                b"content-length: %d\r\n\r\n%s" % (status, len(why), why)
            )
            self.transport.close()

        def _expect_head(self) -> None:
            self._timer = self.loop.call_later(head_timeout_s, self._give_up)

        def _stop_timer(self) -> None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

        def _stop_write_timer(self) -> None:
            if self._write_timer is not None:
                self._write_timer.cancel()
                self._write_timer = None

        def _give_up(self) -> None:
            self._timer = None
            if not self.transport.is_closing():
                self.transport.close()

    return LimitedProtocol
