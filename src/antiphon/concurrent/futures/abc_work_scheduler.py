"""What all schedulers share: one job at a time on an executor, chosen by the subclass."""

from __future__ import annotations

import abc
import concurrent.futures
import logging
import threading
import traceback
from collections.abc import Callable
from typing import Any

logger = logging.getLogger(__name__)

#: An operation with its arguments, as it waits for its turn.
Pending = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]

AnyFuture = concurrent.futures.Future[Any]


class ABCWorkScheduler(abc.ABC):
    """Runs submitted operations on an executor, never two at once.

    Subclasses say which operation is next: ``_add_pending_operation()`` and
    ``_get_next_operation()``, both called under one lock.

    Any executor of ``concurrent.futures`` will do.  What a job or the callback
    raises is logged, and the next job runs all the same.
    """

    #: Where failures are logged.
    _logger = logger

    @abc.abstractmethod
    def __init__(
        self,
        executor: concurrent.futures.Executor,
        name: str | None = None,
        callback: Callable[[AnyFuture], object] | None = None,
    ) -> None:
        """Prepare a scheduler.

        Args:
            executor: runs the jobs; the scheduler does not shut it down.
            name: what the logs call this scheduler; None for the class's name.
            callback: called with the future of each job that is done, where
                the job ran.
        """
        self.name = type(self).__name__ if name is None else name
        self._executor = executor
        self._callback = callback
        self._state_lock = threading.Condition(threading.RLock())
        self._busy = False
        self._future: AnyFuture | None = None
        self._shutdown = False
        self._here = threading.local()

    def submit(self, operation: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Have ``operation(*args, **kwargs)`` run when it is its turn.

        Raises:
            RuntimeError: after ``shutdown()``, or if the executor was shut down;
                the operation will not run.
        """
        with self._state_lock:
            if self._shutdown:
                raise RuntimeError(f"cannot submit new operations after shutdown of {self.name!r}")
            self._add_pending_operation(operation, args, kwargs)
            pending = self._take_next()
        self._run(pending)

    def wait(self) -> None:
        """Return when nothing runs and nothing is pending.  Not for use in jobs."""
        with self._state_lock:
            self._state_lock.wait_for(lambda: not self._busy)

    def shutdown(self) -> None:
        """Take no more operations, and return when all that are pending are done."""
        self._prevent_new_operations()
        self.wait()

    # -- For subclasses ------------------------------------------------------

    @abc.abstractmethod
    def _add_pending_operation(
        self, operation: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        """Remember an operation."""

    @abc.abstractmethod
    def _get_next_operation(self) -> Pending | None:
        """Return the operation that is next, and forget it; None if there is none."""

    def _prevent_new_operations(self) -> None:
        with self._state_lock:
            self._shutdown = True

    def _operation_completion_callback(self, future: AnyFuture) -> None:
        """Say what went wrong with a job that is done, and let the next one run."""
        self._report(future)
        self._schedule_new()

    def _schedule_new(self) -> None:
        """Run the next operation; called when the present one is done with."""
        if getattr(self._here, "running", False):
            # The job was done while _run() of this very thread started it: that
            # goes on, so that a thousand such jobs need no thousand frames.
            self._here.again = True
            return
        self._run(self._take_after())

    # -- The turn ------------------------------------------------------------

    def _take_next(self) -> Pending | None:
        """Claim the turn for the next operation, if the turn is free."""
        with self._state_lock:
            return None if self._busy else self._take_after()

    def _take_after(self) -> Pending | None:
        """Hand the turn to the next operation, or give it up and tell who waits."""
        with self._state_lock:
            pending = self._get_next_operation()
            self._busy = pending is not None
            if pending is None:
                self._future = None
                self._state_lock.notify_all()
            return pending

    def _run(self, pending: Pending | None) -> None:
        """Hand *pending*, whose turn it is, to the executor, and then whatever is next."""
        while pending is not None:
            operation, args, kwargs = pending
            self._here.again = False
            self._here.running = True
            try:
                # Without the lock: an executor may run the job at once, and
                # that job may submit others.
                self._future = self._executor.submit(operation, *args, **kwargs)
                self._future.add_done_callback(self._operation_completion_callback)
            except BaseException:
                self._give_up()
                raise
            finally:
                self._here.running = False
            pending = self._take_after() if self._here.again else None

    def _give_up(self) -> None:
        # The executor takes nothing: whatever else is pending would fail likewise.
        with self._state_lock:
            dropped = 1
            while self._get_next_operation() is not None:
                dropped += 1
            self._logger.error(
                "%s dropped %d operations: its executor takes none", self.name, dropped
            )
            self._busy = False
            self._state_lock.notify_all()

    def _report(self, future: AnyFuture) -> None:
        failure: BaseException | None = None
        try:
            if self._callback is not None:
                self._callback(future)
            future.result()
        except BaseException as exc:  # nobody is there to catch it, and the next job must run
            failure = exc
        if failure is None:
            return
        self._logger.error(
            "%s occurred in submitted %s job", type(failure).__name__, self.name, exc_info=failure
        )
        # A callback that fails hides what the job met, so that is said by itself.
        self._logger.error("the job itself: %s", _outcome(future))


def _outcome(future: AnyFuture) -> str:
    if future.cancelled():
        return "cancelled"
    failure = future.exception()
    if failure is None:
        return "succeeded; its callback failed"
    formatted = getattr(future, "traceback", lambda: None)()
    return formatted or "".join(traceback.format_exception(failure))
