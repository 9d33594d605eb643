"""One operation on the screen: on a terminal drawn, elsewhere told in lines."""

from __future__ import annotations

import sys
import threading
import time
from typing import Protocol

from antiphon.terminal.utils import encodable, on_terminal, printable

#: Seconds between two lines of one operation where nothing can be redrawn: a log of an
#: hour's work stays readable.
LINE_INTERVAL_S = 5.0

_printing = threading.Lock()


class Row(Protocol):
    """Where one operation is shown."""

    def step(self, step: float | None, message: str) -> None:
        """Show how far the operation is; a step of None is unknown."""

    def end(self, exit_state: str, message: str) -> None:
        """Show how the operation ended; it is shown no more after that."""

    def abandon(self) -> None:
        """Forget the operation; may be called by the garbage collector."""


def open_row(message: str, steps: float | None) -> Row:
    """Return a row for a new operation.

    Args:
        message: what is being done.
        steps: how many steps it has; None draws a spinner.
    """
    if on_terminal():
        # Only here, so that importing the package needs no library.
        from antiphon.terminal.live_rows import open_live_row

        return open_live_row(printable(message), steps)
    return LineRow(printable(message), steps)


def ending(exit_state: str, message: str) -> str:
    """Return how an ending reads: ``Done.``, or the state in capitals with the message."""
    if exit_state == "normal":
        return "Done."
    return printable(f"{exit_state.upper()}: {message}" if message else exit_state.upper())


class LineRow:
    """An operation told in lines, for files, pipes and dumb terminals."""

    def __init__(self, message: str, steps: float | None) -> None:
        self._message = message
        self._steps = steps
        self._told = time.monotonic()
        self._tell("")

    def step(self, step: float | None, message: str) -> None:
        """Print a line, if the last one is old."""
        now = time.monotonic()
        if now - self._told < LINE_INTERVAL_S:
            return
        self._told = now
        if self._steps is not None and step is not None:
            self._tell(f" {step:g} of {self._steps:g}")
        elif self._steps is None:
            self._tell(f" {printable(message)}")

    def end(self, exit_state: str, message: str) -> None:
        """Print the last line."""
        self._tell(f" {ending(exit_state, message)}")

    def abandon(self) -> None:
        """Print nothing."""

    def _tell(self, rest: str) -> None:
        with _printing:
            sys.stdout.write(encodable(f"{self._message}:{rest}\n"))
            sys.stdout.flush()
