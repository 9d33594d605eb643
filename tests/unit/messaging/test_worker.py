"""A thread that does one thing after the other."""

from __future__ import annotations

import logging
import sys
import threading

import pytest

from antiphon.messaging.worker import Worker


@pytest.fixture
def worker():
    worker = Worker("test")
    worker.start()
    yield worker
    worker.stop()
    assert worker.join(10)


def test_in_order(worker: Worker) -> None:
    """Everything is called, in the order in which it was submitted."""
    done: list[int] = []
    for number in range(1000):
        worker.submit(done.append, number)

    worker.stop()
    worker.join(10)

    assert list(range(1000)) == done


@pytest.mark.parametrize("error", [ValueError("x"), SystemExit(3)])
def test_survives(worker: Worker, error: BaseException, caplog: pytest.LogCaptureFixture) -> None:
    """A call that raises, be it SystemExit, is logged and stops nothing."""
    caplog.set_level(logging.ERROR)
    happened = threading.Event()

    def fail(_: object) -> None:
        raise error

    worker.submit(fail, None)
    worker.submit(lambda _: happened.set(), None)

    assert happened.wait(10)
    assert "callback failed" in caplog.text


def test_join_on_itself(worker: Worker) -> None:
    """A call may ask the worker to end without waiting for itself for ever."""
    answers: list[bool] = []
    worker.submit(lambda _: (worker.stop(), answers.append(worker.join(sys.maxsize))), None)

    assert worker.join(10)
    assert [False] == answers


def test_never_started() -> None:
    """A worker that was never started can be stopped."""
    worker = Worker("test")

    worker.stop()

    assert worker.join(1)
