"""What the private servers have in common: processes under a keeper."""

from __future__ import annotations

import signal
from abc import abstractmethod
from pathlib import Path
from typing import ClassVar

from antiphon.errors import ServersUnavailable
from antiphon.testing.servers.base import Server, last_lines
from antiphon.testing.servers.kept import Keeper


class PrivateServer(Server):
    """A server that this process started, that nobody else uses and that ends with it."""

    kind = "private"
    #: The keeper's name for the server's process, and of its log file.
    process: ClassVar[str]

    def __init__(self) -> None:
        self._keeper = Keeper()
        try:
            self._prepare()
            self.start()
        except BaseException:
            self._keeper.close()
            raise

    @abstractmethod
    def _prepare(self) -> None:
        """Write into the empty folder what the server needs at its first start."""

    @property
    def folder(self) -> Path:
        """The folder with its data, settings and log."""
        return self._keeper.folder

    def failure(self) -> str | None:
        if not self._keeper.has_ended(self.process):
            return None
        return f"{self.title} ended; the end of its log:\n{last_lines(self.log())}"

    def kill(self) -> None:
        self._keeper.kill(self.process)

    def pause(self) -> None:
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        if not self._keeper.signal(self.process, number):
            raise ServersUnavailable(f"{self.title} does not run: it was killed")

    def stop(self) -> None:
        self._keeper.close()

    def log(self) -> str:
        path = self._keeper.log_path(self.process)
        return path.read_text(errors="replace") if path.exists() else ""
