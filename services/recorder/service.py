"""The recorder as a service."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

from prometheus_client import Metric

from antiphon import AntiphonError
from antiphon.archive.recorder import Recorder
from antiphon.events.abstract_event_manager import BaseEvent
from services.recorder.archive import KeptArchive
from services.recorder.metrics import archive_metrics, recorder_metrics
from services.recorder.settings import RecorderSettings
from services.skeleton import Service, ServiceBus
from services.skeleton.settings import in_setting

logger = logging.getLogger("antiphon.service.recorder")

#: What a commit under way gets of ``stop_timeout_s``.
_STOPPING = 0.4


class RecorderService(Service):
    """One bus, one archive, and a recorder between them.

    Args:
        settings: of the service.

    Raises:
        BadSettings: a URL makes no sense.  A broker or an archive that does not
            answer is no error: it is tried until it does, and ``/readyz`` says so.
    """

    def __init__(self, settings: RecorderSettings) -> None:
        settings.check()
        self._settings = settings
        self._problem: str | None = "it has not subscribed yet"
        with in_setting("archive_url"):
            self._archive = KeptArchive(
                settings.archive_url,
                [one.rule for one in settings.retention],
                rules_interval_s=settings.retention_interval_s,
                disk_warn_bytes=settings.disk_warn_bytes,
            )
        self._watched = ServiceBus(settings)
        self._recorder = Recorder(
            self._watched.bus,
            self._archive,
            name=settings.subscription,
            classes=settings.class_names or (BaseEvent,),
            origin=settings.origins or None,
            indexed=settings.indexed,
            max_events=settings.batch_events,
            max_wait_s=settings.batch_wait_s,
        )

    def start(self) -> None:
        """Open the archive and subscribe, both in the background."""
        self._watched.start()
        self._archive.start()
        self._subscribe()

    def _subscribe(self) -> None:
        try:
            self._recorder.start()
        except AntiphonError as exc:  # the broker refuses it, or has it otherwise
            if str(exc) != self._problem:
                logger.warning("cannot subscribe, trying again: %s", exc)
            self._problem = str(exc)
        else:
            self._problem = None

    def stop(self) -> None:
        """Finish the commit under way; what is not archived waits at the broker."""
        self._recorder.stop(_STOPPING * self._settings.stop_timeout_s)
        self._archive.stop()
        self._watched.close()

    def tick(self) -> None:
        """Log why the bus does not work, once for each reason, and subscribe if that failed."""
        self._watched.tick()
        if self._problem is not None:
            self._subscribe()

    def readiness(self) -> Mapping[str, str | None]:
        """The bus works, it is subscribed, and the archive takes what comes."""
        return {
            "bus": self._watched.problem(),
            "subscription": self._problem or self._not_subscribed(),
            "archive": self._recorder.problem() or self._archive.problem(),
        }

    def _not_subscribed(self) -> str | None:
        """Return why the broker does not keep for it what is emitted, or None if it does."""
        try:
            is_subscribed = self._recorder.is_subscribed()
        except AntiphonError as exc:
            return str(exc)
        return None if is_subscribed else "its queue does not stand at the broker yet"

    def failure(self) -> str | None:
        """A thread that has ended does not come back; a bus that does not heal may not, either."""
        if not self._recorder.is_alive() or not self._archive.is_alive():
            return "nothing is recorded any more: a thread has ended"
        return self._watched.failure()

    def metrics(self) -> Iterable[Metric]:
        """The figures of the recorder, its archive and the bus."""
        yield from recorder_metrics(self._recorder)
        yield from archive_metrics(self._archive)
        yield from self._watched.metrics()
