"""Starts the processes of the demonstration, and speaks with them."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

#: Seconds that an answer may take before the demonstration counts as failed.
PATIENCE_S = 20.0

Message = dict[str, Any]


class Actor:
    """One process: commands go in, messages come out."""

    def __init__(self, role: str, amqp_url: str, redis_url: str) -> None:
        self.role = role
        self._messages: list[Message] = []
        self._changed = threading.Condition()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "examples.demo.roles", role, amqp_url, redis_url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            # Ctrl-C is for the director, who ends the others in good order.
            start_new_session=True,
        )
        threading.Thread(target=self._listen, daemon=True).start()

    @property
    def pid(self) -> int:
        """The process id, to show that there are several."""
        return self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            message = json.loads(line)
            message["at"] = time.monotonic()
            with self._changed:
                self._messages.append(message)
                self._changed.notify_all()

    def mark(self) -> int:
        """Return a point in what the process said, for ``wait`` to look behind."""
        with self._changed:
            return len(self._messages)

    def tell(self, **command: Any) -> int:
        """Send a command; return the mark from which its answer is to be found."""
        mark = self.mark()
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        return mark

    def find(self, mark: int, test: Callable[[Message], Any]) -> Message | None:
        """Return the first message after *mark* that passes *test*, if there is one."""
        with self._changed:
            return next((m for m in self._messages[mark:] if test(m)), None)

    def wait(
        self, mark: int, test: Callable[[Message], Any], timeout_s: float = PATIENCE_S
    ) -> Message | None:
        """Return the first message after *mark* that passes *test*; None if none comes."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while True:
                found = next((m for m in self._messages[mark:] if test(m)), None)
                left = deadline - time.monotonic()
                if found is not None or left <= 0 or self._process.poll() not in (None, 0):
                    return found
                self._changed.wait(min(left, 0.2))

    def ask(self, **command: Any) -> Message:
        """Send a command and return its answer."""
        name = "read" if self.role == "reader" else "wrote" if self.role == "writer" else "received"
        answer = self.wait(self.tell(**command), lambda m: name in m)
        if answer is None:
            raise RuntimeError(f"the {self.role} did not answer within {PATIENCE_S:.0f} s")
        return answer

    def stop(self) -> None:
        """End the process."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
