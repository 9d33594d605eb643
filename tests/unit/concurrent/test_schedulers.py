"""The schedulers: which operations run, in which order, and what failures do."""

from __future__ import annotations

import concurrent.futures
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from antiphon.concurrent.futures import SynchronousExecutor
from antiphon.concurrent.futures.abc_work_scheduler import ABCWorkScheduler
from antiphon.concurrent.futures.asynchronizer import Asynchronizer
from antiphon.concurrent.futures.delayed_asynchronizer import DelayedAsynchronizer
from antiphon.concurrent.futures.enhanced_thread_pool_executor import EnhancedThreadPoolExecutor
from antiphon.concurrent.futures.serializer import Serializer
from antiphon.concurrent.futures.serializing_asynchronizer import SerializingAsynchronizer

PATIENCE_S = 20.0

EXECUTORS = [
    lambda: EnhancedThreadPoolExecutor(2),
    lambda: concurrent.futures.ThreadPoolExecutor(2),
    SynchronousExecutor,
]


@pytest.fixture(params=EXECUTORS, ids=["enhanced", "standard", "synchronous"])
def executor(request: pytest.FixtureRequest) -> Iterator[concurrent.futures.Executor]:
    """Each kind of executor in turn: a scheduler works on any."""
    with request.param() as made:
        yield made


class Job:
    """An operation that notes what it was called with, and waits at a gate when told."""

    def __init__(self, done: list[Any]) -> None:
        self.done = done
        self.begun = threading.Event()
        self.gate = threading.Event()

    def __call__(self, note: Any) -> None:
        self.begun.set()
        if note == "hold":
            assert self.gate.wait(PATIENCE_S)
        self.done.append(note)


@pytest.fixture
def pool() -> Iterator[EnhancedThreadPoolExecutor]:
    """A pool with more threads than a scheduler may use."""
    with EnhancedThreadPoolExecutor(4) as executor:
        yield executor


def held(scheduler: ABCWorkScheduler, done: list[Any]) -> Job:
    """Return a job that runs, and goes on when its gate is opened."""
    job = Job(done)
    scheduler.submit(job, "hold")
    assert job.begun.wait(PATIENCE_S)
    return job


def test_an_asynchronizer_keeps_the_newest(pool: EnhancedThreadPoolExecutor) -> None:
    """Of what is submitted while an operation runs, the last one counts."""
    done: list[Any] = []
    scheduler = Asynchronizer(pool)
    job = held(scheduler, done)
    for number in range(5):
        scheduler.submit(done.append, number)
    job.gate.set()
    scheduler.wait()

    assert ["hold", 4] == done


def test_a_serializer_runs_everything_in_order(pool: EnhancedThreadPoolExecutor) -> None:
    """One at a time, though the pool has more threads."""
    done: list[Any] = []
    running = threading.Semaphore(1)

    def work(number: int) -> None:
        assert running.acquire(blocking=False)
        done.append(number)
        running.release()

    scheduler = Serializer(pool)
    for number in range(200):
        scheduler.submit(work, number)
    scheduler.shutdown()

    assert list(range(200)) == done


def test_a_serializing_asynchronizer_keeps_the_newest_of_each(
    pool: EnhancedThreadPoolExecutor,
) -> None:
    """Callables run in the order of their first submission, with their last arguments."""
    done: list[Any] = []
    scheduler = SerializingAsynchronizer(pool)
    hold = held(scheduler, done)
    first, second = Job(done), Job(done)
    for job, note in [(first, "a1"), (second, "b1"), (first, "a2"), (second, "b2")]:
        scheduler.submit(job, note)
    hold.gate.set()
    scheduler.wait()

    assert ["hold", "a2", "b2"] == done


def test_callables_need_no_hash(pool: EnhancedThreadPoolExecutor) -> None:
    """One that compares by value and has no hash is told apart as an object."""

    class Unhashable(Job):
        __hash__ = None  # type: ignore[assignment]

        def __eq__(self, other: object) -> bool:
            return True

    done: list[Any] = []
    scheduler = SerializingAsynchronizer(pool)
    hold = held(scheduler, done)
    first, second = Unhashable(done), Unhashable(done)
    for job, note in [(first, "a1"), (second, "b1"), (first, "a2")]:
        scheduler.submit(job, note)
    hold.gate.set()
    scheduler.wait()

    assert ["hold", "a2", "b1"] == done


def test_a_failing_job_is_logged_and_the_next_one_runs(
    executor: concurrent.futures.Executor, caplog: pytest.LogCaptureFixture
) -> None:
    """On any executor; with the job's own traceback."""
    done: list[Any] = []
    scheduler = Serializer(executor, name="Choir")
    scheduler.submit(divmod, 1, 0)
    scheduler.submit(done.append, 1)
    scheduler.shutdown()

    assert [1] == done
    assert [logging.ERROR] * 2 == [record.levelno for record in caplog.records]
    assert "ZeroDivisionError occurred in submitted Choir job" in caplog.text
    assert "antiphon.concurrent.futures.abc_work_scheduler" == caplog.records[0].name


@pytest.mark.parametrize("failure", [SystemExit, KeyboardInterrupt, GeneratorExit])
def test_a_job_may_raise_anything(
    pool: EnhancedThreadPoolExecutor, failure: type[BaseException]
) -> None:
    """A job that exits does not stop the scheduler."""

    def exit_now() -> None:
        raise failure

    done: list[Any] = []
    scheduler = Serializer(pool)
    scheduler.submit(exit_now)
    scheduler.submit(done.append, 1)
    scheduler.shutdown()

    assert [1] == done


def test_a_failing_callback_is_logged_and_the_next_one_runs(
    executor: concurrent.futures.Executor, caplog: pytest.LogCaptureFixture
) -> None:
    """The log tells the callback's failure from the job's."""

    def refuse(future: concurrent.futures.Future[Any]) -> None:
        raise LookupError("not this one")

    done: list[Any] = []
    scheduler = Serializer(executor, "Choir", refuse)
    scheduler.submit(done.append, 1)
    scheduler.submit(divmod, 1, 0)
    scheduler.shutdown()

    assert [1] == done
    assert 2 == caplog.text.count("LookupError occurred in submitted Choir job")
    assert "the job itself: succeeded; its callback failed" in caplog.text
    assert "ZeroDivisionError" in caplog.text


def test_the_callback_gets_each_future(executor: concurrent.futures.Executor) -> None:
    """It is called once for each job, in order."""
    results: list[Any] = []
    scheduler = Serializer(executor, callback=lambda future: results.append(future.result()))
    for number in range(5):
        scheduler.submit(pow, number, 2)
    scheduler.shutdown()

    assert [0, 1, 4, 9, 16] == results


def test_nothing_after_shutdown(executor: concurrent.futures.Executor) -> None:
    """An operation that would never run is refused."""
    scheduler = Serializer(executor, "Choir")
    scheduler.shutdown()

    with pytest.raises(RuntimeError, match="after shutdown of 'Choir'"):
        scheduler.submit(print)


def test_shutdown_finishes_what_is_pending(pool: EnhancedThreadPoolExecutor) -> None:
    """It returns when the last operation is done."""
    done: list[Any] = []
    scheduler = Serializer(pool)
    job = held(scheduler, done)
    scheduler.submit(done.append, 1)
    ending = threading.Thread(target=scheduler.shutdown)
    ending.start()
    job.gate.set()
    ending.join(PATIENCE_S)

    assert ["hold", 1] == done
    assert not ending.is_alive()


def test_an_executor_that_was_shut_down_is_said(caplog: pytest.LogCaptureFixture) -> None:
    """submit() raises, and the scheduler does not wait for a job that never runs."""
    executor = SynchronousExecutor()
    executor.shutdown()
    scheduler = Serializer(executor)
    with pytest.raises(RuntimeError, match="after shutdown"):
        scheduler.submit(print)
    scheduler.shutdown()

    assert "dropped 1 operations" in caplog.text


def test_jobs_that_submit_jobs_run_one_after_the_other() -> None:
    """Without threads too: no job starts inside another, and thousands need no deep stack."""
    heard: list[str] = []
    scheduler = Serializer(SynchronousExecutor())

    def begin() -> None:
        heard.append("begin")
        for _ in range(5000):
            scheduler.submit(heard.append, "job")
        heard.append("end")

    scheduler.submit(begin)
    scheduler.wait()

    assert ["begin", "end"] == heard[:2]
    assert 5002 == len(heard)


def test_the_base_class_is_abstract() -> None:
    """A scheduler has to say what is next."""
    with pytest.raises(TypeError, match="abstract"):
        ABCWorkScheduler(SynchronousExecutor())  # type: ignore[abstract]


# -- With a pause ---------------------------------------------------------------


class Timers:
    """A timer factory: its timers go off when told."""

    def __init__(self) -> None:
        self.made: list[tuple[float, Callable[[], None]]] = []
        self.running: list[Callable[[], None]] = []

    def __call__(self, interval: float, callback: Callable[[], None]) -> Any:
        self.made.append((interval, callback))
        timers = self

        class Timer:
            def start(self) -> None:
                timers.running.append(callback)

            def cancel(self) -> None:
                timers.running.remove(callback)

        return Timer()

    def go_off(self) -> None:
        """End the pause."""
        self.running.pop()()


def test_a_delayed_asynchronizer_pauses_after_each_operation() -> None:
    """What is submitted in the pause runs after it, and only the newest."""
    done: list[Any] = []
    timers = Timers()
    scheduler = DelayedAsynchronizer(SynchronousExecutor(), 0.5, timer_factory=timers)
    for number in range(4):
        scheduler.submit(done.append, number)
    in_pause = list(done)
    timers.go_off()
    after_pause = list(done)
    timers.go_off()
    scheduler.wait()

    assert ([0], [0, 3]) == (in_pause, after_pause)
    assert [0.5, 0.5] == [interval for interval, _ in timers.made]
    assert [] == timers.running


def test_shutdown_ends_the_pause_and_loses_nothing() -> None:
    """The last operation runs at once, and nothing waits for a timer."""
    done: list[Any] = []
    timers = Timers()
    scheduler = DelayedAsynchronizer(SynchronousExecutor(), 3600.0, timer_factory=timers)
    scheduler.submit(done.append, 1)
    scheduler.submit(done.append, 2)
    scheduler.shutdown()
    timers.made[0][1]()  # a timer that could not be cancelled any more

    assert [1, 2] == done
    assert [] == timers.running


def test_a_real_timer_does(pool: EnhancedThreadPoolExecutor) -> None:
    """Without a factory the standard library's timer makes the pause."""
    done: list[Any] = []
    scheduler = DelayedAsynchronizer(pool, 0.01, "Choir")
    for number in range(3):
        scheduler.submit(done.append, number)
    scheduler.wait()
    scheduler.shutdown()

    assert [0, 2] == done


def test_a_timer_that_fails_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Then there is no pause, rather than no next operation."""

    def refuse(interval: float, callback: Callable[[], None]) -> Any:
        raise OSError("no more threads")

    done: list[Any] = []
    scheduler = DelayedAsynchronizer(SynchronousExecutor(), 1.0, timer_factory=refuse)
    scheduler.submit(done.append, 1)
    scheduler.submit(done.append, 2)
    scheduler.shutdown()

    assert [1, 2] == done
    assert "no pause in DelayedAsynchronizer" in caplog.text
