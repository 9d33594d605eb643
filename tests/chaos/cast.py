"""The players as the conductor sees them: processes that are started, told, killed, and read."""

from __future__ import annotations

import contextlib
import json
import queue
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos.history import PublisherRun, SubscriberRun
from tests.chaos.keeping import Part, log_path, publisher_runs, subscriber_runs
from tests.chaos.network import Network

ROOT = Path(__file__).parents[2]

#: Seconds that a player gets to come up: it imports half the package on a busy machine.
START_TIMEOUT_S = 40.0


class Hang(AssertionError):
    """A player did not answer in time."""


@dataclass(slots=True)
class Player:
    """One part, and the processes that have played it.

    Args:
        part: who it is.
        folder: where histories are written.
        network: where it lives.
        common: settings that all players share: url, system, seed.
    """

    part: Part
    folder: Path
    network: Network
    common: dict[str, Any]
    run: int = -1
    killed: dict[int, float] = field(default_factory=dict)
    _process: subprocess.Popen[str] | None = None
    _answers: queue.SimpleQueue[str] = field(default_factory=queue.SimpleQueue)

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
        argv = [sys.executable, "-m", "tests.chaos.player", json.dumps(settings)]
        with self.errors_path.open("ab") as errors:
            self._process = subprocess.Popen(
                [*self.network.prefix, *argv],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        self._answers = queue.SimpleQueue()
        threading.Thread(target=self._listen, args=(self._process, self._answers)).start()

    def _queue(self) -> str:
        name = self.part.subscription
        return f"{self.common['system']}.sub.{name}" if name else ""

    def _options(self) -> dict[str, Any]:
        options = dict(self.part.options)
        if self.part.is_spooled:
            options["spool"] = str(self.folder / f"{self.part.name}.spool")
        if self.part.is_ordered:
            options["ordered"] = True
        return options

    @property
    def errors_path(self) -> Path:
        """What its processes wrote to standard error."""
        return self.folder / f"{self.part.name}.errors"

    def log_path(self, run: int) -> Path:
        """Return the file with the history of process *run*."""
        return log_path(self.folder, self.part.name, run)

    @staticmethod
    def _listen(process: subprocess.Popen[str], answers: queue.SimpleQueue[str]) -> None:
        if process.stdout is not None:
            with process.stdout:
                for line in process.stdout:
                    answers.put(line.strip())
        answers.put("")

    def wait_begun(self) -> None:
        """Wait until the process plays."""
        self._answer(START_TIMEOUT_S, "to begin")

    def ask(self, word: str, timeout_s: float) -> str:
        """Tell the player *word*, and return its answer.

        Raises:
            Hang: none came in time; the stacks of all its threads are in its errors.
        """
        self.tell(word)
        return self._answer(timeout_s, word)

    def tell(self, word: str) -> None:
        """Tell the player *word*; its answer stays to be asked for."""
        process = self._alive()
        assert process.stdin is not None
        process.stdin.write(f"{word}\n")
        process.stdin.flush()

    def answer(self, word: str, timeout_s: float) -> str:
        """Return the answer to *word*, which was told before."""
        return self._answer(timeout_s, word)

    def _answer(self, timeout_s: float, what: str) -> str:
        try:
            line = self._answers.get(timeout=timeout_s)
        except queue.Empty:
            line = ""
        if not line:
            process = self._alive()
            if process.poll() is None:
                process.send_signal(signal.SIGUSR1)
                time.sleep(0.5)
            raise Hang(
                f"{self.part.name}/{self.run} did not answer within {timeout_s:.0f} s ({what}); "
                f"its errors:\n{self.errors()[-6000:]}"
            )
        return line.partition(" ")[2]

    def errors(self) -> str:
        """Return what its processes wrote to standard error."""
        return self.errors_path.read_text(errors="replace") if self.errors_path.exists() else ""

    def kill(self) -> None:
        """Kill the process with SIGKILL."""
        process = self._alive()
        process.kill()
        process.wait()
        self.killed[self.run] = time.monotonic()
        self._close_pipes()

    def freeze(self) -> None:
        """Stop the process with SIGSTOP."""
        self._alive().send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._alive().send_signal(signal.SIGCONT)

    def close(self) -> None:
        """Have the bus closed, and wait for the end of the process."""
        self.ask("close", 30)
        try:
            self._alive().wait(20)
        except subprocess.TimeoutExpired as exc:
            self._alive().send_signal(signal.SIGUSR1)
            time.sleep(0.5)
            name, errors = self.part.name, self.errors()[-6000:]
            raise Hang(f"{name} closed its bus and does not end: {errors}") from exc
        self._close_pipes()

    def end(self) -> None:
        """Leave nothing behind, whatever state it is in."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._close_pipes()

    def _close_pipes(self) -> None:
        process, self._process = self._process, None
        if process is not None and process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
        with contextlib.suppress(queue.Empty):  # its last word may have been taken already
            while self._answers.get(timeout=2):
                pass

    def _alive(self) -> subprocess.Popen[str]:
        assert self._process is not None, f"{self.part.name} is not on stage"
        return self._process

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
