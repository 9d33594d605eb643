"""The loop of a link, where it differs from pika's."""

from __future__ import annotations

import threading

import pika.compat
import pytest

from antiphon.messaging.amqp_link import _WatchedLoop
from antiphon.messaging.bell import Bell


def test_a_loop_does_not_connect_to_itself_over_the_network(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With packets lost on the loopback interface it would wait for itself for ever."""

    def connect() -> None:
        raise AssertionError("it made a TCP connection")

    monkeypatch.setattr(pika.compat, "nonblocking_socketpair", connect)
    bell, woken = Bell(), threading.Event()
    loop = _WatchedLoop(bell, lambda: None)
    other = threading.Timer(
        0.05, lambda: loop.add_callback_threadsafe(lambda: (woken.set(), loop.stop())[0])
    )
    other.start()
    loop.start()
    other.join()
    loop.close()
    bell.close()

    assert woken.is_set()
