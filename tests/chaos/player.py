"""A publisher or a subscriber, in a process of its own: ``python -m tests.chaos.player JSON``.

It obeys lines on standard input and answers each with one on standard output.
It ends when its standard input does, so nobody stays behind.
"""

# ruff: noqa: T201 - a program that talks

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import random
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from antiphon import BrokerEventManager, open_bus
from antiphon.errors import FlushTimeout, PublishBufferFull
from antiphon.events.delivery import delivery_of
from antiphon.messaging.events import EventsMayBeMissing
from antiphon.messaging.options import BusOptions
from antiphon.messaging.subscription_options import SubscriptionOptions
from tests.chaos.events import CLASSES, Note, class_of, origin_of
from tests.chaos.history import Recorder
from tests.chaos.watching import watch_publishing, watch_queues

#: Seconds that a flush gets; a broker that is back for so long has confirmed everything.
FLUSH_TIMEOUT_S = 30.0

#: Emits that take longer than this many seconds are written down.
SLOW_EMIT_S = 0.5

#: Events under way at which a publisher waits: the point is order, not volume.
MAX_BUFFERED = 20_000


class Player:
    """What both kinds share.

    Args:
        settings: ``name``, ``run``, ``folder``, ``url``, ``system`` and the kind's own.
    """

    def __init__(self, settings: dict[str, Any]) -> None:
        self.settings = settings
        name = f"{settings['name']}.{settings['run']}.log"
        self.recorder = Recorder(Path(settings["folder"]) / name)
        self.bus: BrokerEventManager

    def open(self, options: BusOptions | None = None) -> None:
        """Open the bus, whatever state the broker is in."""
        self.bus = open_bus(
            self.settings["url"], system=self.settings["system"], wait=False, options=options
        )
        self.bus.on_state(lambda state: self.recorder.note("state", state))

    def obey(self) -> None:
        """Carry out what standard input says, until it ends."""
        for line in sys.stdin:
            word = line.strip()
            print(word, getattr(self, f"do_{word}")(), flush=True)
            if word == "close":
                return
        os._exit(1)  # whoever started this is gone

    def do_close(self) -> str:
        """Close the bus."""
        self.bus.close(10)
        self.recorder.note("closed")
        return "done"

    def do_stats(self) -> str:
        """Return the bus's counters."""
        return repr(self.bus.stats())


class Publisher(Player):
    """Emits numbered events in bursts, and flushes again and again beside that."""

    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__(settings)
        watch_publishing(self.recorder)
        self.open(BusOptions(**settings["options"]))
        self._number = settings["first"] - 1
        self._random = random.Random(f"{settings['name']}{settings['run']}{settings['seed']}")
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._emit), threading.Thread(target=self._flush)]
        for thread in self._threads:
            thread.daemon = True
            thread.start()

    def _emit(self) -> None:
        while not self._is_over.is_set():
            burst = self._random.choice((1, 1, 2, 5, 20, 100))
            for _ in range(burst):
                self._emit_one()
            self._is_over.wait(burst / self.settings["rate"] * self._random.uniform(0.5, 1.5))
            while self.bus.stats().buffered > MAX_BUFFERED and not self._is_over.wait(0.1):
                pass

    def _emit_one(self) -> None:
        number = self._number + 1
        cls, origin = class_of(number), origin_of(number)
        event = CLASSES[cls](publisher=self.settings["name"], number=number, origin=origin)
        began = time.monotonic()
        self.recorder.note("emit", number, cls, origin)
        try:
            self.bus.emit(event)
        except PublishBufferFull:
            self.recorder.note("refused", number)
        else:
            self.recorder.note("emitted", number)
        self._number = number
        if (took_s := time.monotonic() - began) > SLOW_EMIT_S:
            self.recorder.note("slow", number, f"{took_s:.3f}")

    def _flush(self) -> None:
        while not self._is_over.is_set():
            self._flush_once()
            self._is_over.wait(self._random.uniform(0.02, 0.5))

    def _flush_once(self) -> bool:
        upto = self._number  # emit has returned for it
        try:
            self.bus.flush(FLUSH_TIMEOUT_S)
        except FlushTimeout:
            return False
        self.recorder.note("flushed", upto)
        return True

    def do_stop(self) -> str:
        """Emit no more, and flush."""
        self._is_over.set()
        for thread in self._threads:
            thread.join(2 * FLUSH_TIMEOUT_S)
        return f"{self._number} {self._flush_once()}"


class Subscriber(Player):
    """Listens, and writes down what it hears."""

    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__(settings)
        self._random = random.Random(f"{settings['name']}{settings['run']}{settings['seed']}")
        self._heard = 0
        self._offset_s = time.time() - time.monotonic()
        watch_publishing(self.recorder)
        # Bound late: the bus is not there before its first connection may be.
        watch_queues(self.recorder, settings["queue"], lambda message: self.bus._decode(message))
        self.open()
        self.bus.connect(EventsMayBeMissing, self._note_gap)
        cls = CLASSES[settings["wanted"]]
        if settings["mode"] == "connect":
            self.bus.connect(cls, self._hear)
        else:
            self._subscribe(cls)
        threading.Thread(target=self._become_ready, daemon=True).start()

    def _subscribe(self, cls: type[Note]) -> None:
        self._subscription = self.bus.subscribe(
            self.settings["subscription"],
            cls,
            self._hear,
            mode=self.settings["mode"],
            options=SubscriptionOptions(**self.settings["options"]),
        )

    def _become_ready(self) -> None:
        if self.settings["mode"] == "connect":
            while not self.bus.wait_connected(1):
                pass
        else:
            while not self._subscription.wait_ready(1):
                pass
        self.recorder.note("ready")

    def _hear(self, event: Note) -> None:
        publisher, number = event.publisher, event.number
        chance = self._random.random()
        if chance < self.settings["slow_share"]:
            time.sleep(self._random.uniform(0, 0.05))
        elif chance > 1 - self.settings["failing_share"]:
            self.recorder.note("failed", publisher, number)
            raise RuntimeError("a listener that fails now and then")
        delivery = delivery_of(event)
        origin = (delivery and delivery.origin) or "-"
        self.recorder.note("heard", publisher, number, type(event).__name__, origin)
        self._heard += 1

    def _note_gap(self, event: EventsMayBeMissing) -> None:
        since: float | None = event.since
        shown = "-" if since is None else f"{since - self._offset_s:.6f}"
        self.recorder.note("missing", event.subscription, shown)

    def do_count(self) -> str:
        """Return how many events were heard."""
        return str(self._heard)


def main() -> None:
    """Play what the argument says."""
    settings = json.loads(sys.argv[1])
    faulthandler.register(signal.SIGUSR1, all_threads=True)  # writes where it hangs to stderr
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is the conductor's
    kind: type[Player] = Publisher if settings["role"] == "publisher" else Subscriber
    player = kind(settings)
    print("begun", flush=True)
    with contextlib.suppress(BrokenPipeError):
        player.obey()


if __name__ == "__main__":
    main()
