"""Several services look after one cache, and harm neither it nor each other."""

from __future__ import annotations

import contextlib
import io
import itertools
import threading
import time
from pathlib import Path
from typing import Self

import pytest

from antiphon import MountedStore, open_bus, open_store
from antiphon.storage.abstract_store import AbstractStore
from tests.acceptance.services.service_process import (
    ServiceProcess,
    service_process,
    wait_until,
)

SYSTEM = "shop"

SETTINGS = """
[[caches]]
name = "prices"
mount_point = "prices/"
cache_url = "{cache}"
backing_url = "{backing}"
check_interval_s = 0.5
"""

KEYS = [f"prices/{n}" for n in range(6)]

#: Seconds by which a read served from the cache may be behind.
BOUND_S = 1.5

#: Seconds that is written before one of two services is killed, and after that.
BEFORE_S, AFTER_S = 1.0, 2.0


class Reader(threading.Thread):
    """Reads all keys again and again through a cache of its own process, without a bus."""

    def __init__(self, cache_url: str, backing_url: str, ended: dict[str, list[float]]) -> None:
        super().__init__(name="reader", daemon=True)
        self.cache, self.store = open_store(cache_url), open_store(backing_url)
        self.mounted = MountedStore(
            "prices/", self.cache, self.store, fill=True, max_staleness_s=BOUND_S
        )
        self.ended = ended
        self.stale: list[str] = []
        self.stopped = threading.Event()

    def run(self) -> None:
        self.mounted.connect()
        while not self.stopped.wait(0.002):
            for key in KEYS:
                began = time.monotonic()
                with contextlib.suppress(KeyError):
                    seen = int(self.mounted.get(key).data.read())
                    # Number n was written at ended[n]; all that ended so long ago must show.
                    due = sum(at < began - BOUND_S for at in list(self.ended[key]))
                    if seen < due:
                        self.stale.append(f"{key}: {seen}, though {due} was due")
        self.cache.disconnect()
        self.store.disconnect()


class Services:
    """Services with the same settings, each in a folder of its own."""

    def __init__(self, folder: Path, amqp_url: str, settings: str) -> None:
        self._folder = folder
        self._settings = settings
        self._variables = {"ANTIPHON_AMQP_URL": amqp_url, "ANTIPHON_SYSTEM": SYSTEM}
        self._stack = contextlib.ExitStack()

    def start(self, name: str) -> ServiceProcess:
        """Start one more; it goes on until all end."""
        place = self._folder / name
        place.mkdir()
        return self._stack.enter_context(
            service_process("services.invalidator", place, self._settings, **self._variables)
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


def write(store: AbstractStore, key: str, number: int) -> None:
    """Write a number."""
    store.set_data(key, io.BytesIO(str(number).encode()))


def write_for(seconds: float, store: AbstractStore, ended: dict[str, list[float]]) -> None:
    """Write the next numbers of some keys, again and again, and note when each was written."""
    until = time.monotonic() + seconds
    for rounds in itertools.count():
        for key in KEYS[: 1 + rounds % len(KEYS)]:
            write(store, key, len(ended[key]) + 1)
            ended[key].append(time.monotonic())
        if time.monotonic() > until and rounds > len(KEYS):
            return


@pytest.mark.parametrize("medium", ["redis", "sqlite"])
def test_one_of_two_is_killed_and_comes_back(
    medium: str, tmp_path: Path, amqp_url: str, redis_url: str
) -> None:
    """Readers of the shared cache see nothing older than their bound, and the cache goes on."""
    backing = f"{redis_url}?namespace=catalogue"
    cache = {
        "redis": f"{redis_url}?namespace=prices-cache",
        "sqlite": f"sqlite:///{tmp_path}/cache.db",
    }[medium]
    settings = SETTINGS.format(cache=cache, backing=backing)
    ended: dict[str, list[float]] = {key: [] for key in KEYS}
    with (
        open_bus(amqp_url, system=SYSTEM) as bus,
        Services(tmp_path, amqp_url, settings) as services,
        open_store(backing, event_manager=bus) as store,
    ):
        first, second = services.start("first"), services.start("second")
        for service in (first, second):
            service.wait_for(200)
        readers = [Reader(cache, backing, ended) for _ in range(2)]
        for reader in readers:
            reader.start()
        write_for(BEFORE_S, store, ended)
        first.process.kill()
        third = services.start("third")
        write_for(AFTER_S, store, ended)
        wait_until(
            lambda: store.head() == readers[0].mounted.filling.ledger.position(), second.describe
        )
        hits = sum(reader.mounted.cache_stats().hits for reader in readers)
        seen = [readers[0].mounted.get(key).data.read() for key in KEYS]
        for reader in readers:
            reader.stopped.set()
            reader.join(30)

        assert [] == [line for reader in readers for line in reader.stale][:5]
        assert [str(len(ended[key])).encode() for key in KEYS] == seen
        assert hits > 0
        assert second.get("/readyz")[0] == 200
        third.wait_for(200)
