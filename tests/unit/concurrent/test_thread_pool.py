"""EnhancedThreadPoolExecutor, SynchronousExecutor and the future with a traceback."""

from __future__ import annotations

import concurrent.futures
import gc
import logging
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator

import pytest

from antiphon.concurrent.futures import SynchronousExecutor
from antiphon.concurrent.futures.enhanced_thread_pool_executor import EnhancedThreadPoolExecutor
from antiphon.concurrent.futures.future import Future
from antiphon.concurrent.threadtools import synchronized

PATIENCE_S = 20.0


@pytest.fixture
def pool() -> Iterator[EnhancedThreadPoolExecutor]:
    """A pool of two threads."""
    with EnhancedThreadPoolExecutor(2, name="Choir") as executor:
        yield executor


def fail() -> None:
    """A job that fails."""
    raise ValueError("the job's own words")


class Refused(BaseException):
    """What no job should raise, and some do."""


def test_threads_are_named_by_number(pool: EnhancedThreadPoolExecutor) -> None:
    """A debugger shows whose thread it is."""
    both = threading.Barrier(2)

    def name() -> str:
        both.wait(PATIENCE_S)
        return threading.current_thread().name

    names = [future.result(PATIENCE_S) for future in [pool.submit(name), pool.submit(name)]]

    assert ["ChoirWorker-1", "ChoirWorker-2"] == sorted(names)


def test_a_pool_is_named_after_its_class() -> None:
    """Without a name the class's is taken, a subclass's too."""

    class Choir(EnhancedThreadPoolExecutor):
        pass

    assert "Choir" == Choir(1).name


def test_a_pool_needs_a_thread() -> None:
    """A pool that could never run a job is refused at once."""
    with pytest.raises(ValueError, match="at least 1"):
        EnhancedThreadPoolExecutor(0)


def test_map_submits_before_it_is_iterated(pool: EnhancedThreadPoolExecutor) -> None:
    """All jobs run, even if nobody looks at the results."""
    done: list[int] = []
    pool.map(done.append, range(10))
    pool.shutdown()

    assert list(range(10)) == sorted(done)


def test_the_traceback_says_where_the_job_failed(pool: EnhancedThreadPoolExecutor) -> None:
    """It ends in the job, and asking for the result adds nothing to it."""
    future = pool.submit(fail)
    with pytest.raises(ValueError, match="own words"):
        future.result(PATIENCE_S)
    assert isinstance(future, Future)
    text = future.traceback() or ""

    assert "in fail" in text
    assert text.endswith("ValueError: the job's own words\n")
    assert "future.result" not in text


def test_no_failure_no_traceback(pool: EnhancedThreadPoolExecutor) -> None:
    """A future that is not done, cancelled or successful has none."""
    gate = threading.Event()
    running = [pool.submit(gate.wait, PATIENCE_S) for _ in range(2)]
    waiting = pool.submit(fail)
    assert waiting.cancel()
    tracebacks = [future.traceback() for future in [*running, waiting]]  # type: ignore[attr-defined]
    gate.set()
    concurrent.futures.wait(running, PATIENCE_S)
    tracebacks += [future.traceback() for future in running]  # type: ignore[attr-defined]

    assert [None] * 5 == tracebacks


def test_a_future_is_done_once() -> None:
    """A second outcome is refused, and the first one's traceback stays."""
    future: Future[int] = Future()
    future.set_result(1)
    with pytest.raises(concurrent.futures.InvalidStateError):
        future.set_exception(ValueError())

    assert (1, None) == (future.result(0), future.traceback())


def test_each_thread_is_prepared_and_cleaned_up() -> None:
    """Both hooks run in the thread itself."""
    heard: list[tuple[str, str]] = []
    with EnhancedThreadPoolExecutor(
        1,
        lambda: heard.append(("begin", threading.current_thread().name)),
        lambda: heard.append(("end", threading.current_thread().name)),
        "Choir",
    ) as pool:
        pool.submit(heard.append, ("job", "")).result(PATIENCE_S)

    assert [("begin", "ChoirWorker-1"), ("job", ""), ("end", "ChoirWorker-1")] == heard


def test_failing_hooks_are_logged_only(caplog: pytest.LogCaptureFixture) -> None:
    """Jobs run in a thread whose hooks fail, with whatever they raise."""

    def refuse() -> None:
        raise Refused

    with EnhancedThreadPoolExecutor(1, refuse, refuse) as pool:
        result = pool.submit(pow, 2, 8).result(PATIENCE_S)

    assert 256 == result
    assert [logging.CRITICAL] * 2 == [record.levelno for record in caplog.records]
    assert ["initializer", "uninitializer"] == [r.args[0] for r in caplog.records if r.args]  # type: ignore[index]


def test_jobs_may_raise_anything(pool: EnhancedThreadPoolExecutor) -> None:
    """A job that exits or worse ends itself only, not the thread."""

    def refuse() -> None:
        raise Refused

    failures = [pool.submit(refuse).exception(PATIENCE_S) for _ in range(4)]

    assert [Refused] * 4 == [type(failure) for failure in failures]
    assert 256 == pool.submit(pow, 2, 8).result(PATIENCE_S)


def test_nothing_after_shutdown(pool: EnhancedThreadPoolExecutor) -> None:
    """A job that would never run is refused."""
    pool.shutdown()

    with pytest.raises(RuntimeError, match="shutdown of 'Choir'"):
        pool.submit(pow, 2, 8)


def test_shutdown_can_cancel_what_has_not_begun() -> None:
    """As in the standard library."""
    pool = EnhancedThreadPoolExecutor(1)
    gate, begun = threading.Event(), threading.Event()
    first = pool.submit(lambda: (begun.set(), gate.wait(PATIENCE_S)))
    second = pool.submit(fail)
    assert begun.wait(PATIENCE_S)
    pool.shutdown(wait=False, cancel_futures=True)
    gate.set()
    pool.shutdown()

    assert (True, True) == (first.done(), second.cancelled())


def test_threads_end_with_the_executor() -> None:
    """Who forgets shutdown() leaves no threads behind, and loses no job."""
    pool = EnhancedThreadPoolExecutor(3)
    futures = [pool.submit(pow, 2, 8) for _ in range(9)]
    threads = list(pool._threads)
    del pool
    gc.collect()
    for thread in threads:
        thread.join(PATIENCE_S)

    assert not any(thread.is_alive() for thread in threads)
    assert [256] * 9 == [future.result(0) for future in futures]


def test_a_waiting_thread_holds_nothing_of_its_last_job(pool: EnhancedThreadPoolExecutor) -> None:
    """What a job was given, and its failure, can be freed as soon as it is done."""

    class Big:
        def burst(self) -> None:
            raise ValueError

    big = Big()
    gone = threading.Event()
    weakref.finalize(big, gone.set)
    with pytest.raises(ValueError):  # noqa: PT011
        pool.submit(big.burst).result(PATIENCE_S)
    del big
    gc.collect()

    assert gone.wait(PATIENCE_S)


def test_subclasses_choose_their_future() -> None:
    """``_future_factory`` is Encore's hook for that."""

    class Own(concurrent.futures.Future[object]):
        pass

    class Pool(EnhancedThreadPoolExecutor):
        _future_factory = Own

    with Pool(1) as pool:
        future = pool.submit(pow, 2, 8)

        assert (Own, 256) == (type(future), future.result(PATIENCE_S))


EXITING = """
import sys, threading
from antiphon.concurrent.futures.enhanced_thread_pool_executor import EnhancedThreadPoolExecutor

begun = threading.Event()

def job():
    begun.set()
    # Nobody sets it: the job ends only by its time, or with the interpreter.
    threading.Event().wait({seconds})
    print("finished", flush=True)

pool = EnhancedThreadPoolExecutor(1, wait_at_exit={wait})
pool.submit(job)
pool.submit(print, "second", flush=True)
begun.wait()
"""


@pytest.mark.parametrize(
    ("wait", "seconds", "printed"), [(True, 0.2, "finished\nsecond\n"), (False, 60, "")]
)
def test_the_interpreter_waits_or_not(wait: bool, seconds: float, printed: str) -> None:
    """``wait_at_exit`` decides whether jobs are finished or abandoned."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", EXITING.format(wait=wait, seconds=seconds)],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )

    assert (0, printed, "") == (done.returncode, done.stdout, done.stderr)


# -- Without threads -----------------------------------------------------------


def test_a_synchronous_job_runs_in_submit() -> None:
    """It runs in the caller's thread, and its future is done."""
    future = SynchronousExecutor().submit(threading.get_ident)

    assert future.done()
    assert threading.get_ident() == future.result()


def test_a_synchronous_failure_is_in_the_future() -> None:
    """submit() does not raise what the job raises."""
    future = SynchronousExecutor().submit(fail)

    assert isinstance(future.exception(), ValueError)
    assert "in fail" in (future.traceback() or "")


def test_breaking_off_a_synchronous_job_breaks_off_the_program() -> None:
    """Ctrl-C must not vanish in a future that nobody looks at."""

    def break_off() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        SynchronousExecutor().submit(break_off)


def test_a_synchronous_executor_can_be_shut_down() -> None:
    """Leaving the block is shutdown; after it nothing runs."""
    with SynchronousExecutor() as executor:
        assert [1, 4, 9] == list(executor.map(pow, [1, 2, 3], [2, 2, 2]))

    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(fail)


# -- synchronized --------------------------------------------------------------


def test_one_thread_at_a_time() -> None:
    """A second caller waits until the first has returned."""
    inside = 0
    seen: list[int] = []

    @synchronized
    def enter(again: bool = True) -> None:
        nonlocal inside
        inside += 1
        seen.append(inside)
        threading.Event().wait(0.001)
        if again:
            enter(again=False)  # the same thread may
        inside -= 1

    threads = [threading.Thread(target=enter) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)

    assert [1, 2] * 8 == seen


def test_a_synchronized_function_keeps_name_and_result() -> None:
    """It looks like the function that it guards, and the lock is free after a failure."""

    @synchronized
    def sing(note: str, *, loud: bool) -> str:
        """Sing."""
        if not note:
            raise ValueError("nothing to sing")
        return note.upper() if loud else note

    with pytest.raises(ValueError, match="nothing"):
        sing("", loud=True)
    sung: list[str] = []
    other = threading.Thread(target=lambda: sung.append(sing("a", loud=True)))
    other.start()
    other.join(PATIENCE_S)

    assert ["A"] == sung
    assert ("sing", "Sing.") == (sing.__name__, sing.__doc__)
