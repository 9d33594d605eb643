"""One store that is opened again and again until it is there, and then watched."""

from __future__ import annotations

import contextlib
import logging
import threading
import time

from antiphon import AntiphonError, BrokerEventManager, open_store
from antiphon.storage.abstract_store import AbstractStore
from antiphon.storage.authorizing_store import AuthorizingStore
from antiphon.storage.backend_store import BackendStore

logger = logging.getLogger("antiphon.service.store")

#: Seconds before a store that could not be opened is tried again, and at most.
_FIRST_RETRY_S = 0.5
_LAST_RETRY_S = 10.0

#: Seconds between two looks at whether an open store still answers.
_CHECK_INTERVAL_S = 3.0

#: Seconds that a look may take; the store's own timeout may be much longer.
_ANSWER_WITHIN_S = 5.0

#: A key that is looked for to see whether the store answers.
_PROBE_KEY = "antiphon.probe"


class OpenedStore:
    """A store that is served.

    Args:
        name: for logs and health; also the origin of its events, if *url* gives none.
        url: which store it is.
        bus: is told of its changes; None tells listeners in this process only.
        authorizing: whether it is served with owners and permissions.

    Raises:
        AntiphonError: the URL makes no sense; nothing was connected.
    """

    def __init__(
        self, name: str, url: str, bus: BrokerEventManager | None, *, authorizing: bool = False
    ) -> None:
        self.name = name
        self._inner: AbstractStore = open_store(url, event_manager=bus)
        if isinstance(self._inner, BackendStore) and self._inner.origin is None:
            self._inner.origin = name  # else its events would have the server's
        self.store: AbstractStore = self._inner
        if authorizing:
            self.store = AuthorizingStore(self._inner)
        self._problem: str | None = "it is being opened"
        self._asked_at: float | None = None  # while a look is under way
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, name=f"store {name}", daemon=True)

    @property
    def origin(self) -> str | None:
        """The origin of the store's events."""
        return getattr(self._inner, "origin", None)

    def start(self) -> None:
        """Begin to open the store."""
        self._thread.start()

    def problem(self) -> str | None:
        """Return why the store does not answer, or None if it does."""
        asked_at = self._asked_at
        if self._problem is None and asked_at is not None:
            silent_s = time.monotonic() - asked_at
            if silent_s > _ANSWER_WITHIN_S:
                return f"it has not answered for {silent_s:.0f} s"
        return self._problem

    def is_alive(self) -> bool:
        """Return False if the thread that looks after the store has ended before ``stop()``."""
        begun = self._thread.ident is not None
        return not begun or self._stopping.is_set() or self._thread.is_alive()

    def _watch(self) -> None:
        retry_s = _FIRST_RETRY_S
        while not self._stopping.is_set():
            self._asked_at = time.monotonic()
            problem = self._look()
            self._asked_at = None
            if problem is not None and problem != self._problem:
                logger.warning("store %r does not answer, trying again: %s", self.name, problem)
            elif problem is None and self._problem is not None:
                logger.info("store %r is served", self.name)
            self._problem = problem
            wait_s = _CHECK_INTERVAL_S if problem is None else retry_s
            retry_s = _FIRST_RETRY_S if problem is None else min(2 * retry_s, _LAST_RETRY_S)
            self._stopping.wait(wait_s)

    def _look(self) -> str | None:
        try:
            if not self._inner.is_connected():
                self._inner.connect()
            self._inner.exists(_PROBE_KEY)
        except AntiphonError as exc:
            return str(exc)
        except Exception as exc:  # a store of somebody else's may raise anything
            logger.exception("store %r failed", self.name)
            return type(exc).__name__
        return None

    def stop(self) -> None:
        """Close the store."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()
        with contextlib.suppress(AntiphonError):
            if self._inner.is_connected():
                self._inner.disconnect()
