"""A thread pool whose threads can be prepared, cleaned up, named and abandoned.

It stands on ``concurrent.futures.Executor``, not on ``ThreadPoolExecutor``:
that has no place for an uninitializer, for names of one's own or for threads
that do not hold up the interpreter, except in private parts that change with
the versions of Python (3.9 and 3.14 did).
"""

from __future__ import annotations

import atexit
import concurrent.futures
import itertools
import logging
import queue
import threading
import weakref
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple, ParamSpec, TypeVar

from antiphon.concurrent.futures.future import Future, run_into

logger = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")


class _Job(NamedTuple):
    future: concurrent.futures.Future[Any]
    fn: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


#: None in a queue asks a worker to look whether it is time to go.
_Jobs = queue.SimpleQueue[_Job | None]


class _Exit:
    """What holds up the end of the interpreter."""

    lock = threading.Lock()
    begun = False
    queues: ClassVar[weakref.WeakKeyDictionary[threading.Thread, _Jobs]] = (
        weakref.WeakKeyDictionary()
    )


class EnhancedThreadPoolExecutor(concurrent.futures.Executor):
    """A pool of threads, as ``concurrent.futures.ThreadPoolExecutor``, with more to choose.

    Each submitted job starts one more thread until there are *max_workers*.
    ``map()`` submits everything at once.  The threads end with ``shutdown()``,
    at the end of a ``with`` block, or when nobody holds the executor any more.

    Attributes:
        name: the name it was given; else the name of its class.
    """

    #: Makes the futures; subclasses may name another class.
    _future_factory: ClassVar[Callable[[], concurrent.futures.Future[Any]]] = Future

    def __init__(
        self,
        max_workers: int,
        initializer: Callable[[], object] | None = None,
        uninitializer: Callable[[], object] | None = None,
        name: str | None = None,
        wait_at_exit: bool = True,
    ) -> None:
        """Prepare a pool; it starts no thread yet.

        Args:
            max_workers: how many threads there may be; at least 1.
            initializer: called in each thread before its first job.
            uninitializer: called in each thread after its last job; not in
                threads that the end of the interpreter stops.  Exceptions of
                both are logged, and nothing else.
            name: threads are named ``<name>Worker-<n>``, from 1.
            wait_at_exit: whether the interpreter finishes all submitted jobs
                before it exits.  If not, it stops them wherever they are:
                files stay half written, and nothing is cleaned up.

        Raises:
            ValueError: *max_workers* is less than 1.
        """
        if max_workers < 1:
            raise ValueError(f"max_workers must be at least 1, not {max_workers!r}")
        self.name = type(self).__name__ if name is None else name
        self._max_workers = max_workers
        self._initializer = initializer
        self._uninitializer = uninitializer
        self._wait_at_exit = wait_at_exit
        self._jobs: _Jobs = queue.SimpleQueue()
        self._threads: set[threading.Thread] = set()
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._shutdown = False

    def submit(
        self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> concurrent.futures.Future[T]:
        """Have ``fn(*args, **kwargs)`` called in a thread; return its future.

        The future has ``traceback()`` (see ``future.Future``).

        Raises:
            RuntimeError: after ``shutdown()``, or when the interpreter is about
                to exit; *fn* will not be called.
        """
        with self._lock, _Exit.lock:
            if self._shutdown:
                raise RuntimeError(f"cannot schedule new futures after shutdown of {self.name!r}")
            if _Exit.begun:
                raise RuntimeError("cannot schedule new futures after interpreter shutdown")
            self._add_thread()
            future = type(self)._future_factory()
            self._jobs.put(_Job(future, fn, args, kwargs))
            return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more jobs, and end the threads when those submitted are done.

        Args:
            wait: return only when all threads have ended.
            cancel_futures: cancel the jobs that no thread has begun.
        """
        with self._lock:
            self._shutdown = True
            if cancel_futures:
                _cancel_all(self._jobs)
            self._jobs.put(None)
        if wait:
            for thread in self._threads:
                thread.join()

    def _add_thread(self) -> None:
        if len(self._threads) >= self._max_workers:
            return

        def wake(_: object, jobs: _Jobs = self._jobs) -> None:
            jobs.put(None)

        thread = threading.Thread(
            target=_work,
            name=f"{self.name}Worker-{next(self._numbers)}",
            args=(weakref.ref(self, wake), self._jobs, self._initializer, self._uninitializer),
            # Others would hold up the exit whatever wait_at_exit says.
            daemon=True,
        )
        thread.start()
        self._threads.add(thread)
        if self._wait_at_exit:
            _Exit.queues[thread] = self._jobs


def _work(
    executor: weakref.ref[EnhancedThreadPoolExecutor],
    jobs: _Jobs,
    initializer: Callable[[], object] | None,
    uninitializer: Callable[[], object] | None,
) -> None:
    _call_hook(initializer, "initializer")
    while True:
        job = jobs.get()
        if job is not None:
            run_into(*job)
            # Nothing of the job may live on while this thread waits for the next.
            del job
            continue
        pool = executor()
        if pool is None or pool._shutdown or _Exit.begun:
            jobs.put(None)  # for the other threads of the pool
            break
        del pool
    _call_hook(uninitializer, "uninitializer")


def _call_hook(hook: Callable[[], object] | None, what: str) -> None:
    if hook is None:
        return
    try:
        hook()
    except BaseException:  # whatever it is, the jobs of this thread go on
        logger.critical(
            "the %s of thread %r failed", what, threading.current_thread().name, exc_info=True
        )


def _cancel_all(jobs: _Jobs) -> None:
    try:
        while True:
            job = jobs.get_nowait()
            if job is not None:
                job.future.cancel()
    except queue.Empty:
        return


def _finish_jobs() -> None:
    with _Exit.lock:
        _Exit.begun = True
        waiting = list(_Exit.queues.items())
    for _, jobs in waiting:
        jobs.put(None)
    for thread, _ in waiting:
        thread.join()


atexit.register(_finish_jobs)
