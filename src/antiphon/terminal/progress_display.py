"""Shows the progress events of a program."""

from __future__ import annotations

import math
import sys
import weakref
from typing import Any, Protocol

from antiphon.events.api import (
    BaseEventManager,
    ProgressEndEvent,
    ProgressStartEvent,
    ProgressStepEvent,
    get_event_manager,
)
from antiphon.terminal.progress_rows import Row, open_row
from antiphon.terminal.utils import encodable, printable


class Writer(Protocol):
    """What shows one operation; see ``ProgressDisplay.progress_writer``."""

    def step_listener(self, event: Any) -> None:
        """Show a step."""

    def end_listener(self, event: Any) -> None:
        """Show the end, and delete the writer from ``display.writers``."""


class _RowWriter:
    """Shows one operation in a row."""

    def __init__(self, display: ProgressDisplay, operation_id: Any, steps: float | None) -> None:
        self.display = display
        self.operation_id = operation_id
        self.last_step: float = 0
        self._row_steps = steps
        self._row: Row | None = None

    def open_row(self, message: str) -> Row:
        """Begin to show the operation, as *message*."""
        row = self._row = open_row(message, self._row_steps)
        # The display may be dropped in the middle of an operation.
        weakref.finalize(self, row.abandon).atexit = False
        return row

    def step_listener(self, event: Any) -> None:
        """Show a step."""
        row = self._row or self.open_row(str(self.operation_id))
        step = _number(getattr(event, "step", None))
        if step is not None:
            if self._row_steps is not None:
                step = min(max(step, 0), self._row_steps)
            self.last_step = step
        row.step(step, printable(getattr(event, "message", "")))

    def end_listener(self, event: Any) -> None:
        """Show how the operation ended, and forget it."""
        row = self._row or self.open_row(str(self.operation_id))
        self.display.writers.pop(self.operation_id, None)
        exit_state = str(getattr(event, "exit_state", "normal"))
        row.end(exit_state, str(getattr(event, "message", "")))


class ProgressWriter(_RowWriter):
    """Shows an operation whose number of steps is known, as a bar.

    Attributes:
        display, operation_id, steps: what it was made with.
        last_step: the step shown last.
    """

    def __init__(self, display: ProgressDisplay, operation_id: Any, steps: float) -> None:
        super().__init__(display, operation_id, steps)
        self.steps = steps


class SpinWriter(_RowWriter):
    """Shows an operation whose number of steps nobody knows, as a spinner.

    Attributes:
        display, operation_id: what it was made with.
        last_step: the step shown last.
    """

    def __init__(self, display: ProgressDisplay, operation_id: Any) -> None:
        super().__init__(display, operation_id, None)


class ProgressDisplay:
    """Shows the operations that ``ProgressManager`` tells of, on standard output.

    Several at once have a row each, at the bottom of the terminal; what the
    program prints meanwhile appears above them, and an operation that ended
    stays there as a line.  Where standard output is no terminal, each has a
    line at its start, one every five seconds, and one at its end.

    It shows events as long as somebody holds it: event managers hold bound
    methods weakly.

    Attributes:
        event_manager: where it listens.
        progress_writer: makes what shows an operation with steps, from this
            display, the operation's id and the number of steps.  Subclasses
            may name another; then the display prints the message first, and
            the rest is the writer's.
        spin_writer: the same for one without steps; called without them.
        writers: those of the operations that run, by operation id.
    """

    progress_writer: Any = ProgressWriter
    spin_writer: Any = SpinWriter

    def __init__(self, event_manager: BaseEventManager | None = None) -> None:
        """Listen to *event_manager*; None for the program's."""
        self.event_manager = get_event_manager() if event_manager is None else event_manager
        self.writers: dict[Any, Writer] = {}
        self.event_manager.connect(ProgressStartEvent, self.start_listener)

    def start_listener(self, event: Any) -> None:
        """Begin to show an operation."""
        steps = _number(getattr(event, "steps", None))
        message = str(getattr(event, "message", ""))
        factory = self.spin_writer if steps is None or steps <= 0 else self.progress_writer
        if not (isinstance(factory, type) and issubclass(factory, _RowWriter)):
            sys.stdout.write(encodable(f"{printable(message)}:\n"))
            sys.stdout.flush()
        arguments = () if steps is None or steps <= 0 else (event.steps,)
        writer = factory(self, event.operation_id, *arguments)
        if isinstance(writer, _RowWriter):
            writer.open_row(message)
        self.writers[event.operation_id] = writer
        mine = {"operation_id": event.operation_id}
        self.event_manager.connect(ProgressStepEvent, writer.step_listener, filter=mine)
        self.event_manager.connect(ProgressEndEvent, writer.end_listener, filter=mine)


def _number(value: object) -> float | None:
    if isinstance(value, (int, float)) and math.isfinite(value):
        return value
    return None
