"""Reading a socket without giving other threads a turn."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from antiphon.messaging.amqp_receiving import READ_BYTES, receiver


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ends = socket.socketpair()
    ends[0].setblocking(False)
    yield ends
    for end in ends:
        end.close()


def test_what_is_there_is_read(pair: tuple[socket.socket, socket.socket]) -> None:
    """All that has come is returned, and each time it is new bytes."""
    receive = receiver()
    pair[1].sendall(b"one")
    first = receive(pair[0])
    pair[1].sendall(b"second")

    assert (b"one", b"second") == (first, receive(pair[0]))


def test_no_more_than_a_read(pair: tuple[socket.socket, socket.socket]) -> None:
    """A read returns a part of what is too much for one."""
    pair[1].setblocking(False)
    pair[1].send(bytes(READ_BYTES + 10))

    assert READ_BYTES >= len(receiver()(pair[0])) > 0


def test_nothing_there(pair: tuple[socket.socket, socket.socket]) -> None:
    """An empty socket raises as ``recv`` does."""
    with pytest.raises(BlockingIOError):
        receiver()(pair[0])


def test_the_end(pair: tuple[socket.socket, socket.socket]) -> None:
    """The end of the stream is no bytes."""
    pair[1].shutdown(socket.SHUT_WR)

    assert b"" == receiver()(pair[0])


def test_a_closed_socket(pair: tuple[socket.socket, socket.socket]) -> None:
    """A closed socket raises ``OSError``."""
    pair[0].close()

    with pytest.raises(OSError, match="Bad file descriptor"):
        receiver()(pair[0])
