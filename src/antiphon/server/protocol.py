"""uvicorn's HTTP protocol, with limits on the head of a request.

uvicorn 0.54 with httptools takes a head of any length, and waits for its end
for ever; a client that never comes to the end of its headers would take memory
and a connection until the server is stopped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

if TYPE_CHECKING:
    import asyncio

#: Bytes of request line and headers: a key of 1 MiB, percent-encoded, and more.
MAX_HEAD_BYTES = 1 << 22

#: Seconds in which a head must have come, counted from its first byte or from
#: the connection's beginning.
HEAD_TIMEOUT_S = 30.0

#: Longest URL that httptools.parse_url (0.9) takes: it counts with 16 bits.
_PARSED_BYTES = (1 << 16) - 1

_TOO_LARGE = b"the head of the request is too large"


def limited_protocol(
    max_head_bytes: int = MAX_HEAD_BYTES, head_timeout_s: float = HEAD_TIMEOUT_S
) -> type[asyncio.Protocol]:
    """Return the class of protocols that ``uvicorn.Config(http=…)`` takes."""
    # Imported and derived from here, so that this module can be imported without.
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

    class LimitedProtocol(HttpToolsProtocol):
        _head_bytes = 0
        _in_head = True
        _timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._expect_head()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_timer()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if not self._in_head:
                if self._timer is not None:
                    self._stop_timer()
                return
            if self._timer is None:
                self._expect_head()
            self._head_bytes += len(data)
            if self._head_bytes > max_head_bytes and not self.transport.is_closing():
                self.transport.write(
                    b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\n"
                    b"content-type: text/plain\r\ncontent-length: %d\r\n\r\n%s"
                    % (len(_TOO_LARGE), _TOO_LARGE)
                )
                self.transport.close()

        def on_message_begin(self) -> None:
            self._in_head = True
            self._head_bytes = 0
            super().on_message_begin()

        def on_headers_complete(self) -> None:
            self._in_head = False
            url = self.url
            if len(url) <= _PARSED_BYTES:
                super().on_headers_complete()
                return
            self.url = b"/"
            super().on_headers_complete()
            # The application has not been started yet, only been planned.
            path, _, query = url.partition(b"?")
            self.scope["raw_path"] = path
            self.scope["path"] = unquote(path.decode("ascii", "replace"))
            self.scope["query_string"] = query

        def _expect_head(self) -> None:
            self._timer = self.loop.call_later(head_timeout_s, self._give_up)

        def _stop_timer(self) -> None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

        def _give_up(self) -> None:
            self._timer = None
            if not self.transport.is_closing():
                self.transport.close()

    return LimitedProtocol
