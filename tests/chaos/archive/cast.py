"""The players of an archive as the conductor sees them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.chaos.cast import Player
from tests.chaos.conducted import Conducted
from tests.chaos.keeping import Part, log_path
from tests.chaos.network import Network


class Listener(Player):
    """The subscription that events are replayed to."""

    module = "tests.chaos.archive.player"


class Actor(Conducted):
    """One recorder, tail or replayer, and the processes that have played it.

    Args:
        part: who it is.
        folder: where histories are written.
        network: where it lives.
        common: settings that all of them share.
    """

    module = "tests.chaos.archive.player"

    def __init__(self, part: Part, folder: Path, network: Network, common: dict[str, Any]) -> None:
        super().__init__(part.name, folder)
        self.part, self.network, self.common = part, network, common

    def start(self) -> None:
        """Start the next process; ``wait_begun`` waits for it."""
        self.run += 1
        settings = {
            **self.common,
            "name": self.part.name,
            "run": self.run,
            "role": self.part.role,
            "wanted": self.part.wanted,
            "folder": str(self.folder),
        }
        command = [sys.executable, "-m", self.module, json.dumps(settings)]
        self._launch([*self.network.prefix, *command])

    def has(self, word: str) -> bool:
        """Return whether the process that plays has written a line with *word* first."""
        path = log_path(self.folder, self.part.name, self.run)
        return path.exists() and f" {word}" in path.read_text()

    def close(self) -> None:
        """Have it end, and wait for that."""
        self.ask("close", 60)
        self._wait_ended(20)


class RecorderActor(Actor):
    """The service."""

    module = "tests.chaos.archive.recording"

    #: Seconds that it gets to end after SIGTERM, and some for a busy machine.
    STOP_S = 15.0

    def start(self) -> None:
        """Start the next process; ``wait_begun`` waits for it."""
        toml = self.folder / f"{self.part.name}.toml"
        if not toml.exists():
            toml.write_text(self.common["toml_text"].replace("AMQP_URL", self.common["url"]))
        self.common["toml"] = str(toml)
        super().start()

    @property
    def pid(self) -> int:
        """Of the process that plays."""
        return self._alive().pid

    def status(self) -> int | None:
        """Return the exit status of a process that has ended by itself; None if it has not."""
        return self._alive().poll()

    def close(self) -> None:
        """Have it end with SIGTERM, as it is to."""
        process: subprocess.Popen[str] = self._alive()
        process.send_signal(signal.SIGTERM)
        self._wait_ended(self.STOP_S)
        assert process.returncode == 0, f"{self.part.name} ended with {process.returncode}"
