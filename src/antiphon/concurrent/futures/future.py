"""A future that keeps the traceback of its job as text."""

from __future__ import annotations

import concurrent.futures
import traceback
from typing import Any, TypeVar

T = TypeVar("T")


class Future(concurrent.futures.Future[T]):
    """A standard future that can also say where its job failed."""

    def __init__(self) -> None:
        super().__init__()
        self._traceback_formatted: str | None = None

    def traceback(self) -> str | None:
        """Return the formatted traceback of the job's exception, without waiting.

        None if the job succeeded, was cancelled or is not done yet.
        """
        return self._traceback_formatted

    def set_exception(self, exception: BaseException | None) -> None:
        """Make *exception* the result; for executors and tests.

        Raises:
            InvalidStateError: the future is done already, and stays as it is.
        """
        if exception is not None and not self.done():
            # Now, because each result() that raises the exception again would add its
            # own lines; and as text, which keeps no frames alive.
            self._traceback_formatted = "".join(traceback.format_exception(exception))
        super().set_exception(exception)


def run_into(
    future: concurrent.futures.Future[Any],
    fn: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> None:
    """Call *fn* unless *future* was cancelled, and make what comes of it the future's result."""
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = fn(*args, **kwargs)
    except BaseException as exc:
        future.set_exception(exc)
        # The exception's traceback holds this frame, and the future the exception.
        del future
    else:
        future.set_result(result)
