"""A scheduler that runs everything, in order."""

from __future__ import annotations

import concurrent.futures
from collections import deque
from collections.abc import Callable
from typing import Any

from antiphon.concurrent.futures.abc_work_scheduler import ABCWorkScheduler, AnyFuture, Pending


class Serializer(ABCWorkScheduler):
    """Runs every submitted operation, in the order of submission, one at a time."""

    def __init__(
        self,
        executor: concurrent.futures.Executor,
        name: str | None = None,
        callback: Callable[[AnyFuture], object] | None = None,
    ) -> None:
        """Prepare a scheduler; for the arguments see ``ABCWorkScheduler``."""
        super().__init__(executor, name, callback)
        self._pending_operations: deque[Pending] = deque()

    def _add_pending_operation(
        self, operation: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        self._pending_operations.append((operation, args, kwargs))

    def _get_next_operation(self) -> Pending | None:
        return self._pending_operations.popleft() if self._pending_operations else None
