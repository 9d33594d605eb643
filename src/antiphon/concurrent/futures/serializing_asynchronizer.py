"""A scheduler that keeps the newest operation of each callable."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable, Hashable
from typing import Any

from antiphon.concurrent.futures.abc_work_scheduler import ABCWorkScheduler, AnyFuture, Pending


class SerializingAsynchronizer(ABCWorkScheduler):
    """An ``Asynchronizer`` for several callables, which run one at a time.

    Of the submissions of one callable that wait, only the newest is kept, in
    the place of the first.  If ``C`` runs, and ``A``, ``B`` and ``A`` again are
    submitted meanwhile, ``A`` runs next, with the arguments of the second
    submission, and then ``B``.
    """

    def __init__(
        self,
        executor: concurrent.futures.Executor,
        name: str | None = None,
        callback: Callable[[AnyFuture], object] | None = None,
    ) -> None:
        """Prepare a scheduler; for the arguments see ``ABCWorkScheduler``."""
        super().__init__(executor, name, callback)
        self._pending_operations: dict[Hashable, Pending] = {}

    def _add_pending_operation(
        self, operation: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        self._pending_operations[_identity(operation)] = operation, args, kwargs

    def _get_next_operation(self) -> Pending | None:
        if not self._pending_operations:
            return None
        return self._pending_operations.pop(next(iter(self._pending_operations)))


def _identity(operation: Callable[..., Any]) -> Hashable:
    try:
        hash(operation)
    except TypeError:
        # An object with __eq__ and no hash: itself, and it lives as long as it waits.
        return id(operation)
    return operation
