"""A service as a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]


def wait_until(
    condition: Callable[[], bool], describe: Callable[[], str], timeout_s: float = 30.0
) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, describe()
        time.sleep(0.02)


@dataclass
class ServiceProcess:
    """A service's process, and what it answers and logs."""

    process: subprocess.Popen[str]
    log: Path

    def lines(self) -> list[dict[str, Any]]:
        """Return the lines of the log."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def logged(self, name: str) -> Any:
        """Wait for a line of the log that has *name*, and return what it says."""
        found: list[Any] = []

        def is_there() -> bool:
            found[:] = [line[name] for line in self.lines() if name in line]
            return bool(found)

        wait_until(is_there, self.log.read_text)
        return found[0]

    def get(self, path: str) -> tuple[int, str]:
        """Return status and body of the administration's port; status 0 if nothing answers."""
        try:
            url = f"http://{self.logged('address')}{path}"
            with urllib.request.urlopen(url, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    def wait_for(self, status: int, timeout_s: float = 60.0) -> None:
        """Wait until ``/readyz`` has this status."""
        wait_until(lambda: self.get("/readyz")[0] == status, self.describe, timeout_s)

    def describe(self) -> str:
        """Return what may explain why something did not happen."""
        return f"{self.get('/readyz')}\n{self.log.read_text()}"


def command(module: str, settings: Path) -> list[str]:
    """Return the command line of a service."""
    return [sys.executable, "-m", module, str(settings)]


def environment(**variables: str) -> dict[str, str]:
    """Return this process's environment without settings, and with *variables*."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("ANTIPHON_")}
    return kept | {"ANTIPHON_HTTP_PORT": "0", "ANTIPHON_STORE_PORT": "0"} | variables


@contextlib.contextmanager
def service_process(
    module: str, folder: Path, settings: str, **variables: str
) -> Iterator[ServiceProcess]:
    """Run a service until the block ends."""
    path, log = folder / "settings.toml", folder / "log"
    path.write_text(settings)
    with (
        log.open("w") as output,
        subprocess.Popen(
            command(module, path),
            cwd=ROOT,
            env=environment(**variables),
            stderr=output,
            text=True,
        ) as process,
    ):
        try:
            yield ServiceProcess(process, log)
        finally:
            process.kill()
