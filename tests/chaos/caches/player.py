"""One process of a play about caches: ``python -m tests.chaos.caches.player JSON``.

It obeys lines on standard input and answers each with one on standard output.
It ends when its standard input does, so nobody stays behind.  What it does it
writes down; see ``records``.
"""

# ruff: noqa: T201 - a program that talks

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import random
import signal
import socket
import sqlite3
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

from antiphon import CacheInvalidator, MountedStore, open_bus, open_store
from antiphon.errors import AntiphonError
from antiphon.storage.joined_store import JoinedStore
from antiphon.storage.string_value import StringValue
from tests.chaos.caches import sabotage
from tests.chaos.caches.parts import KEYS, Part
from tests.chaos.caches.slow_source import slow_down
from tests.chaos.history import Recorder

#: Seconds between two looks of an invalidator into the journal.
CHECK_INTERVAL_S = 0.5


class Player:
    """What all kinds share.

    Args:
        settings: ``part``, ``run``, ``folder``, ``urls``, ``amqp``, ``system``, ``seed``.
    """

    def __init__(self, settings: dict[str, Any]) -> None:
        self.settings = settings
        self.part = Part(**settings["part"])
        self.name = f"{self.part.name}.{settings['run']}"
        self.recorder = Recorder(Path(settings["folder"]) / f"{self.name}.log")
        self.random = random.Random(f"{self.name}{settings['seed']}")
        self.is_held = threading.Event()
        self.is_over = threading.Event()
        self.idle = threading.Event()
        self.bus = self._open_bus()

    def _open_bus(self) -> Any:
        if self.part.role in ("sql", "server") or not self.part.has_bus:
            return None
        return open_bus(
            self.settings["amqp"], origin=self.name, system=self.settings["system"], wait=False
        )

    def open_store(self, name: str) -> Any:
        """Return the store called *name*, connected as soon as it can be."""
        if name == "joined":
            parts = [self.open_store("sqlite"), self.open_store("redis")]
            store: Any = JoinedStore(parts)
        else:
            url = self.settings["urls"][name]
            store = open_store(url, event_manager=self.bus) if self.bus else open_store(url)
        while True:
            try:
                store.connect()
                return store
            except AntiphonError:
                if self.is_over.wait(0.2):
                    raise

    def note(self, *words: object) -> None:
        self.recorder.note(*words)

    def play(self) -> None:
        """Do what the part says until it is over."""
        raise NotImplementedError

    def begin(self) -> None:
        threading.Thread(target=self._play, daemon=True).start()

    def _play(self) -> None:
        try:
            self.play()
        except BaseException as exc:
            where = traceback.extract_tb(exc.__traceback__)[-4:]
            self.note("ended", f"{exc!r:.300} at {where}")
            raise

    def pause(self, seconds: float) -> bool:
        """Let *seconds* pass; whether the play goes on."""
        while self.is_held.is_set() and not self.is_over.is_set():
            self.idle.set()
            self.is_over.wait(0.01)
        self.idle.clear()
        return not self.is_over.wait(seconds)

    # -- What the conductor says -----------------------------------------------

    def obey(self) -> None:
        """Carry out what standard input says, until it ends."""
        for line in sys.stdin:
            word, _, argument = line.strip().partition(" ")
            print(word, getattr(self, f"do_{word}")(argument), flush=True)
            if word == "close":
                return
        os._exit(1)  # whoever started this is gone

    def do_hold(self, _: str) -> str:
        """Pause what the player does."""
        self.is_held.set()
        self.idle.wait(20)
        return "done"

    def do_go(self, _: str) -> str:
        """Go on."""
        self.is_held.clear()
        return "done"

    def do_jump(self, seconds: str) -> str:
        """Let the wall clock jump."""
        sabotage.jump(float(seconds))
        return "done"

    def do_state(self, _: str) -> str:
        """Return what a reader sees now; others have nothing to say."""
        return "{}"

    def do_close(self, _: str) -> str:
        """Stop, and close the bus."""
        self.is_over.set()
        if self.bus is not None:
            self.bus.close(5)
        return "done"


class Writer(Player):
    """Counts its keys up."""

    def play(self) -> None:
        write = self._opened()
        mine = self.settings["keys"]
        while self.pause(self.random.uniform(0, 0.06)):
            if self.random.random() < 0.03:
                # What is wrong now stays so for longer than a bound.
                self.pause(self.random.uniform(1.0, 3.0))
            self.write_one(write, self.random.choice(mine))

    def write_one(self, write: Any, key: str) -> None:
        count = self.settings["first"] = self.settings["first"] + 1
        self.note("write", key, count)
        try:
            write(key, count)
        except (AntiphonError, sqlite3.Error) as exc:
            self.note("unsure", key, count, type(exc).__name__)
            self.is_over.wait(0.1)
        else:
            self.note("wrote", key, count)

    def _opened(self) -> Any:
        store = self.open_store(self.part.store)
        return lambda key, count: store.set(key, StringValue(str(count).encode()))


class SqlWriter(Writer):
    """Does it with plain SQL, as programs that never heard of us."""

    def _opened(self) -> Any:
        path = self.settings["urls"]["sqlite"].partition("///")[2]
        connection = sqlite3.connect(path, isolation_level=None, timeout=10)
        connection.execute("PRAGMA busy_timeout = 10000")

        def write(key: str, count: int) -> None:
            connection.execute(
                "INSERT OR REPLACE INTO store (key, metadata, data) VALUES (?, '{}', ?)",
                (key, str(count).encode()),
            )

        return write


class Keeper(Player):
    """Keeps a cache right, and reads nothing."""

    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__(settings)
        self.backings: list[Any] = []

    def play(self) -> None:
        for _ in self.mount():
            pass
        while self.pause(0.1):
            pass

    def mount(self) -> Any:
        """Yield each cache of the part, kept right if the part says so."""
        for number in range(self.part.caches):
            backing = self.open_store(self.part.store)
            slow_down(backing, self.random, self.part.slow_s, lag_s=self.part.lag_s)
            cache = open_store(self.settings["caches"][self.part.cache])
            self.backings.append(backing)
            mounted = MountedStore(
                "p/",
                cache,
                backing,
                fill=True,
                freshness=self.part.mode,
                max_entries=self.part.max_entries,
            )
            mounted.connect()
            sabotage.apply(self.settings["without"], mounted, backing)
            if self.part.keeps:
                with sabotage.of_keeper(self.settings["without"], mounted):
                    keeper = CacheInvalidator(mounted, self.bus, check_interval_s=CHECK_INTERVAL_S)
                keeper.start()
            self.note("mounted", number)
            yield mounted


class Reader(Keeper):
    """Reads keys at random, and writes down what it got."""

    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__(settings)
        self.caches: list[MountedStore] = []
        self.own: dict[str, int] = settings["own"]

    def play(self) -> None:
        self.caches = list(self.mount())
        turn = 0
        while self.pause(self.random.uniform(0, 0.008)):
            self.act(self.caches[(turn := turn + 1) % len(self.caches)])

    def act(self, mounted: MountedStore) -> None:
        """Read, or write something of its own."""
        if self.part.writes_own and self.random.random() < 0.02:
            self._write_own(self.caches[0])
        elif self.own and self.random.random() < 0.05:
            self._read_own(self.caches[0])
        else:
            self._read(mounted, self.random.choice(KEYS))

    def _read(self, mounted: MountedStore, key: str) -> None:
        began = time.monotonic()
        try:
            value = mounted.get(key)
            with contextlib.closing(value.data) as stream:
                count = int(stream.read())
            report = value.freshness
            state = report.state if report is not None else "fresh"
        except KeyError:
            count, state = 0, "fresh"
        except AntiphonError as exc:
            self.note("failed", key, type(exc).__name__)
            self.is_over.wait(0.02)
            return
        hits = sum(mounted.cache_stats().hits for mounted in self.caches)
        self.note("read", key, count, f"{began:.6f}", state, hits)

    def _write_own(self, mounted: MountedStore) -> None:
        # The writers write these keys, too.
        key = f"p/own-{self.part.name}"
        count = self.own.get(key, 1_000_000) + 1
        self.note("own", key, count)
        try:
            mounted.set(key, StringValue(str(count).encode()))
        except AntiphonError as exc:
            self.note("own-failed", key, count, type(exc).__name__)
            return
        self.own[key] = count
        self.note("owned", key, count)

    def _read_own(self, mounted: MountedStore) -> None:
        for key in self.own:
            try:
                count = int(mounted.get(key).data.read())
            except AntiphonError as exc:
                self.note("failed", key, type(exc).__name__)
            else:
                self.note("own-read", key, count)

    def do_state(self, _: str) -> str:
        """Return what each cache says of all keys now, and whether it calls that fresh."""
        seen: list[dict[str, tuple[int, str]]] = []
        for mounted in self.caches:
            seen.append({})
            for key in KEYS:
                try:
                    value = mounted.get(key)
                    report = value.freshness
                    state = report.state if report is not None else "fresh"
                    seen[-1][key] = int(value.data.read()), state
                except KeyError:
                    seen[-1][key] = 0, "fresh"
                except AntiphonError as exc:
                    seen[-1][key] = -1, type(exc).__name__
        return json.dumps(seen)


class Server(Player):
    """Serves the sqlite store over HTTP."""

    def play(self) -> None:
        from antiphon.server import store_app
        from antiphon.server.uvicorn_server import uvicorn_server

        store = open_store(self.settings["urls"]["sqlite"])
        store.connect()
        port = int(self.settings["urls"]["http"].rpartition(":")[2])
        sock = socket.create_server(("127.0.0.1", port), backlog=64)
        uvicorn_server(store_app(store), None, 1.0, 65_536).run(sockets=[sock])


ROLES = {"writer": Writer, "sql": SqlWriter, "keeper": Keeper, "reader": Reader, "server": Server}


def role_of(part: Part) -> type[Player]:
    """Return what plays *part*."""
    from tests.chaos.caches.authors import Author, Listener

    if part.is_author:
        return Author
    return Listener if part.role == "listener" else ROLES[part.role]


def main() -> None:
    """Play what the argument says."""
    settings = json.loads(sys.argv[1])
    faulthandler.register(signal.SIGUSR1, all_threads=True)  # writes where it hangs to stderr
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is the conductor's
    player = role_of(Part(**settings["part"]))(settings)
    player.begin()
    print("begun", flush=True)
    with contextlib.suppress(BrokenPipeError):
        player.obey()
    os._exit(0)  # what is left are threads of servers


if __name__ == "__main__":
    from tests.chaos.caches import player as itself

    itself.main()  # the same classes as those that others derive from
