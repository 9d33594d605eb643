"""Events between the bus and an output that may be slow, or go."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any

from antiphon.cli.output import check_reader, write_line
from antiphon.events.abstract_event_manager import BaseEvent
from antiphon.messaging.events import EventsMayBeMissing
from antiphon.messaging.subscription_batch import GivenBack

#: Events that wait for a slow terminal; then the broker keeps the rest.
MAX_WAITING = 1000

#: Seconds between looks at whether anybody still reads the output.
LOOK_S = 0.5


class Waiting:
    """Events that are to be printed; a bus whose listener waits for room goes on being connected.

    Leaving it lets all listeners go.
    """

    def __init__(self) -> None:
        self._queue: queue.Queue[tuple[BaseEvent, threading.Event]] = queue.Queue(MAX_WAITING)
        self._is_over = threading.Event()
        self._last: Any = None

    def __enter__(self) -> Waiting:
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()

    def put(self, event: BaseEvent) -> None:
        """Take over *event*; wait for room unless all is over."""
        # It has two of the names that were asked for; or is told of on standard error.
        if event is self._last or isinstance(event, EventsMayBeMissing):
            return
        self._last = event
        self._put(event)

    def put_and_wait(self, event: BaseEvent) -> None:
        """Take over *event*, and return when it is printed.

        Raises:
            GivenBack: it will not be.
        """
        printed = self._put(event)
        while not printed.wait(LOOK_S):
            if self._is_over.is_set():
                raise GivenBack

    def _put(self, event: BaseEvent) -> threading.Event:
        printed = threading.Event()
        while not self._is_over.is_set():
            try:
                self._queue.put((event, printed), timeout=LOOK_S)
            except queue.Full:
                continue
            break
        return printed

    def print_all(self, line_of: Callable[[BaseEvent], str], count: int | None) -> None:
        """Print events until there were *count*."""
        done = 0
        while count is None or done < count:
            try:
                event, printed = self._queue.get(timeout=LOOK_S)
            except queue.Empty:
                check_reader()
                continue
            write_line(line_of(event))
            printed.set()
            done += 1
        self._is_over.set()
