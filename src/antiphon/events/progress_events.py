"""Events that tell how far an operation has come, and a manager that emits them."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Any, ClassVar
from uuid import uuid4

from antiphon.errors import ProgressNotStarted
from antiphon.events.abstract_event_manager import BaseEvent, BaseEventManager
from antiphon.events.package_globals import get_event_manager


class ProgressEvent(BaseEvent):
    """Something is being done; listen for this class to hear of all progress.

    Attributes:
        operation_id: tells operations apart; the same in all events of one.
        message: what is being done, for people to read.
    """

    # Thousands a second of interest to one screen: not for other processes.
    travels: ClassVar[bool] = False


class ProgressStartEvent(ProgressEvent):
    """An operation begins.

    Attributes:
        operation_id, message: see ``ProgressEvent``.
        steps: how many steps it will take; -1 if nobody knows.
    """


class ProgressStepEvent(ProgressEvent):
    """An operation has come one step further.

    Attributes:
        operation_id, message: see ``ProgressEvent``.
        step: how many steps were done before; -1 if nobody knows.
    """


class ProgressEndEvent(ProgressEvent):
    """An operation is over, well or not.

    Attributes:
        operation_id, message: see ``ProgressEvent``.
        exit_state: ``normal``, ``warning``, ``error`` or ``exception``.
    """


class ProgressManager:
    """Emits the events of one operation.

    As a context manager it emits the start and the end, also when the body
    fails (with ``exit_state='exception'``); calling it emits a step::

        with ProgressManager(event_manager, source, id, "Performing operation", steps) as progress:
            for step in range(steps):
                ...
                progress(f"Performing operation, {step} done")

    ``start()``, ``step()`` and ``end()`` do the same one by one.

    Attributes:
        StartEventType, StepEventType, EndEventType: the classes of the events;
            subclasses may name others.
    """

    StartEventType: ClassVar[type[ProgressStartEvent]] = ProgressStartEvent
    StepEventType: ClassVar[type[ProgressStepEvent]] = ProgressStepEvent
    EndEventType: ClassVar[type[ProgressEndEvent]] = ProgressEndEvent

    def __init__(
        self,
        event_manager: BaseEventManager | None = None,
        source: Any = None,
        operation_id: Any = None,
        message: str = "Performing operation",
        steps: int = -1,
        **kwargs: Any,
    ) -> None:
        """Prepare the events of one operation; emit none yet.

        Args:
            event_manager: what emits them; None for the program's.
            source: their source; None for this object.
            operation_id: tells operations apart; None for a new UUID.
            message: their message where none is given.
            steps: how many steps there will be; -1 if nobody knows.
            kwargs: further attributes for all of them.
        """
        self.event_manager = get_event_manager() if event_manager is None else event_manager
        self.source = self if source is None else source
        self.operation_id = uuid4() if operation_id is None else operation_id
        self.message = message
        self.steps = steps
        self.kwargs = kwargs
        self._lock = threading.Lock()
        self._step_count = 0
        self._running = False

    def start(self, **extra_kwargs: Any) -> None:
        """Emit a start event, with *extra_kwargs* as further attributes."""
        self._running = True
        self._emit(self.StartEventType, extra_kwargs, message=self.message, steps=self.steps)

    def step(
        self, message: str | None = None, step: int | None = None, **extra_kwargs: Any
    ) -> None:
        """Emit a step event.

        Args:
            message: None for the operation's.
            step: the number of the step; None for how often this was called before.
            extra_kwargs: further attributes.

        Raises:
            ProgressNotStarted: ``start()`` was not called, or ``end()`` was; nothing was emitted.
        """
        self._check_running("step")
        with self._lock:
            count = self._step_count
            self._step_count += 1
        self._emit(
            self.StepEventType,
            extra_kwargs,
            message=self.message if message is None else message,
            step=count if step is None else step,
        )

    def end(
        self, message: str | None = None, exit_state: str = "normal", **extra_kwargs: Any
    ) -> None:
        """Emit an end event.

        Args:
            message: None for the operation's.
            exit_state: ``normal``, ``warning``, ``error`` or ``exception``.
            extra_kwargs: further attributes.  ``end_state``, as Encore's manual has
                it, counts as *exit_state* where that is not given.

        Raises:
            ProgressNotStarted: ``start()`` was not called, or ``end()`` was; nothing was emitted.
        """
        self._check_running("end")
        if exit_state == "normal":
            exit_state = extra_kwargs.get("end_state", exit_state)
        self._emit(
            self.EndEventType,
            extra_kwargs,
            message=self.message if message is None else message,
            exit_state=exit_state,
        )
        self._running = False

    def __call__(
        self, message: str | None = None, step: int | None = None, **extra_kwargs: Any
    ) -> None:
        """Emit a step event, and the start event before it if that is missing."""
        if not self._running:
            self.start()
        self.step(message, step, **extra_kwargs)

    def __enter__(self) -> ProgressManager:
        if not self._running:
            self.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        exc_traceback: TracebackType | None,
    ) -> None:
        if not self._running:
            return
        if exc_value is None:
            self.end()
        else:
            self.end(str(exc_value), "exception")

    def _check_running(self, method: str) -> None:
        if not self._running:
            raise ProgressNotStarted(
                f"ProgressManager.{method}() of operation {self.operation_id!r}, which is not "
                "running: call start() first"
            )

    def _emit(
        self, cls: type[ProgressEvent], extra_kwargs: dict[str, Any], **attributes: Any
    ) -> None:
        attributes["operation_id"] = self.operation_id
        attributes["source"] = self.source
        self.event_manager.emit(cls(**{**attributes, **self.kwargs, **extra_kwargs}))
