"""A scheduler that keeps the newest operation only."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable
from typing import Any

from antiphon.concurrent.futures.abc_work_scheduler import ABCWorkScheduler, AnyFuture, Pending


class Asynchronizer(ABCWorkScheduler):
    """Runs one operation at a time; while one runs, only the newest submission is kept.

    For work where only the latest state counts, such as drawing or saving.
    The operation submitted last always runs in the end.
    """

    def __init__(
        self,
        executor: concurrent.futures.Executor,
        name: str | None = None,
        callback: Callable[[AnyFuture], object] | None = None,
    ) -> None:
        """Prepare a scheduler; for the arguments see ``ABCWorkScheduler``."""
        super().__init__(executor, name, callback)
        self._pending_operation: Pending | None = None

    def _add_pending_operation(
        self, operation: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        self._pending_operation = operation, args, kwargs

    def _get_next_operation(self) -> Pending | None:
        pending, self._pending_operation = self._pending_operation, None
        return pending
