"""What ``make test`` does: lint, types and every test.

The tests run in two processes, since most of them wait most of their time: those that
need no server, and beside them those that need some.  Whether every test ran is judged
over both.  With arguments, which go to pytest, one process runs what they name.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from antiphon.testing.servers import Servers
from completeness import Completeness
from parts import Part

ROOT = Path(__file__).parents[1]

#: Checks that need no server; the programs are beside this Python.
CHECKS = (
    ("ruff", "check", "--no-cache", "."),
    ("ruff", "format", "--check", "."),
    ("mypy",),
)

#: What needs no server.
ALONE = (
    "tests/unit",
    "tests/wire",
    "tests/acceptance/test_documentation.py",
    "tests/acceptance/test_encore_reference.py",
    "tests/acceptance/test_encore_suite.py",
    "tests/acceptance/test_wheel.py",
)

#: What runs beside each other; the last part has all that the others have not.
PARTS = {
    "tests without servers": (
        *ALONE,
        "tests/conformance",
        "--ignore=tests/conformance/servers",
    ),
    "tests with servers": (
        "tests",
        *(f"--ignore={path}" for path in ALONE),
        "--ignore-glob=tests/conformance/test_*.py",
    ),
}


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
    program = Path(sys.executable).with_name(command[0])
    done = subprocess.run(
        [program, *command[1:]],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
    )
    is_good = done.returncode == 0
    after = f"{'ok' if is_good else 'FAILED'} after {time.monotonic() - started:.1f} s"
    print(f"$ {' '.join(command)}\n{done.stdout}  {after}", flush=True)
    return is_good


def run_named(args: list[str]) -> int:
    """Run the checks, then the tests that *args* name; return 0 if all of it passed."""
    with Servers() as servers:
        failed = [" ".join(command) for command in CHECKS if not check(command)]
        status = pytest.main([f"--rootdir={ROOT}", *args], plugins=[Run(servers, failed)])
    return int(status) or int(bool(failed))


def run_everything() -> int:
    """Run all tests in parts beside the checks; return 0 if all of it passed."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, running_parts(Path(folder)) as parts:
        failed = [" ".join(command) for command in CHECKS if not check(command)]
        failed += [part.name for part in parts if part.wait() != 0]
        ran, missing = Completeness(), []
        for part in parts:
            try:
                ran.add(part.ran)
            except (OSError, ValueError) as exc:
                missing.append(f"{part.name} ended early: {exc}")
    if os.environ.get("CI"):
        missing += ran.problems()
    for title, found in (
        ("what failed (see above)", failed),
        ("this run was not complete", missing),
    ):
        if found:
            print(f" {title} ".center(80, "="), *found, sep="\n")
    print(f" {ran.counts()} in {time.monotonic() - started:.1f} s ".center(80, "="))
    return int(bool(failed or missing))


@contextmanager
def running_parts(folder: Path) -> Iterator[list[Part]]:
    """Begin all parts; none of them outlives the block."""
    parts: list[Part] = []
    try:
        for name, args in PARTS.items():
            parts.append(Part(name, args, root=ROOT, ran=folder / f"{name}.json"))
        yield parts
    finally:
        for part in parts:
            part.end()


def main(args: list[str]) -> int:
    """Run everything, or what *args* name; return 0 if all of it passed."""
    # A shell that starts this in the background has SIGINT ignored, and every process
    # below would inherit that: tests that press Ctrl-C could not end them.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return run_named(args) if args else run_everything()
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
