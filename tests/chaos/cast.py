"""The players as the conductor sees them: processes that are started, told, killed, and read."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tests.chaos.conducted import Conducted
from tests.chaos.history import PublisherRun, SubscriberRun
from tests.chaos.keeping import Part, log_path, publisher_runs, subscriber_runs
from tests.chaos.network import Network


class Player(Conducted):
    """One part, and the processes that have played it.

    Args:
        part: who it is.
        folder: where histories are written.
        network: where it lives.
        common: settings that all players share: url, system, seed.
    """

    #: What its processes run.
    module = "tests.chaos.player"

    def __init__(self, part: Part, folder: Path, network: Network, common: dict[str, Any]) -> None:
        super().__init__(part.name, folder)
        self.part, self.network, self.common = part, network, common

    def start(self) -> None:
        """Start the next process; ``wait_begun`` waits for it."""
        first = 1 + self._last_number()
        self.run += 1
        settings = {
            **self.common,
            "name": self.part.name,
            "run": self.run,
            "role": self.part.role,
            "folder": str(self.folder),
            "mode": self.part.mode,
            "subscription": self.part.subscription,
            "wanted": self.part.wanted,
            "rate": self.part.rate,
            "first": first,
            "options": self._options(),
            "queue": self.part.subscription
            and f"{self.common['system']}.sub.{self.part.subscription}",
            "slow_share": self.part.slow_share,
            "failing_share": self.part.failing_share,
        }
        command = [sys.executable, "-m", self.module, json.dumps(settings)]
        self._launch([*self.network.prefix, *command])

    def _options(self) -> dict[str, Any]:
        options = dict(self.part.options)
        if self.part.is_spooled:
            options["spool"] = str(self.folder / f"{self.part.name}.spool")
        if self.part.is_ordered:
            options["ordered"] = True
        return options

    def log_path(self, run: int) -> Path:
        """Return the file with the history of process *run*."""
        return log_path(self.folder, self.part.name, run)

    def close(self) -> None:
        """Have the bus closed, and wait for the end of the process."""
        self.ask("close", 30)
        self._wait_ended(20)

    def publisher_runs(self) -> list[PublisherRun]:
        """Return what each process has written."""
        return publisher_runs(self.folder, self.part, range(self.run + 1), self.killed)

    def subscriber_runs(self) -> list[SubscriberRun]:
        """Return what each process has written."""
        return subscriber_runs(self.folder, self.part, range(self.run + 1), self.killed)

    def _last_number(self) -> int:
        if self.part.role != "publisher":
            return 0
        emissions = [one.number for run in self.publisher_runs() for one in run.emissions]
        return max(emissions, default=0)
