"""Writing to one socket by many threads."""

from __future__ import annotations

import queue
import select
import socket
import threading
from collections import deque
from collections.abc import Iterator
from typing import Any

import pytest

from antiphon.messaging.amqp_connection import CAN_SEND, QuickConnection, _QuickTransport

#: Bytes of what each thread writes at once: more than the socket takes now and then.
FRAME_BYTES = 3000

THREADS, FRAMES = 4, 100


class NearlyFull:
    """A socket that takes a part of what it is given, and lets others run meanwhile."""

    def __init__(self, own: socket.socket) -> None:
        self._own = own
        self.fileno = own.fileno
        self.close = own.close
        self.shutdown = own.shutdown

    def send(self, data: bytes) -> int:
        sent = self._own.send(data[: FRAME_BYTES // 3])
        select.select((), (), (), 1e-5)  # a thread switch, as the system makes them
        return sent


class Loop:
    """What a transport needs of its connection's loop, which runs on a thread of its own."""

    def __init__(self, transport: Any) -> None:
        self.transport = transport
        self.calls: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.writer: Any = None
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def set_reader(self, fd: int, callback: Any) -> None:
        pass

    def set_writer(self, fd: int, callback: Any) -> None:
        assert threading.current_thread() is self.thread
        self.writer = callback

    def remove_writer(self, fd: int) -> None:
        assert threading.current_thread() is self.thread
        self.writer = None

    def stop(self) -> None:
        self.calls.put(None)
        self.thread.join()

    def _run(self) -> None:
        is_ending = False
        while not (is_ending and self.writer is None):
            try:
                call = self.calls.get(timeout=0.001 if self.writer is not None else 5)
            except queue.Empty:
                call = ()
            if call is None:
                is_ending = True
            elif call:
                call()
            if self.writer is not None:
                _, ready, _ = select.select((), (self.transport._sock,), (), 0.001)
                if ready:
                    self.writer()


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    yield ours, theirs
    ours.close()
    theirs.close()


def transport_on(ours: socket.socket) -> Any:
    """Return a transport as ``quicken`` leaves it, and start its loop."""
    transport: Any = _QuickTransport.__new__(_QuickTransport)
    transport.writing = threading.Lock()
    transport._nbio = Loop(transport)
    transport._sock = NearlyFull(ours)
    transport._state = transport._STATE_ACTIVE
    transport._tx_buffers = deque()
    transport._tx_buffered_byte_count = 0
    return transport


def received(theirs: socket.socket, size: int) -> bytes:
    """Return *size* bytes that came."""
    theirs.settimeout(10)
    parts = []
    while size and (part := theirs.recv(min(size, 1000))):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def test_frames_of_many_threads_come_whole(ends: tuple[socket.socket, socket.socket]) -> None:
    """What many threads write comes whole, each one's in its order, however full the socket is."""
    ours, theirs = ends
    transport = transport_on(ours)

    together = threading.Barrier(THREADS)

    def write(name: int) -> None:
        for number in range(FRAMES):
            frame = bytes((name, number)) * (FRAME_BYTES // 2)
            together.wait(10)  # all find the socket free, or all find it full
            if name:
                if not transport.send(frame):
                    transport._nbio.calls.put(transport.resume)
            else:  # as pika writes, on the loop's own thread
                transport._nbio.calls.put(lambda frame=frame: transport.write(frame))

    writers = [threading.Thread(target=write, args=(name,)) for name in range(THREADS)]
    for writer in writers:
        writer.start()
    stream = received(theirs, THREADS * FRAMES * FRAME_BYTES)
    for writer in writers:
        writer.join()
    transport._nbio.stop()
    frames = [stream[at : at + FRAME_BYTES] for at in range(0, len(stream), FRAME_BYTES)]

    assert all(frame == frame[:2] * (FRAME_BYTES // 2) for frame in frames)
    for name in range(THREADS):
        assert list(range(FRAMES)) == [frame[1] for frame in frames if frame[0] == name]


def test_what_the_socket_did_not_take_follows(ends: tuple[socket.socket, socket.socket]) -> None:
    """The connection's thread writes the rest once it is told, and watches the socket no longer."""
    ours, theirs = ends
    transport = transport_on(ours)
    frame = bytes(range(250)) * (FRAME_BYTES // 250)

    is_whole = transport.send(frame)
    transport._nbio.calls.put(transport.resume)
    came = received(theirs, FRAME_BYTES)
    transport._nbio.stop()

    assert (False, frame) == (is_whole, came)
    assert transport._nbio.writer is None


def test_nothing_is_written_after_the_end(ends: tuple[socket.socket, socket.socket]) -> None:
    """A thread that writes to a connection which has just ended touches no socket."""
    ours, _ = ends
    transport = transport_on(ours)
    transport._nbio.stop()
    transport._close_and_finalize()

    assert transport.send(b"frame")
    assert not transport._tx_buffers


def test_nobody_writes_in_the_midst_of_a_frame(ends: tuple[socket.socket, socket.socket]) -> None:
    """A finalizer that emits while its own thread writes is told to leave that to another."""
    ours, _ = ends
    connection = QuickConnection.__new__(QuickConnection)
    connection._quick = transport = transport_on(ours)
    transport._nbio.stop()
    answers = [connection.may_write_anywhere]
    transport._sock.send = lambda data: answers.append(connection.may_write_anywhere) or len(data)
    connection.bytes_sent = connection.frames_sent = 0
    connection.write_frames(b"frame")

    assert [True, False] == answers


def test_this_pika_can_be_quickened() -> None:
    """The installed pika has what this needs; if this fails, speed is lost and nothing else."""
    assert CAN_SEND
