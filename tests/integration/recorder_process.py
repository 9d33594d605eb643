"""A recorder service in a process of its own, which a test may kill."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from bus_helpers import wait_until

ROOT = Path(__file__).parents[2]


class RecorderProcess:
    """``python -m services.recorder``, started as often as the test likes.

    Args:
        folder: for its settings, its logs and its archive.
        amqp_url: of its broker.
        **settings: more settings.
    """

    def __init__(self, folder: Path, amqp_url: str, **settings: Any) -> None:
        self.archive_url = f"sqlite:///{folder}/archive.db"
        self._settings = folder / "recorder.toml"
        found = {
            "amqp_url": amqp_url,
            "archive_url": f"{self.archive_url}?timeout_s=0.2",
            "http_port": 0,
            "canary_interval_s": 0.5,
            **settings,
        }
        lines = [f"{name} = {json.dumps(value)}\n" for name, value in found.items()]
        self._settings.write_text("".join(lines))
        self._log = folder / "recorder.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; it must not run."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith("ANTIPHON_")}
        argv = [sys.executable, "-m", "services.recorder", str(self._settings)]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(argv, cwd=ROOT, env=environment, stderr=log)

    def kill(self) -> None:
        """Kill it with SIGKILL, if it runs."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """Ask it to end, and return its exit status."""
        return self._end(signal.SIGTERM)

    def _end(self, number: int) -> int:
        assert self._process is not None
        self._process.send_signal(number)
        status = self._process.wait(10)
        self._process = None
        return status

    def wait_ready(self, timeout_s: float = 30) -> None:
        """Wait until it records."""
        wait_until(lambda: self.readiness().get("ready") is True, "ready", timeout_s)

    def readiness(self) -> dict[str, Any]:
        """Return what ``/readyz`` answers; nothing if nobody does."""
        address = re.search(r'"address": "([^"]+)"', self._log.read_text())
        if address is None:
            return {}
        try:
            with urllib.request.urlopen(f"http://{address[1]}/readyz", timeout=5) as answer:
                found: dict[str, Any] = json.load(answer)
        except urllib.error.HTTPError as exc:
            with exc:
                found = json.load(exc)
        except OSError:
            return {}
        return found

    def __enter__(self) -> RecorderProcess:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self.kill()
