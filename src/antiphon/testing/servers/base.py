"""What every server of :mod:`antiphon.testing.servers` can do, however it was found."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from types import TracebackType
from typing import ClassVar, Self

from antiphon.errors import ServersUnavailable
from antiphon.schemes import mask_url

#: Seconds that a server gets to answer after it was started.  RabbitMQ takes
#: 4 to 7 s on two idle cores, and a multiple of that on a busy machine.
START_TIMEOUT_S = 120.0

#: Seconds between two probes of a server that does not answer yet.
_PROBE_INTERVAL_S = 0.05


class Server(ABC):
    """One server, as a context manager that stops it.

    Attributes:
        kind: how it was found: ``given`` (its URL was in the environment),
            ``private`` (a program, started for this process only) or ``docker``.
        is_ours: whether it was started here, so that :meth:`kill`, :meth:`restart`,
            :meth:`pause`, :meth:`resume` and :meth:`stop` harm nobody else.
    """

    kind: ClassVar[str] = "private"
    is_ours: ClassVar[bool] = True
    #: Name for people: "RabbitMQ" or "Redis".
    title: ClassVar[str] = "server"

    @property
    @abstractmethod
    def url(self) -> str:
        """Where clients find it; stays the same through :meth:`restart`."""

    @abstractmethod
    def answers(self) -> bool:
        """Whether it speaks its protocol at this moment."""

    @abstractmethod
    def kill(self) -> None:
        """End it at once with SIGKILL, as a power cut would; its data stays.

        Raises:
            ServersUnavailable: it is not ours, or cannot be killed.
        """

    @abstractmethod
    def start(self) -> None:
        """Start it again on the same port and data after :meth:`kill`, without waiting.

        Raises:
            ServersUnavailable: it is not ours, or could not be started.
        """

    @abstractmethod
    def pause(self) -> None:
        """Freeze it (SIGSTOP): connections stay open, and nothing answers.

        Raises:
            ServersUnavailable: it is not ours, or does not run.
        """

    @abstractmethod
    def resume(self) -> None:
        """Let it go on after :meth:`pause`.

        Raises:
            ServersUnavailable: it is not ours, or does not run.
        """

    @abstractmethod
    def stop(self) -> None:
        """End it and remove its data, for good; a second call does nothing.

        A server that is not ours is left alone.
        """

    @abstractmethod
    def log(self) -> str:
        """Return what it printed so far; empty for a server that is not ours."""

    @abstractmethod
    def failure(self) -> str | None:
        """Return why it will never answer (it ended), or None if it may yet."""

    def restart(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Kill it, start it on the same port and data, and wait until it answers.

        Args:
            timeout_s: seconds to wait for the answer.

        Raises:
            ServersUnavailable: it is not ours, or did not answer in time.
        """
        self.kill()
        self.start()
        self.wait_ready(timeout_s)

    def wait_ready(
        self,
        timeout_s: float = START_TIMEOUT_S,
        is_cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        """Wait until it answers.

        Args:
            timeout_s: seconds to wait.
            is_cancelled: asked again and again; when it says so, waiting ends.

        Raises:
            ServersUnavailable: it ended, did not answer in time, or waiting was cancelled.
        """
        deadline = time.monotonic() + timeout_s
        while not self.answers():
            if failure := self.failure():
                raise ServersUnavailable(failure)
            if is_cancelled():
                raise ServersUnavailable(f"the start of {self.title} was cancelled")
            if time.monotonic() > deadline:
                raise ServersUnavailable(
                    f"{self.title} does not answer {timeout_s:g} s after its start; "
                    f"the end of its log:\n{last_lines(self.log())}"
                )
            time.sleep(_PROBE_INTERVAL_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<{self.kind} {self.title} at {self.masked_url}>"

    @property
    def masked_url(self) -> str:
        """The URL without its password."""
        return mask_url(self.url)


def last_lines(text: str, count: int = 15) -> str:
    """Return the last lines of a log, indented for use in a message."""
    return "\n".join("    " + line for line in text.rstrip().splitlines()[-count:])
