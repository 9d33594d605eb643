"""Parts of the tests in processes of their own, beside each other."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import IO

#: Seconds that a part gets to end after Ctrl-C, with its servers.
END_TIMEOUT_S = 30.0

#: The first line of what pytest says at the end: failures, warnings, the summary.
_REPORT = re.compile(r"(\x1b\[[\d;]*m)*=+ (?!test session starts)")

_printing = threading.Lock()


class Part:
    """One pytest with servers of its own, which begins at once.

    Its lines are printed as they come, among those of other parts; what it says at
    the end is kept together.

    Args:
        name: for people.
        args: what pytest gets.
        root: the folder of the project.
        ran: the file into which it writes which tests ran.
    """

    def __init__(self, name: str, args: Sequence[str], *, root: Path, ran: Path) -> None:
        self.name = name
        self.ran = ran
        color = ["--color=yes"] if sys.stdout.isatty() else []
        self._process = subprocess.Popen(
            [sys.executable, "-m", "pytest", f"--rootdir={root}", f"--ran={ran}", *color, *args],
            cwd=root,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            # Ctrl-C of a terminal goes to run_all only, which passes it on, once.
            start_new_session=True,
        )
        assert self._process.stdout is not None
        self._printer = threading.Thread(target=_pass_on, args=[self._process.stdout])
        self._printer.start()

    def wait(self) -> int:
        """Wait for its end; return its exit status."""
        status = self._process.wait()
        self._printer.join()
        return status

    def end(self) -> None:
        """End it if it runs, as Ctrl-C does: pytest stops its servers then."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(END_TIMEOUT_S)
        # What it left behind may hold the pipe open, so nobody waits for that.
        self._process.kill()
        self._process.wait()


def _pass_on(lines: IO[str]) -> None:
    """Print lines as they come, and the report at the end in one piece."""
    report: list[str] = []
    for line in lines:
        if report or _REPORT.match(line):
            report.append(line)
        else:
            _print(line)
    _print("".join(report))


def _print(text: str) -> None:
    with _printing:
        sys.stdout.write(text)
        sys.stdout.flush()
