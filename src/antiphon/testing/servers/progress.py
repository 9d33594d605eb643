"""Tells people at a terminal that a server is on its way."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self, TextIO

#: Seconds between two lines about one server.
INTERVAL_S = 5.0

#: Takes one line of text, from any thread.
Report = Callable[[str], None]


def report_to(stream: TextIO | None = None) -> Report:
    """Return a function that prints lines to *stream*, standard error if None."""

    def report(text: str) -> None:
        # Looked up at each call: a test runner may have replaced it since.
        target = stream if stream is not None else sys.stderr
        # One write, so that lines of several threads do not mix.
        target.write(text + "\n")
        target.flush()

    return report


def silent(text: str) -> None:
    """Report nothing."""


class Progress:
    """Reports "starting RabbitMQ … 5 s" from a thread until its block ends.

    Args:
        title: what is awaited, "RabbitMQ".
        report: takes the lines.
    """

    def __init__(self, title: str, report: Report) -> None:
        self._title = title
        self._report = report
        self._doing = "starting"
        self._started = time.monotonic()
        self._is_over = threading.Event()
        self._thread = threading.Thread(
            target=self._tell, name=f"antiphon-servers-progress-{title}", daemon=True
        )

    @property
    def elapsed_s(self) -> float:
        """Seconds since this was made."""
        return time.monotonic() - self._started

    def doing(self, verb: str) -> None:
        """Say at once what is going on now: "installing"."""
        self._doing = verb
        self._report(f"{verb} {self._title} …")

    def _tell(self) -> None:
        while not self._is_over.wait(INTERVAL_S):
            self._report(f"{self._doing} {self._title} … {self.elapsed_s:.0f} s")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._is_over.set()
        self._thread.join()
