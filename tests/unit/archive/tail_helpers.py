"""What the tests of tails share."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

from antiphon.archive import CAUGHT_UP, ArchiveBusy, Event, EventStore, Portion, Tail


class Locked:
    """An archive that is locked at chosen calls of what a tail needs.

    Attributes:
        busy: how many of the next calls find it locked.
        waits: the places that ``wait`` was called with.
    """

    def __init__(self, store: EventStore) -> None:
        self._store = store
        self.busy = 0
        self.waits: list[int] = []

    def head(self) -> int:
        return self._store.head()

    def wait(self, place: int, timeout_s: float) -> int:
        self.waits.append(place)
        self._look()
        return self._store.wait(place, timeout_s)

    def since(self, *arguments: Any, **options: Any) -> Portion:
        self._look()
        return self._store.since(*arguments, **options)

    def search(self, *arguments: Any, **options: Any) -> Iterator[Event]:
        return self._reading(self._store.search(*arguments, **options))

    def _reading(self, events: Iterator[Event]) -> Iterator[Event]:
        for event in events:
            self._look()
            yield event

    def _look(self) -> None:
        if self.busy:
            self.busy -= 1
            raise ArchiveBusy("locked by a test")


class Followed:
    """Reads a tail on a thread, and can be waited for."""

    def __init__(self, tail: Tail) -> None:
        self.items: list[Any] = []
        self.error: Exception | None = None
        self._tail = tail
        self._moved = threading.Condition()
        self._thread = threading.Thread(target=self._read)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._tail.stop()
        self._thread.join()

    def wait(self, count: int, timeout_s: float = 20) -> list[str]:
        """Return the ids of what came once there are *count*, ``"|"`` for the mark."""
        with self._moved:
            self._moved.wait_for(lambda: self.error or len(self.items) >= count, timeout_s)
            if self.error is not None:
                raise self.error
            return names(self.items)

    def _read(self) -> None:
        try:
            for item in self._tail:
                with self._moved:
                    self.items.append(item)
                    self._moved.notify_all()
        except Exception as exc:
            with self._moved:
                self.error = exc
                self._moved.notify_all()


def names(items: list[Any]) -> list[str]:
    """Return the id of each event, and ``"|"`` for the mark."""
    return ["|" if item is CAUGHT_UP else item.id for item in items]
