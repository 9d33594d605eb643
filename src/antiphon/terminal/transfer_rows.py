"""The rows of ``transfer_bars``.  Needs rich."""

from __future__ import annotations

import time
from collections.abc import Callable

from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text

from antiphon.terminal.consoles import CalmConsole

_REFRESHES_PER_S = 5.0


class TransferRows:
    """What is under way, drawn from a moment on.

    Args:
        begins: when the first row is drawn, by ``time.monotonic``.
    """

    def __init__(self, begins: float) -> None:
        self._begins = begins
        self._tasks: list[TaskID] = []
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(None),
            _Amount(),
            _Left(),
            console=CalmConsole(stderr=True, highlight=False, markup=False, emoji=False),
            refresh_per_second=_REFRESHES_PER_S,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
            expand=True,
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


class _Amount(ProgressColumn):
    """How much of how much."""

    def __init__(self) -> None:
        super().__init__()
        self._bytes = DownloadColumn(binary_units=True)
        self._count = MofNCompleteColumn()

    def render(self, task: Task) -> Text:
        return (self._bytes if task.fields["is_bytes"] else self._count).render(task)


class _Left(ProgressColumn):
    """How quick it is, and how long it will take."""

    def __init__(self) -> None:
        super().__init__()
        self._speed = TransferSpeedColumn()
        self._left = TimeRemainingColumn(compact=True)

    def render(self, task: Task) -> Text:
        if task.fields["is_bytes"]:
            return Text.assemble(self._speed.render(task), "  ", self._left.render(task))
        return self._left.render(task)
