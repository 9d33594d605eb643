"""Looking into the queues of a broker within this process."""

from __future__ import annotations

import contextlib
import threading
import urllib.parse
from collections.abc import Iterator
from typing import ClassVar

from antiphon.errors import BrowserBusy
from antiphon.messaging.arrivals import restored
from antiphon.messaging.browser import Depth, Found, QueueBrowser, kept_headers
from antiphon.messaging.memory_broker import MemoryBroker
from antiphon.messaging.memory_queue import Kept, MemoryQueue
from antiphon.messaging.transport import Message


class MemoryBrowser(QueueBrowser):
    """Looks into the queues of *broker*; see ``QueueBrowser``."""

    _alone: ClassVar[dict[tuple[str, str], threading.Lock]] = {}

    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker
        self._held: dict[int, tuple[MemoryQueue, Kept]] = {}

    def depth(self, queue: str) -> Depth | None:
        with self._broker.lock:
            found = self._broker.find(queue)
            return None if found is None else Depth(len(found.waiting), len(found.consumers))

    def get(self, queue: str) -> Found | None:
        with self._broker.lock:
            found = self._broker.find(queue)
            kept = None if found is None else found.take_first()
            if found is None or kept is None:
                return None
            self._held[id(kept)] = (found, kept)
        key, headers = restored(kept.message.routing_key, kept.message.headers)
        message = Message(key, kept.message.body, headers, kept.message.publisher, persistent=True)
        return Found(message, queue, id(kept), kept.returns)

    def acknowledge(self, found: Found) -> None:
        del self._held[found.token]

    def give_back(self, found: Found) -> None:
        queue, kept = self._held.pop(found.token)
        with self._broker.lock:
            queue.put_back(kept)

    def publish(self, message: Message) -> bool:
        headers = kept_headers(message.headers) or None
        sent = Message(
            message.routing_key,
            message.body,
            headers,
            message.publisher,
            message.persistent,
            exchange=message.exchange,
            queue=message.queue,
        )
        return self._broker.publish("", sent) > 0

    @contextlib.contextmanager
    def alone(self, name: str, timeout_s: float) -> Iterator[None]:
        lock = self._alone.setdefault((self._broker.name, name), threading.Lock())
        if not lock.acquire(timeout=timeout_s):
            raise BrowserBusy(f"another command has been at work on '{name}' for {timeout_s:g} s")
        try:
            yield
        finally:
            lock.release()

    def close(self) -> None:
        with self._broker.lock:
            while self._held:
                _, (queue, kept) = self._held.popitem()
                queue.put_back(kept)


def open_browser(url: str, *, name: str = "antiphon browser") -> MemoryBrowser:
    """Return a browser for ``memory:`` or ``memory://name``; see ``browser.open_browser``."""
    parts = urllib.parse.urlsplit(url)
    return MemoryBrowser(MemoryBroker.named(parts.netloc + parts.path))
