"""The block of a ``with`` statement that is one transaction."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from antiphon.storage.backend_transactions import BackendTransactions


class TransactionBlock:
    """The block of one ``with store.transaction(…)``; may be entered again."""

    def __init__(self, store: BackendTransactions) -> None:
        self._store = store

    def __enter__(self) -> Self:
        self._store._begin()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        exc_traceback: TracebackType | None,
    ) -> None:
        self._store._end(exc_value)
