"""pika's connection, which reads and writes in fewer steps.

pika writes with six system calls a message: three sends, and the loop is told
before and after that the socket waits to be written.  Here a message is one
send, as long as the socket takes it; and that send may be made by any thread,
which spares an event that comes alone the way over the connection's own.
"""

from __future__ import annotations

import select
import threading
from collections.abc import Callable, Sequence
from typing import Any

from pika.adapters.select_connection import SelectConnection
from pika.adapters.utils import io_services_utils
from pika.channel import Channel

from antiphon.messaging.amqp_reading import ReadingConnection
from antiphon.messaging.amqp_receiving import receiver

#: pika's transport of a socket without TLS, if it still is what is known here.
_Plain: Any = getattr(io_services_utils, "_AsyncPlaintextTransport", object)

#: Whether pika still has the method by which several frames are written at once.
#: It is pika's own business; should it go, messages are published pika's way.
CAN_WRITE = hasattr(SelectConnection, "_output_marshaled_frames")

#: Whether its transport can be made a ``_QuickTransport``.
CAN_SEND = CAN_WRITE and all(
    hasattr(_Plain, name)
    for name in (
        "RxEndOfFile",
        "_STATE_ACTIVE",
        "_buffer_tx_data",
        "_close_and_finalize",
        "_consume",
        "_on_socket_writable",
        "_produce",
        "write",
    )
)


class _QuickTransport(_Plain):  # type: ignore[misc]
    """Sends at once what the socket takes.

    Attributes:
        receive: reads the socket.
        writing: held while bytes are sent and while the socket is closed; else a thread
            could write into a file that got the number of the socket.
    """

    writing: threading.Lock
    receive: Callable[[Any], bytes]

    def send(self, data: bytes) -> bool:
        """Send *data*, on any thread; return False if ``resume`` must be called for the rest."""
        with self.writing:
            if self._state != self._STATE_ACTIVE:
                return True  # as pika does: who wrote it hears of the loss
            sent = self._send_now(data)
            if sent < len(data):
                self._buffer_tx_data(data[sent:])
            return sent == len(data)

    def resume(self) -> None:
        """On the connection's thread: go on with what the socket did not take."""
        with self.writing:
            if self._tx_buffers and self._state == self._STATE_ACTIVE:
                self._nbio.set_writer(self._sock.fileno(), self._on_socket_writable)

    def write(self, data: bytes) -> None:
        if not self.send(data):
            self.resume()

    def _send_now(self, data: bytes) -> int:
        if self._tx_buffers:
            return 0
        try:
            return self._sock.send(data)  # type: ignore[no-any-return]
        except OSError:  # it is full; or it is broken, which pika will find in its own way
            return 0

    def _produce(self) -> None:
        with self.writing:
            super()._produce()

    def _close_and_finalize(self) -> None:
        with self.writing:
            super()._close_and_finalize()

    def _consume(self) -> None:
        # Once: the poller tells again if there is more, and pika's second attempt to read
        # costs an exception for every message that comes alone.
        data = self.receive(self._sock)
        if not data:
            raise self.RxEndOfFile
        self._protocol.data_received(data)


class QuickConnection(ReadingConnection):
    """pika's connection, quickened as far as pika is the one that is known here.

    Attributes:
        failure: what a callback, or pika itself, raised on what came; to pika that is a lost
            connection, of whose cause it tells nothing but a text.
    """

    _quick: _QuickTransport | None = None
    failure: Exception | None = None

    def quicken(self, channel: Channel) -> None:
        """Begin, when *channel*, the first, is open."""
        self.read_quickly(channel)
        transport: Any = getattr(self, "_transport", None)
        if CAN_SEND and type(transport) is _Plain and hasattr(transport, "_tx_buffers"):
            transport.__class__ = _QuickTransport
            transport.writing = threading.Lock()
            transport.receive = receiver()
            self._quick = transport

    def _on_data_available(self, data_in: bytes) -> None:
        try:
            super()._on_data_available(data_in)
        except Exception as exc:
            self.failure = exc
            raise

    @property
    def has_input(self) -> bool:
        """Whether the socket has something to read; a hint, for any thread."""
        quick = self._quick
        # The connection's thread may close it, and forget its socket, at any moment.
        sock = None if quick is None else quick._sock
        if sock is None or (fd := sock.fileno()) < 0:
            return False
        look = select.poll()
        look.register(fd, select.POLLIN)
        return bool(look.poll(0))

    @property
    def bytes_seen(self) -> int:
        """How many bytes came, those of messages that are not whole yet included."""
        return int(self.bytes_received) + len(self._frame_buffer or b"")

    @property
    def may_write_anywhere(self) -> bool:
        """Whether threads other than the connection's own may call ``write_frames`` now.

        Not while somebody writes: that may be this very thread, in the midst of a
        frame, where a finalizer or a signal's handler emits.
        """
        quick = self._quick
        return quick is not None and not quick.writing.locked()

    def write_frames(self, frames: bytes) -> bool:
        """Send whole frames, which ``amqp_frames`` made.

        Returns:
            False if the connection's thread must call ``resume`` for that to go on.
        """
        if self._quick is None:
            super()._output_marshaled_frames([frames])
            return True
        self.bytes_sent += len(frames)
        self.frames_sent += 1
        return self._quick.send(frames)

    def resume(self) -> None:
        """Go on with what the socket did not take when another thread wrote."""
        if self._quick is not None:
            self._quick.resume()

    def _output_marshaled_frames(self, marshaled_frames: Sequence[bytes]) -> None:
        super()._output_marshaled_frames([b"".join(marshaled_frames)])
