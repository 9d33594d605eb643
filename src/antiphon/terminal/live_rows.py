"""Operations drawn on a terminal, all those of a process in one place.  Needs rich."""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import threading
from collections import deque

from rich.console import RenderableType
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID
from rich.spinner import Spinner
from rich.text import Text

from antiphon.terminal.consoles import CalmConsole
from antiphon.terminal.progress_rows import ending

#: Redraws a second: smooth to the eye, and nothing to the processor.
_REFRESHES_PER_S = 12.5
_BAR_COLUMNS = 40
_STYLES = {"normal": "green", "warning": "yellow"}
_FAILED_STYLE = "red"


class _Name(ProgressColumn):
    def render(self, task: Task) -> RenderableType:
        return Text(task.description, no_wrap=True, overflow="ellipsis")


class _Gauge(ProgressColumn):
    """A bar where the number of steps is known, else a spinner."""

    def __init__(self) -> None:
        super().__init__()
        self._bar = BarColumn(_BAR_COLUMNS)
        # Encore's, and in every font.
        self._spinner = Spinner("line")

    def render(self, task: Task) -> RenderableType:
        if task.total is not None:
            return self._bar.render(task)
        return Text("") if "ending" in task.fields else self._spinner.render(task.get_time())


class _State(ProgressColumn):
    """How far it is: steps, what the step says, or how it ended."""

    def render(self, task: Task) -> RenderableType:
        text = f"{task.completed:g}/{task.total:g}" if task.total is not None else ""
        if "ending" in task.fields:
            return Text.assemble(text, " " if text else "", task.fields["ending"])
        return Text(text or task.fields["message"], no_wrap=True, overflow="ellipsis")


class _Time(ProgressColumn):
    def render(self, task: Task) -> RenderableType:
        seconds = int(task.elapsed or 0)
        return Text(f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}", style="dim")


class _Screen:
    """The part of the terminal where operations are drawn; there is one."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._progress: Progress | None = None
        self._rows: set[TaskID] = set()
        self._abandoned: deque[TaskID] = deque()

    def add(self, message: str, steps: float | None) -> TaskID:
        with self._lock:
            self._drop_abandoned()
            if self._progress is None:
                self._progress = Progress(
                    _Name(),
                    _Gauge(),
                    _State(),
                    _Time(),
                    console=CalmConsole(highlight=False, markup=False, emoji=False),
                    refresh_per_second=_REFRESHES_PER_S,
                    # The last picture is printed line by line as operations end.
                    transient=True,
                )
                self._progress.start()
            task = self._progress.add_task(message, total=steps, message="")
            self._rows.add(task)
            return task

    def step(self, task: TaskID, step: float | None, message: str) -> None:
        with self._lock:
            if self._progress is not None and task in self._rows:
                self._progress.update(task, completed=step, message=message)

    def end(self, task: TaskID, exit_state: str, message: str) -> None:
        with self._lock:
            progress = self._progress
            if progress is None or task not in self._rows:
                return
            style = _STYLES.get(exit_state, _FAILED_STYLE)
            text = Text(ending(exit_state, message), style=style)
            is_normal = exit_state == "normal"
            row = next(each for each in progress.tasks if each.id == task)
            progress.update(
                task,
                completed=row.total if is_normal else None,
                ending=text if is_normal else Text(""),
            )
            progress.stop_task(task)
            progress.console.print(progress.make_tasks_table([row]))
            if not is_normal:
                progress.console.print(text)
            self._drop(task)

    def abandon(self, task: TaskID) -> None:
        # Any thread may be inside rich when the garbage collector calls.
        self._abandoned.append(task)

    def close(self) -> None:
        """Leave the terminal as it is, with what is unfinished as it stands."""
        with self._lock:
            if self._progress is not None:
                self._progress.live.transient = False
                self._progress.stop()
                self._forget()

    def _forget(self) -> None:
        self._progress = None
        self._rows.clear()

    def _drop_abandoned(self) -> None:
        with contextlib.suppress(IndexError):
            while True:
                task = self._abandoned.popleft()
                if task in self._rows:
                    self._drop(task)

    def _drop(self, task: TaskID) -> None:
        assert self._progress is not None  # noqa: S101 - it has a row
        self._progress.remove_task(task)
        self._rows.discard(task)
        if not self._rows:
            self._progress.stop()
            self._forget()


class LiveRow:
    """An operation drawn on the terminal."""

    def __init__(self, screen: _Screen, message: str, steps: float | None) -> None:
        self._screen = screen
        self._task = screen.add(message, steps)

    def step(self, step: float | None, message: str) -> None:
        """Draw it one step further, at the next redraw."""
        self._screen.step(self._task, step, message)

    def end(self, exit_state: str, message: str) -> None:
        """Print how it ended, above what still runs."""
        self._screen.end(self._task, exit_state, message)

    def abandon(self) -> None:
        """Draw it no more after the next operation began."""
        self._screen.abandon(self._task)


def open_live_row(message: str, steps: float | None) -> LiveRow:
    """Return a row at the bottom of the terminal; see ``open_row``."""
    return LiveRow(_screen, message, steps)


def _forget_parent() -> None:
    # A forked child has neither the thread that redraws nor, perhaps, free locks.
    global _screen
    for name in ("stdout", "stderr"):
        real = getattr(getattr(sys, name), "rich_proxied_file", None)
        if real is not None:
            setattr(sys, name, real)
    _screen.__init__()  # type: ignore[misc]


_screen = _Screen()
atexit.register(lambda: _screen.close())
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parent)
