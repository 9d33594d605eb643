"""What a service has to say and do; the skeleton does the rest."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping

from prometheus_client import Metric


class Service(ABC):
    """One service: started once, asked while it runs, stopped once.

    The skeleton calls :meth:`start` and :meth:`stop` on the main thread; the other
    methods are called from the thread that answers HTTP, so they must not wait.
    """

    @abstractmethod
    def start(self) -> None:
        """Begin to work, without waiting for servers that do not answer yet."""

    @abstractmethod
    def stop(self) -> None:
        """End the work cleanly, within ``stop_timeout_s`` of the settings."""

    @abstractmethod
    def readiness(self) -> Mapping[str, str | None]:
        """Return for each thing that the service needs: None if it is there, else why not.

        The texts are shown to whoever asks ``/readyz``: no passwords in them.
        """

    def tick(self) -> None:  # noqa: B027 - a service need not tick
        """Do what must be done about once a second; called on the main thread."""

    def failure(self) -> str | None:
        """Return why the service can never work again until it is restarted, or None.

        The process then ends with status 1, for whoever runs it to start it anew.
        """
        return None

    def metrics(self) -> Iterable[Metric]:
        """Return the figures of this moment."""
        return ()
