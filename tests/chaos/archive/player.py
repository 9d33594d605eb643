"""Who reads an archive, in processes of their own: ``python -m tests.chaos.archive.player JSON``.

What they do they write down; see ``records``.
"""

# ruff: noqa: T201 - a program that talks

from __future__ import annotations

import contextlib
import faulthandler
import json
import random
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from typing import Any

from antiphon.archive import CAUGHT_UP, EventStore, open_archive, replay, tail
from antiphon.archive.event import Event
from antiphon.errors import AntiphonError, BrokerUnavailable, EventStoreException, QueueMissing
from antiphon.events.delivery import delivery_of
from tests.chaos.archive import sabotage
from tests.chaos.archive.records import flag_of
from tests.chaos.events import Note
from tests.chaos.player import Player, Subscriber

#: Seconds that a replay gives the broker.
REPLAY_TIMEOUT_S = 20.0

#: The last event of all has this in its id: a tail that has seen it has seen everything.
LAST = "the-last-of"


class Reader(Player):
    """What tails and replayers share: an archive that may not be there yet, or not be readable."""

    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__(settings)
        self.random = random.Random(f"{settings['name']}{settings['run']}{settings['seed']}")
        self.is_over = threading.Event()
        self.thread = threading.Thread(target=self._play, daemon=True)

    def begin(self) -> None:
        """Begin to play, on a thread."""
        self.thread.start()

    def _play(self) -> None:
        try:
            while not self.is_over.is_set():
                try:
                    store = open_archive(self.settings["archive_url"], read_only=True)
                except EventStoreException as exc:
                    self.recorder.note("unopened", repr(exc)[:200])
                    self.is_over.wait(0.2)
                    continue
                with store:
                    self.play(store)
        except BaseException as exc:
            where = traceback.extract_tb(exc.__traceback__)[-4:]
            self.recorder.note("ended", f"{exc!r:.300} at {where}")
            raise

    def play(self, store: EventStore) -> None:
        """Read *store* until it is over, or it is to be opened anew."""
        raise NotImplementedError

    def do_close(self) -> str:
        """Stop."""
        self.is_over.set()
        self.thread.join(40)
        self.recorder.note("closed")
        return f"done {not self.thread.is_alive()}"


class Tailer(Reader):
    """Follows the archive, for some seconds at a time, each time from another beginning on."""

    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__(settings)
        self._count = 0
        self._is_last = threading.Event()
        self._has_all = threading.Event()

    def play(self, store: EventStore) -> None:
        while not self.is_over.is_set():
            self._count += 1
            since = self.random.choice((None, 0.0, time.time() - self.random.uniform(0.5, 8)))
            until = time.monotonic() + self.random.choice((0.3, 1.0, 3.0, 9.0))
            self._follow(store, since, until)

    def _follow(self, store: EventStore, since: float | None, until: float) -> None:
        wanted = self.settings["wanted"]
        try:
            following = tail(store, since=since, flags=[flag_of(wanted)])
        except EventStoreException as exc:
            self.recorder.note("untailed", repr(exc)[:200])
            self.is_over.wait(0.2)
            return
        shown = "-" if since is None else repr(since)
        self.recorder.note("tail", self._count, following._place, shown)
        threading.Thread(target=self._stop, args=(following, until), daemon=True).start()
        for found in following:
            if found is CAUGHT_UP:
                self.recorder.note("mark", self._count)
            else:
                self.recorder.note("saw", self._count, found.id)
                if LAST in found.id:
                    self._has_all.set()

    def _stop(self, following: Any, until: float) -> None:
        while not self.is_over.wait(0.05):
            if not self._is_last.is_set() and time.monotonic() > until:
                break
        following.stop()

    def do_last(self) -> str:
        """Stay with the tail that there is."""
        self._is_last.set()
        return "done"

    def do_all(self) -> str:
        """Wait until the last event has come."""
        return str(self._has_all.wait(30))


class Replayer(Reader):
    """Replays stretches of the last seconds, to the subscription ``audit`` and to functions."""

    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__(settings)
        self._count = 0
        self.open()

    def play(self, store: EventStore) -> None:
        while not self.is_over.wait(self.random.uniform(0.3, 1.5)):
            self._count += 1
            end = time.time() - self.random.uniform(0, 4)
            try:
                self._replay(store, end - self.random.uniform(0.5, 4), end)
            except (BrokerUnavailable, QueueMissing, EventStoreException) as exc:
                self.recorder.note("broke", self._count, repr(exc)[:200])

    def _replay(self, store: EventStore, start: float, end: float) -> None:
        count, note = self._count, self.recorder.note
        wanted = self.random.choice(("Note", "Left", "Right", "Both"))
        is_sent = self.random.random() < 0.6
        how = "sent" if is_sent else "called"
        note("replay", count, how, store.head(), wanted, repr(start), repr(end))
        to: Any = self._call
        if is_sent:
            to = self.bus.replay_to("audit", timeout_s=REPLAY_TIMEOUT_S)
        found = replay(_Noting(store, note, count), start, end, [flag_of(wanted)], to=to)
        note("replayed", count, found.sent, found.skipped, found.unreadable)

    def _call(self, event: Note) -> None:
        delivery = delivery_of(event)
        is_marked = delivery is not None and delivery.replayed
        self.recorder.note("called", self._count, event.publisher, event.number, is_marked)

    def do_close(self) -> str:
        """Stop, and close the bus."""
        said = super().do_close()
        self.bus.close(10)
        return said


class _Noting:
    """An archive that writes down what a search has found."""

    def __init__(self, store: EventStore, note: Any, count: int) -> None:
        self._store, self._note, self._count = store, note, count

    def search(self, *args: Any, **options: Any) -> Iterator[Event]:
        for event in self._store.search(*args, **options):
            self._note("found", self._count, event.id)
            yield event


class Auditor(Subscriber):
    """A durable subscription that hears what happens, and what is replayed to it."""

    def _hear(self, event: Note) -> None:
        delivery = delivery_of(event)
        if delivery is None or not delivery.replayed:
            super()._hear(event)
            return
        self.recorder.note("again", event.publisher, event.number)
        self._heard += 1


KINDS: dict[str, type[Player]] = {"tail": Tailer, "replayer": Replayer, "subscriber": Auditor}


def main() -> None:
    """Play what the argument says."""
    settings = json.loads(sys.argv[1])
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sabotage.apply(settings.get("without", ""))
    player = KINDS[settings["role"]](settings)
    if isinstance(player, Reader):
        player.begin()
    print("begun", flush=True)
    with contextlib.suppress(BrokenPipeError, AntiphonError):
        player.obey()


if __name__ == "__main__":
    main()
