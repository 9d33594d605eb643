"""Players that write what they read, and one that hears of everything.

An author pushes keys of its own, and reads what it wrote to the store itself
with ``at_least``.  A listener has a durable subscription to all changes.
"""

from __future__ import annotations

import contextlib
import time
from typing import Any

from antiphon.errors import AntiphonError, VersionConflict
from antiphon.events.delivery import delivery_of
from antiphon.storage.events import StoreModificationEvent
from antiphon.storage.string_value import StringValue
from tests.chaos.caches.parts import pushed_key, through_key
from tests.chaos.caches.player import Player, Reader

#: How often an author writes instead of reading.
_WRITES = 0.06


class Author(Reader):
    """Reads as all readers do, and writes now and then: both ways."""

    def act(self, mounted: Any) -> None:
        dice = self.random.random()
        if dice < _WRITES:
            self._write_through(mounted)
        elif dice < 2 * _WRITES:
            self._push(mounted)
        else:
            super().act(mounted)

    def _next(self) -> int:
        self.settings["first"] += 1
        return int(self.settings["first"])

    def _write_through(self, mounted: Any) -> None:
        key, count = through_key(self.part.name), self._next()
        self.note("write", key, count)
        try:
            version = self.backings[0].set(key, StringValue(str(count).encode()))
        except AntiphonError as exc:
            self.note("unsure", key, count, type(exc).__name__)
            return
        self.note("wrote", key, count)
        for _ in range(self.random.randint(1, 3)):
            began = time.monotonic()
            try:
                found = int(mounted.get(key, at_least=version).data.read())
            except AntiphonError as exc:
                self.note("failed", key, type(exc).__name__)
            except KeyError:
                self.note("read-at", key, 0, f"{began:.6f}", count)
            else:
                self.note("read-at", key, found, f"{began:.6f}", count)

    def _push(self, mounted: Any) -> None:
        key = pushed_key(self.part.name)
        if key not in self.own:
            count = self._next()
            self.note("own", key, count)
            try:
                mounted.set(key, StringValue(str(count).encode()))
            except AntiphonError as exc:
                self.note("own-failed", key, count, type(exc).__name__)
                return
            self.own[key] = count
            self.note("owned", key, count)
        if self.random.random() < 0.5:
            self._read_own(mounted)
        count = self.own[key]
        self.note("write", key, count)
        try:
            # Not there: a push that was interrupted was finished when the cache was opened.
            with contextlib.suppress(KeyError):
                mounted.push(key)
        except VersionConflict:
            # A backup was put back, and has another one: it is the author's to decide.
            self.note("unsure", key, count, "VersionConflict")
            mounted.delete(key)
        except AntiphonError as exc:
            self.note("unsure", key, count, type(exc).__name__)
            return
        else:
            self.note("wrote", key, count)
        del self.own[key]
        self.note("disowned", key, count)
        self._read(mounted, key)


class Listener(Player):
    """Hears of every change of every store, once."""

    def play(self) -> None:
        subscription = self.bus.subscribe("listener", StoreModificationEvent, self._hear)
        while not subscription.wait_ready(1) and self.pause(0.1):
            pass
        self.note("listens")
        while self.pause(0.1):
            pass

    def _hear(self, event: StoreModificationEvent) -> None:
        delivery, version = delivery_of(event), event.version
        if delivery is not None and version is not None:
            self.note("heard", version.entry_id.hex(), delivery.event_id)
