"""Everything that a play about caches needs: servers, networks, players, and its end."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from antiphon import open_store
from antiphon.errors import AntiphonError, StoreError
from antiphon.storage.string_value import StringValue
from antiphon.testing.servers.kept import free_ports
from antiphon.testing.servers.programs import find_redis
from antiphon.testing.servers.redis_private import PrivateRedis
from tests.chaos.broker import start_broker
from tests.chaos.caches.cast import Actor
from tests.chaos.caches.checker import HEAL_S, Verdict, check, summary
from tests.chaos.caches.faults import Step, carry_out
from tests.chaos.caches.parts import KEYS, Part, pushed_key, through_key
from tests.chaos.caches.records import Healing, History, keep, read
from tests.chaos.caches.telling import untold, wait_listening
from tests.chaos.history import Trouble
from tests.chaos.network import NamespaceNetwork, Network, ProxyNetwork, can_make_namespaces

#: Players whose stores are on this machine's loopback interface only.
_BY_SOCKET = frozenset(("redis", "http", "joined"))


class Stage:
    """A play.

    Args:
        parts: who plays.
        seed: of the players' own dice.
        broker: one that may be tormented; None starts one.
        without: a mechanism that is taken out; see ``sabotage``.
        report: takes lines about what goes on.
    """

    def __init__(
        self,
        parts: Sequence[Part],
        seed: int,
        *,
        broker: Any = None,
        without: str = "",
        report: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.parts, self.seed, self.without = list(parts), seed, without
        self.history = History()
        self.is_kept = False
        self.folder = Path(tempfile.mkdtemp(prefix="antiphon-caches-"))
        self._report, self._never, self._began = report, threading.Event(), time.monotonic()
        self._stack = contextlib.ExitStack()
        self.actors: list[Actor] = []
        self._listening_ns = 0
        try:
            self._raise(broker)
        except BaseException:
            self._clean_up()
            raise

    def _raise(self, broker: Any) -> None:
        stores = {part.store for part in self.parts} | {
            part.cache.partition(":")[0] for part in self.parts
        }
        self._make_networks(is_private=broker is None)
        if broker is None:
            addresses = [one.address for one in self.networks if one.address is not None]
            broker = start_broker(addresses)
            self._stack.callback(broker.stop)
            for network in self.networks:
                if network.removal:
                    broker.at_end(network.removal)
        self.broker = broker
        self.amqp_port = int(broker.url.rpartition(":")[2].partition("/")[0])
        self.redis: PrivateRedis | None = None
        self.urls = {
            "sqlite": f"sqlite:///{self.folder}/store.db",
            "files": f"file://{self.folder}/files",
            "http": f"dynamic+http://127.0.0.1:{free_ports(1)[0]}",
        }
        if stores & {"redis", "joined"}:
            program = find_redis()
            if program is None:
                raise AssertionError("these caches need the program redis-server")
            self.redis = PrivateRedis(str(program))
            self._stack.callback(self.redis.stop)
            self.redis.wait_ready(20)
            self.way_to_redis = ProxyNetwork()
            self._stack.callback(self.way_to_redis.close)
            port = self.way_to_redis.lead_to(int(self.redis.url.rpartition(":")[2].split("/")[0]))
            self.urls["redis"] = f"redis://127.0.0.1:{port}/0?namespace=store&timeout_s=2"
        self._fill_stores()
        self._cast()

    def _make_networks(self, *, is_private: bool) -> None:
        kind: type[Network] = ProxyNetwork
        if is_private and can_make_namespaces():
            kind = NamespaceNetwork
        #: 0: writers; 1: readers of local files; 2: readers by sockets.
        self.networks: list[Network] = []
        for one in (ProxyNetwork, kind, ProxyNetwork):
            self.networks.append(one())
            self._stack.callback(self.networks[-1].close)

    def _fill_stores(self) -> None:
        for name in ("sqlite", "redis", "files"):
            if name in self.urls:
                with self.opened(name) as store:
                    for key in KEYS:
                        store.set(key, StringValue(b"0"))

    @contextlib.contextmanager
    def opened(self, name: str) -> Iterator[Any]:
        """Yield the store called *name*, for the conductor."""
        with open_store(self.urls[name]) as store:
            yield store

    def _cast(self) -> None:
        caches = {
            part.cache: self._cache_url(*part.cache.partition(":")[::2]) for part in self.parts
        }
        for part in self.parts:
            network = self.networks[_network_of(part)]
            common = {
                "folder": str(self.folder),
                "urls": self.urls,
                "caches": caches,
                "amqp": network.url(self.amqp_port),
                "system": f"caches{self.seed}",
                "seed": self.seed,
                "without": self.without,
                "own_keys": [f"p/own-{one.name}" for one in self.parts if one.writes_own],
            }
            self.actors.append(Actor(part, self.folder, network.prefix, common))

    def _cache_url(self, medium: str, name: str) -> str:
        if medium == "memory":
            return "memory:"
        if medium == "redis":
            return self.urls["redis"].replace("namespace=store", f"namespace=cache{name}")
        if medium == "files":
            return f"file://{self.folder}/cache-{name}"
        return f"sqlite:///{self.folder}/cache-{name}.db"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self.is_kept = True
            with contextlib.suppress(OSError):
                keep(self.folder, self.parts, self.history)
        self._clean_up()

    def _clean_up(self) -> None:
        for actor in self.actors:
            actor.end()
        self._stack.close()
        if self.is_kept:
            self.report(f"kept: python -m tests.chaos.caches.judge {self.folder}")
        else:
            shutil.rmtree(self.folder, ignore_errors=True)

    # -- What the conductor does ---------------------------------------------------

    def report(self, line: str) -> None:
        """Say what goes on."""
        self._report(f"{time.monotonic() - self._began:7.1f} s  {line}")

    def wait(self, seconds: float) -> None:
        """Let *seconds* pass."""
        self._never.wait(seconds)

    def note_trouble(self, fault: str, target: str, began: float) -> None:
        """Write down that *fault* has ended now."""
        self.history.troubles.append(Trouble(fault, target, began, time.monotonic()))

    def actor(self, name: str) -> Actor:
        """Return the player called *name*."""
        return next(one for one in self.actors if one.part.name == name)

    def of_role(self, *roles: str) -> list[Actor]:
        """Return the players of *roles*."""
        return [one for one in self.actors if one.part.role in roles]

    def writers(self) -> list[Actor]:
        """Return all who write."""
        return [
            one for one in self.actors if one.part.role in ("writer", "sql") or one.part.is_author
        ]

    @contextlib.contextmanager
    def sql(self, name: str = "store.db") -> Iterator[sqlite3.Connection]:
        """Yield a connection to a database of the play, the sqlite store at first."""
        connection = sqlite3.connect(self.folder / name, isolation_level=None, timeout=20)
        try:
            yield connection
        finally:
            connection.close()

    @contextlib.contextmanager
    def held(self, store: str) -> Iterator[None]:
        """Have nobody write to *store* meanwhile."""
        writers = [one for one in self.writers() if one.part.store == store]
        for one in writers:
            one.ask("hold", 30)
        try:
            yield
        finally:
            for one in writers:
                one.ask("go", 30)

    def raise_curtain(self) -> None:
        """Start everybody, and wait until every reader has read something."""
        for roles in (("listener",), ("server", "keeper", "writer", "sql"), ("reader",)):
            for actor in self.of_role(*roles):
                actor.start()
            for actor in self.of_role(*roles):
                actor.wait_begun()
            if roles == ("listener",):
                wait_listening(self)
        deadline = time.monotonic() + 60
        for actor in self.of_role("reader"):
            log = self.folder / f"{actor.part.name}.0.log"
            while not (log.exists() and b" read " in log.read_bytes()):
                assert time.monotonic() < deadline, f"{actor.part.name} does not read"
                self.wait(0.05)
        # What was changed before the outboxes began is history, and told by nobody.
        self._listening_ns = time.time_ns()

    def play(self, schedule: Sequence[Step]) -> None:
        """Carry *schedule* out."""
        for number, step in enumerate(schedule, 1):
            self.report(f"{number}/{len(schedule)} {step}")
            carry_out(self, step)

    def finish(self) -> None:
        """Let the last change of each key go unheard, heal, and wait until all caches are right."""
        for network in self.networks:
            network.silence()
        began = time.monotonic()
        self.wait(0.5)
        for actor in self.writers():
            actor.ask("hold", 60)
        for network in self.networks:
            network.heal()
        self.note_trouble("network-silence", "all, at the end", began)
        self.report("nothing is written any more; everything is well")
        self._heal()
        self.history.untold = untold(self, self._listening_ns)

    def _heal(self) -> None:
        healed = time.monotonic()
        truth = {
            name: self._values(name) for name in ("sqlite", "redis", "files") if name in self.urls
        }
        truth["http"] = truth["joined"] = truth["sqlite"]
        left = {actor.part.name: actor for actor in self.of_role("reader")}
        wrong: dict[str, str] = {}
        while left and time.monotonic() < healed + HEAL_S + 5:
            for name, actor in list(left.items()):
                wrong[name] = _difference(
                    json.loads(actor.ask("state", 30)), truth[actor.part.store]
                )
                if not wrong[name]:
                    del left[name]
                    seconds = time.monotonic() - healed
                    self.history.healings.append(Healing(name, seconds))
            self.wait(0.1)
        for name in left:
            self.history.healings.append(Healing(name, None, wrong[name]))

    def _values(self, name: str) -> dict[str, int]:
        for _ in range(50):
            with contextlib.suppress(StoreError, AntiphonError), self.opened(name) as store:
                return {key: int(store.get(key).data.read()) for key in KEYS}
            self.wait(0.1)
        raise AssertionError(f"{name} cannot be read although everything is well")

    def values(self, name: str) -> dict[str, int]:
        """Return what all keys of store *name* are; nobody must write."""
        found = self._values(name)
        with self.opened(name) as store:
            authors = [one.name for one in self.parts if one.is_author]
            of_authors = [of(name) for name in authors for of in (pushed_key, through_key)]
            for key in (*self.actors[0].common["own_keys"], *of_authors):
                with contextlib.suppress(KeyError):
                    found[key] = int(store.get(key).data.read())
        return found

    def judge(self) -> tuple[Verdict, str]:
        """Return the verdict, and a summary for people."""
        history = self.read()
        verdict = check(history)
        return verdict, summary(history, verdict)

    def read(self) -> History:
        """Return everything that was written down, and keep it with the logs."""
        keep(self.folder, self.parts, self.history)
        return read(self.folder)


def _network_of(part: Part) -> int:
    if part.role in ("writer", "sql", "server"):
        return 0
    return 2 if part.store in _BY_SOCKET or part.cache.startswith("redis") else 1


def _difference(seen: list[dict[str, Any]], truth: dict[str, int]) -> str:
    """Return what is not right yet; "" if everything is, and is called fresh."""
    for cache in seen:
        for key, (count, state) in cache.items():
            if count != truth[key] or state != "fresh":
                return f"{key} is {count} ({state}) and should be {truth[key]}"
    return "" if seen else "it has not begun"
