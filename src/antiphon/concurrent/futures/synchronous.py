"""An executor without threads."""

from __future__ import annotations

import concurrent.futures
import threading
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from antiphon.concurrent.futures.future import Future, run_into

P = ParamSpec("P")
T = TypeVar("T")


class SynchronousExecutor(concurrent.futures.Executor):
    """Runs each job in ``submit()``, in the thread that calls it.

    For tests, and for programs where threads are a choice.  The future that
    ``submit()`` returns is done, so nothing can be cancelled.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._shutdown = False

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Call ``fn(*args, **kwargs)`` and return a future with what came of it.

        Raises:
            RuntimeError: after ``shutdown()``; *fn* was not called.
            KeyboardInterrupt: the user broke the job off.  The future has it
                too, but the program must not go on because nobody looks there.
        """
        with self._lock:
            if self._shutdown:
                raise RuntimeError(
                    "cannot schedule new futures after shutdown of this SynchronousExecutor"
                )
        future: Future[T] = Future()
        run_into(future, fn, args, kwargs)
        failure = future.exception()
        if isinstance(failure, KeyboardInterrupt):
            raise failure
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more jobs.  There is nothing to wait for, and nothing to cancel."""
        with self._lock:
            self._shutdown = True
