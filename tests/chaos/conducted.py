"""Processes that a conductor starts, tells words, stops and kills."""

from __future__ import annotations

import contextlib
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]

#: Seconds that a player gets to come up: it imports half the package on a busy machine.
START_TIMEOUT_S = 40.0


class Hang(AssertionError):
    """A player did not answer in time."""


class Conducted:
    """One player, and the processes that play it, one after the other.

    Args:
        name: of the player.
        folder: where its processes write what they have to say.

    Attributes:
        run: number of its process; -1 before the first.
        killed: when its processes were killed, by their number.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self.folder = folder
        self.run = -1
        self.killed: dict[int, float] = {}
        self._name = name
        self._process: subprocess.Popen[str] | None = None
        self._answers: queue.SimpleQueue[str] = queue.SimpleQueue()

    @property
    def errors_path(self) -> Path:
        """What its processes wrote to standard error."""
        return self.folder / f"{self._name}.errors"

    def errors(self) -> str:
        """Return what its processes wrote to standard error."""
        return self.errors_path.read_text(errors="replace") if self.errors_path.exists() else ""

    def wait_begun(self) -> None:
        """Wait until the process plays."""
        self.answer("to begin", START_TIMEOUT_S)

    def ask(self, word: str, timeout_s: float) -> str:
        """Tell the player *word*, and return its answer.

        Raises:
            Hang: none came in time; the stacks of all its threads are in its errors.
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
            if self._alive().poll() is None:
                self._show_stacks()
            raise Hang(
                f"{self._name}/{self.run} did not answer within {timeout_s:.0f} s ({word}); "
                f"its errors:\n{self.errors()[-6000:]}"
            )
        return line.partition(" ")[2]

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

    def end(self) -> None:
        """Leave nothing behind, whatever state it is in."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._close_pipes()

    # -- For who says what it plays ----------------------------------------------

    def _launch(self, command: Sequence[str]) -> None:
        """Start the next process; its first line says that it plays."""
        with self.errors_path.open("ab") as errors:
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        self._answers = queue.SimpleQueue()
        threading.Thread(target=_listen, args=(self._process, self._answers)).start()

    def _wait_ended(self, timeout_s: float) -> None:
        """Wait for the end of the process, which was told to end."""
        try:
            self._alive().wait(timeout_s)
        except subprocess.TimeoutExpired as exc:
            self._show_stacks()
            raise Hang(f"{self._name} does not end: {self.errors()[-6000:]}") from exc
        self._close_pipes()

    def _show_stacks(self) -> None:
        self._alive().send_signal(signal.SIGUSR1)
        time.sleep(0.5)

    def _close_pipes(self) -> None:
        process, self._process = self._process, None
        if process is not None and process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
        with contextlib.suppress(queue.Empty):  # its last word may have been taken already
            while self._answers.get(timeout=2):
                pass

    def _alive(self) -> subprocess.Popen[str]:
        assert self._process is not None, f"{self._name} is not on stage"
        return self._process


def _listen(process: subprocess.Popen[str], answers: queue.SimpleQueue[str]) -> None:
    if process.stdout is not None:
        with process.stdout:
            for line in process.stdout:
                answers.put(line.strip())
    answers.put("")
