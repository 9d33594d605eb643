"""Waking a thread that polls."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Iterator

import pytest

from antiphon.messaging.bell import Bell


@pytest.fixture(params=["eventfd", "pipe"])
def bell(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bell]:
    if request.param == "pipe":
        monkeypatch.delattr(os, "eventfd", raising=False)
    bell = Bell()
    yield bell
    bell.close()


def is_readable(bell: Bell) -> bool:
    return bool(select.select([bell.fileno()], [], [], 0)[0])


def test_rung_and_hushed(bell: Bell) -> None:
    """It is readable from the first ring until it is hushed, however often it was rung."""
    assert not is_readable(bell)
    bell.ring()
    bell.ring()
    assert is_readable(bell)

    bell.hush()

    assert not is_readable(bell)
    bell.hush()


def test_wakes(bell: Bell) -> None:
    """A thread that waits for it goes on."""
    woken = threading.Event()
    thread = threading.Thread(
        target=lambda: select.select([bell.fileno()], [], [], 30) and woken.set()
    )
    thread.start()

    bell.ring()

    assert woken.wait(10)
    thread.join()


def test_never_blocks(bell: Bell) -> None:
    """Ringing a bell that nobody hears costs nothing, however long it goes on."""
    for _ in range(100_000):
        bell.ring()

    assert is_readable(bell)


def test_closed(bell: Bell) -> None:
    """A closed bell rings no file that got its number since."""
    number = bell.fileno()
    bell.close()
    bell.close()
    read_end, write_end = os.pipe()

    bell.ring()

    assert number in (read_end, write_end)
    assert [] == select.select([read_end], [], [], 0)[0]
    os.close(read_end)
    os.close(write_end)
