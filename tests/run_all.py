"""What ``make test`` does: lint, types and every test, beside servers that start.

One process does it all, so that the servers start once, in the background, and
are there when the first test asks for them.  Arguments go to pytest.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from antiphon.testing.servers import Servers

ROOT = Path(__file__).parents[1]

#: Checks that need no server; the programs are beside this Python.
CHECKS = (
    ("ruff", "check", "--no-cache", "."),
    ("ruff", "format", "--check", "."),
    ("mypy",),
)


class Run:
    """Gives pytest the servers, and a place for what failed before it."""

    def __init__(self, servers: Servers, failed: list[str]) -> None:
        self.servers = servers
        self._failed = failed

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Repeat failed checks at the end, where people look, before the last line."""
        if self._failed:
            terminalreporter.section("checks that failed (see above)", sep="=", red=True)
            for command in self._failed:
                terminalreporter.line(command, red=True)


def check(command: tuple[str, ...]) -> bool:
    """Run one check; return whether all was well."""
    started = time.monotonic()
    print("$", *command, flush=True)
    program = Path(sys.executable).with_name(command[0])
    status = subprocess.call([program, *command[1:]], cwd=ROOT)
    print(f"  {'ok' if status == 0 else 'FAILED'} after {time.monotonic() - started:.1f} s")
    return status == 0


def main(args: list[str]) -> int:
    """Run everything; return 0 if all of it passed."""
    with Servers() as servers:
        failed = [" ".join(command) for command in CHECKS if not check(command)]
        status = pytest.main([f"--rootdir={ROOT}", *args], plugins=[Run(servers, failed)])
    return int(status) or int(bool(failed))


if __name__ == "__main__":
    # A shell that starts this in the background has SIGINT ignored, and every process
    # below would inherit that: tests that press Ctrl-C could not end them.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
