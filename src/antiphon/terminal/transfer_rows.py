"""The rows of ``transfer_bars``.  Needs rich."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from rich.progress import Progress, ProgressColumn, Task, TaskID
from rich.text import Text

from antiphon.terminal.consoles import CalmConsole
from antiphon.terminal.utils import size_text

_REFRESHES_PER_S = 5.0

#: Columns: the widest bar, the narrowest one, and the least of a name that has one beside it.
_BAR = 40
_LEAST_BAR = 8
_NAME = 16

#: Fewer columns show no more than the name and how much of how much.
_NARROW = 50


class TransferRows:
    """What is under way, drawn from a moment on.

    Args:
        begins: when the first row is drawn, by ``time.monotonic``.
    """

    def __init__(self, begins: float) -> None:
        self._begins = begins
        self._tasks: list[TaskID] = []
        console = CalmConsole(stderr=True, highlight=False, markup=False, emoji=False)
        self._progress = Progress(
            _Row(console),
            console=console,
            refresh_per_second=_REFRESHES_PER_S,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def add_bytes(self, name: str, size: int | None) -> Callable[[int], None]:
        """Add a row that counts bytes; return what is called with how many more there are."""
        return self._add(name, size, is_bytes=True)

    def add_count(self, name: str, count: int | None) -> Callable[[int], None]:
        """Add a row that counts keys; return what is called with how many more there are."""
        return self._add(name, count, is_bytes=False)

    def drop_last(self) -> None:
        """Take away the row that was added last."""
        self._progress.remove_task(self._tasks.pop())

    def close(self) -> None:
        """Take away all of it."""
        self._progress.stop()

    def _add(self, name: str, total: int | None, *, is_bytes: bool) -> Callable[[int], None]:
        task = self._progress.add_task(name, total=total, is_bytes=is_bytes)
        self._tasks.append(task)

        def step(count: int) -> None:
            self._progress.advance(task, count)
            if not self._progress.live.is_started and time.monotonic() >= self._begins:
                self._progress.start()

        return step


class _Row(ProgressColumn):
    """A whole row, which is never wider than the terminal."""

    def __init__(self, console: CalmConsole) -> None:
        super().__init__()
        self._console = console

    def render(self, task: Task) -> Text:
        # Room for the "^C" of whoever has enough: a row that is folded could not be erased.
        room = self._console.width - 3
        amount = _amount(task)
        rest = "" if room < _NARROW else _pace(task)
        tail = "  ".join(part for part in (amount, rest) if part)
        left = room - len(tail) - 2
        row = Text(task.description, no_wrap=True, overflow="crop")
        # A bar, however short, says more than the end of a long name.
        beside = left - _LEAST_BAR - 2
        row.truncate(beside if beside >= _NAME else max(left, _NAME), overflow="ellipsis")
        bar = min(left - row.cell_len - 2, _BAR)
        if bar >= _LEAST_BAR and task.total:
            done = round(bar * min(task.completed / task.total, 1))
            sign = "━" if "utf" in (getattr(sys.stderr, "encoding", "") or "").lower() else "="
            row.append("  ").append(sign * done, "green").append(sign * (bar - done), "dim")
        return row.append(f"  {tail}")


def _amount(task: Task) -> str:
    if not task.fields["is_bytes"]:
        return f"{task.completed:.0f}" + (f"/{task.total:.0f}" if task.total else "")
    done = size_text(task.completed)
    return done if task.total is None else f"{done} of {size_text(task.total)}"


def _pace(task: Task) -> str:
    """Return how quick it is, and how long it will take, as far as that is known."""
    parts = []
    if task.fields["is_bytes"] and task.speed:
        parts.append(f"{size_text(task.speed)}/s")
    if task.time_remaining is not None:
        seconds = int(task.time_remaining)
        hours = f"{seconds // 3600}:" if seconds >= 3600 else ""
        minutes = seconds // 60 % 60
        parts.append(f"{hours}{minutes:0{2 if hours else 1}}:{seconds % 60:02} left")
    return "  ".join(parts)
