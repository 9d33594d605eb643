"""The event manager of one process."""

from __future__ import annotations

import itertools
import logging
import operator
import threading
from collections.abc import Callable
from typing import Any

from antiphon.events.abstract_event_manager import BaseEvent, BaseEventManager, Filter, Listener

logger = logging.getLogger(__name__)


class EventManager(BaseEventManager):
    """Calls listeners with the events that they asked for."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._count = itertools.count()
        self._connected: dict[type, dict[Any, tuple[Any, ...]]] = {}
        self._disabled: set[type] = set()

    def connect(
        self, cls: type, func: Listener, filter: Filter | None = None, priority: float = 0
    ) -> None:
        self._connect(cls, func, filter, priority)

    def _connect(
        self,
        cls: type,
        func: Listener,
        filter: Filter | None,
        priority: float,
        condition: Callable[[Any], bool] | None = None,
    ) -> None:
        with self._lock:
            self._connected.setdefault(cls, {})[func] = (
                -priority,
                next(self._count),
                func,
                dict(filter or {}),
                condition,
            )

    def disconnect(self, cls: type, func: Listener) -> None:
        with self._lock:
            del self._connected[cls][func]

    def emit(self, event: BaseEvent, block: bool = True) -> threading.Thread | None:
        if not block:
            thread = threading.Thread(target=self.emit, args=(event,))
            thread.start()
            return thread
        if self.is_enabled(type(event)):
            event.pre_emit()
            self._dispatch(event)
            event.post_emit()
        return None

    def _dispatch(self, event: BaseEvent, block: bool = True) -> threading.Thread | None:
        if not block:
            thread = threading.Thread(target=self._dispatch, args=(event,))
            thread.start()
            return thread
        with self._lock:
            found = sorted(
                (
                    entry
                    for cls in type(event).__mro__
                    for entry in self._connected.get(cls, {}).values()
                ),
                key=lambda entry: entry[:2],
            )
        for _, _, func, filter, condition in found:
            try:
                if all(operator.attrgetter(k)(event) == v for k, v in filter.items()) and (
                    condition is None or condition(event)
                ):
                    func(event)
            except AttributeError:
                continue
            except Exception:
                logger.exception("listener %r failed", func)
            if event._handled:
                break
        return None

    def disable(self, cls: type) -> None:
        self._disabled.add(cls)

    def enable(self, cls: type) -> None:
        self._disabled.discard(cls)

    def is_enabled(self, cls: type) -> bool:
        return not self._disabled or self._disabled.isdisjoint(cls.__mro__)
