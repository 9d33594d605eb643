"""A slow listener does not make a process keep everything that comes."""

from __future__ import annotations

import threading

import pytest

from antiphon import BaseEvent, open_bus
from antiphon.messaging import inbox
from antiphon.messaging.events import EventsMayBeMissing


class Filling(BaseEvent):
    """An event of a kilobyte."""


def test_slow_listeners(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Beyond a limit of bytes messages are dropped, counted, and told of; then all goes on."""
    monkeypatch.setattr(inbox, "MAX_WAITING_BYTES", 20_000)
    free, last = threading.Event(), threading.Event()
    heard: list[object] = []
    missing: list[EventsMayBeMissing] = []

    def slow(event: BaseEvent) -> None:
        free.wait(30)
        heard.append(event.number)  # type: ignore[attr-defined]
        if event.number == "last":  # type: ignore[attr-defined]
            last.set()

    with open_bus("memory:") as sender, open_bus("memory:") as bus:
        bus.connect(Filling, slow)
        bus.connect(EventsMayBeMissing, missing.append, scope="local")
        for number in range(100):
            sender.emit(Filling(number=number, text="x" * 1000))
            sender.flush(5)
        assert bus.stats().skipped > 70
        free.set()
        sender.flush(5)
        while not last.wait(0.05):
            sender.emit(Filling(number="last"))
            sender.flush(5)

        stats = bus.stats()

    assert heard[: 100 - stats.skipped] == list(range(100 - stats.skipped))
    assert 1 == len(missing)
    assert 1 == caplog.text.count("wait for slow listeners")


def test_one_long_message_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A message that is longer than what may wait is read when nothing else waits."""
    monkeypatch.setattr(inbox, "MAX_WAITING_BYTES", 100)
    heard = threading.Event()

    with open_bus("memory:") as sender, open_bus("memory:") as bus:
        bus.connect(Filling, lambda event: heard.set())
        sender.emit(Filling(text="x" * 1000))

        assert heard.wait(10)
