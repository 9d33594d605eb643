"""Waiting for a change of a store behind HTTP, as long as server and network let one wait."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from antiphon.errors import NotConnected, StoreUnavailable
from antiphon.storage.http_client import HttpClient
from antiphon.storage.http_protocol import error_of, position_in
from antiphon.storage.journal import Position
from antiphon.storage.journal_watch import JournalWatch, Pauses

#: Seconds that one request waits at most: so a client that vanished without a
#: word, or a session that cannot be interrupted, holds nothing for long.
_LONGEST_S = 25.0

#: Seconds that one waits at least where something cuts waiting connections.
_LEAST_S = 1.0

#: Seconds between requests that are answered early, and tell nothing new.
_PAUSE_S = 0.5

#: Between looks at the head of a server that lets nobody wait.
_LOOK_PAUSES = Pauses(0.05, 1.0)


class HttpWaiting:
    """Waits for the head of one server to change.

    Args:
        client: whose ``for_waiting`` sends the requests.
        head_url: URL of the head.
        head: asks for the head without waiting.
        wait_s: seconds for which the server lets a client wait; 0: not at all.
        store: named in errors.
    """

    def __init__(
        self,
        client: HttpClient,
        head_url: str,
        head: Callable[[], Position],
        *,
        wait_s: float,
        store: object,
    ) -> None:
        self._of_others = client
        self._client: HttpClient | None = None
        self._head_url = head_url
        self._head = head
        self._can_wait = wait_s > 0
        self._longest_s = min(wait_s, _LONGEST_S)
        self._store = store
        self._lock = threading.Lock()
        self._watch = JournalWatch()
        self._wakes = 0
        self._closed = threading.Event()

    def tell(self) -> None:
        """Wake who looks now and then: this client has written."""
        self._watch.tell()

    def wake(self) -> None:
        """Have all who wait return now, with the position where they are."""
        with self._lock:
            client, self._client = self._client, None
            self._wakes += 1
        if client is not None:
            client.close()
        self._watch.wake()

    def close(self) -> None:
        """End every wait; those who wait meet a client that was closed.  Twice is fine."""
        with self._lock:
            self._closed.set()
            client = self._client
        if client is not None:
            client.close()
        self._watch.tell()

    def wait(self, position: Position, timeout_s: float) -> Position:
        """Return the head once it is another than *position*; see ``WaitingJournal``."""
        if not self._can_wait:
            return self._watch.wait(self._head, position, timeout_s, _LOOK_PAUSES)
        deadline = time.monotonic() + timeout_s
        wakes = self._wakes
        while True:
            begun = time.monotonic()
            left_s = deadline - begun
            found = self._head() if left_s <= 0 else self._asked(position, left_s, wakes)
            if found != position or left_s <= 0 or self._wakes != wakes:
                return found
            # A server that stops, or has too many who wait, answers early.
            early_s = min(_PAUSE_S, left_s) - (time.monotonic() - begun)
            if early_s > 0:
                self._closed.wait(early_s)

    def _asked(self, position: Position, left_s: float, wakes: int) -> Position:
        """Return the head, after waiting for a while if the server and the network allow it."""
        begun = time.monotonic()
        try:
            return self._long_poll(position, min(left_s, self._longest_s))
        except NotConnected:
            if self._wakes == wakes or self._closed.is_set():
                raise
            return position
        except StoreUnavailable:
            # If it is the server that is gone, this says so.
            found = self._head()
        took_s = time.monotonic() - begun
        if took_s > _LEAST_S:
            # Something between cuts connections on which nothing happens.
            self._longest_s = max(_LEAST_S, min(self._longest_s, took_s / 2))
        return found

    def _long_poll(self, position: Position, wait_s: float) -> Position:
        answer = self._waiting_client().request(
            "GET",
            self._head_url,
            {"Accept": "application/json"},
            params={"position": str(position), "wait_s": f"{wait_s:.3f}"},
            more_s=wait_s,
        )
        if answer.status >= 300:
            raise error_of(answer, f"{self._store!r}: waiting for a change", has_key=False)
        return position_in(answer.json(), self._store)

    def _waiting_client(self) -> HttpClient:
        with self._lock:
            if self._client is None:
                self._client = self._of_others.for_waiting()
                if self._closed.is_set():
                    self._client.close()
            return self._client
