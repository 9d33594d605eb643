"""Tails beside processes that save, and are killed: each is checked against what was saved."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from tail_helpers import names

from antiphon.archive import CAUGHT_UP, Event, EventStore, open_archive, tail
from patience import wait_until

#: Saves in transactions of some events, with times that jump.
WRITER = """
import random, sys
from antiphon.archive import Event, open_archive

url, name, portions = sys.argv[1:]
rng = random.Random(name)
with open_archive(url) as archive:
    for portion in range(int(portions)):
        tags = ["even"][portion % 2:]
        archive.save_many(
            Event(f"{name}-{portion}-{number}", name, float(rng.randrange(100)), tags)
            for number in range(rng.randrange(1, 20))
        )
"""

#: What ends every tail.
END = Event("end", "test", 1000.0, ["even"])


@contextmanager
def writer(url: str, name: str, portions: int) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", WRITER, url, name, str(portions)])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


class Watcher:
    """Reads a tail from one moment on until the end, on a thread."""

    def __init__(self, url: str, since: float, flags: list[str]) -> None:
        self.since, self.flags = since, flags
        self.history: list[Event] = []
        self.live: list[Event] = []
        self._url = url
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def join(self) -> None:
        self._thread.join(60)

    def _read(self) -> None:
        with (
            open_archive(self._url) as archive,
            tail(archive, since=self.since, flags=self.flags) as following,
        ):
            items = self.history
            for item in following:
                if item is CAUGHT_UP:
                    items = self.live
                else:
                    items.append(item)
                    if item.id == END.id:
                        return


def all_saved(archive: EventStore) -> list[Event]:
    """Return everything in the order of saving."""
    events: list[Event] = []
    place = 0
    while (portion := archive.since(place)).place != place:
        events += portion.events
        place = portion.place
    return events


def expected(saved: list[Event], watcher: Watcher) -> tuple[list[str], list[str]]:
    """Return what *watcher* had to be told before and after its mark.

    Where its mark belongs, is known by how much came after it.
    """
    wanted = [one for one in saved if set(watcher.flags) <= set(one.tags)]
    seam = len(wanted) - len(watcher.live)
    history = [one for one in wanted[:seam] if one.timestamp >= watcher.since]
    return names(sorted(history, key=lambda one: one.timestamp)), names(wanted[seam:])


def test_each_tail_is_told_all_that_was_saved_once(archive: EventStore, archive_url: str) -> None:
    """Begun at any moment, while processes save and one of them is killed."""
    rng = random.Random(6)
    watchers: list[Watcher] = []

    def watch() -> None:
        flags: list[str] = rng.choice([[], ["even"]])
        watchers.append(Watcher(archive_url, float(rng.randrange(-10, 100)), flags))

    watch()
    with ExitStack() as stack:
        stack.callback(lambda: [one.join() for one in watchers])
        stack.callback(archive.save, END)
        victim = stack.enter_context(writer(archive_url, "victim", 10**6))
        writers = [stack.enter_context(writer(archive_url, name, 60)) for name in ("one", "two")]
        wait_until(archive.head, "somebody saves", 30)
        for goal in (100, 300, 500, 700):
            wait_until(lambda goal=goal: archive.head() > goal, f"{goal} events", 30)
            watch()
        victim.send_signal(signal.SIGKILL)
        assert [0, 0] == [one.wait(60) for one in writers]
        watch()

    saved = all_saved(archive)
    assert len(saved) > 700
    assert [expected(saved, one) for one in watchers] == [
        (names(one.history), names(one.live)) for one in watchers
    ]
