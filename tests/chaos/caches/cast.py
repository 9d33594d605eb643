"""The players as the conductor sees them: processes that are started, told, killed."""

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

from tests.chaos.caches.parts import KEYS, Part
from tests.chaos.caches.records import read_player

ROOT = Path(__file__).parents[3]

#: Seconds that a player gets to come up: it imports half the package on a busy machine.
START_TIMEOUT_S = 40.0


class Hang(AssertionError):
    """A player did not answer in time."""


@dataclass(slots=True)
class Actor:
    """One part, and the processes that play it.

    Args:
        part: who it is.
        folder: where histories are written.
        prefix: what stands before the command, to enter a network.
        common: settings that all players share.
    """

    part: Part
    folder: Path
    prefix: tuple[str, ...]
    common: dict[str, Any]
    run: int = -1
    _process: subprocess.Popen[str] | None = None
    _answers: queue.SimpleQueue[str] = field(default_factory=queue.SimpleQueue)

    def start(self) -> None:
        """Start the next process; ``wait_begun`` waits for it."""
        self.run += 1
        before = read_player(self.folder, self.part)
        own = {one.key: one.count for one in before.owns if one.kind == "owned"}
        settings = {
            **self.common,
            "part": self.part.asdict(),
            "run": self.run,
            "keys": self._keys(),
            "first": max((write.count for write in before.writes), default=0),
            "own": {} if self.part.cache == "memory" else own,
        }
        argv = [sys.executable, "-m", "tests.chaos.caches.player", json.dumps(settings)]
        with self.errors_path.open("ab") as errors:
            self._process = subprocess.Popen(
                [*self.prefix, *argv],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        self._answers = queue.SimpleQueue()
        threading.Thread(target=self._listen, args=(self._process, self._answers)).start()

    def _keys(self) -> list[str]:
        """Return what a writer writes: of one store, no key has two writers."""
        if self.part.store != "sqlite":
            return list(KEYS)
        if self.part.role == "sql":
            return list(KEYS[1::2])
        return [*KEYS[::2], *self.common["own_keys"]]

    @property
    def errors_path(self) -> Path:
        """What its processes wrote to standard error."""
        return self.folder / f"{self.part.name}.errors"

    @staticmethod
    def _listen(process: subprocess.Popen[str], answers: queue.SimpleQueue[str]) -> None:
        if process.stdout is not None:
            with process.stdout:
                for line in process.stdout:
                    answers.put(line.strip())
        answers.put("")

    def wait_begun(self) -> None:
        """Wait until the process plays."""
        self.answer("to begin", START_TIMEOUT_S)

    def ask(self, word: str, timeout_s: float) -> str:
        """Tell the player *word*, and return its answer.

        Raises:
            Hang: none came in time; the stacks of its threads are in its errors.
        """
        self.tell(word)
        return self.answer(word, timeout_s)

    def tell(self, word: str) -> None:
        """Tell the player *word*; its answer stays to be asked for."""
        process = self._alive()
        assert process.stdin is not None
        process.stdin.write(f"{word}\n")
        process.stdin.flush()

    def answer(self, word: str, timeout_s: float) -> str:
        """Return the answer to *word*, which was told before."""
        try:
            line = self._answers.get(timeout=timeout_s)
        except queue.Empty:
            line = ""
        if not line:
            process = self._alive()
            if process.poll() is None:
                process.send_signal(signal.SIGUSR1)
                time.sleep(0.5)
            errors = self.errors_path.read_text(errors="replace")[-6000:]
            raise Hang(f"{self.part.name}/{self.run} did not answer ({word}); errors:\n{errors}")
        return line.partition(" ")[2]

    def kill(self) -> None:
        """Kill the process with SIGKILL."""
        process = self._alive()
        process.kill()
        process.wait()
        self._close_pipes()

    def freeze(self) -> None:
        """Stop the process with SIGSTOP."""
        self._alive().send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._alive().send_signal(signal.SIGCONT)

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
        with contextlib.suppress(queue.Empty):
            while self._answers.get(timeout=2):
                pass

    def _alive(self) -> subprocess.Popen[str]:
        assert self._process is not None, f"{self.part.name} is not on stage"
        return self._process
