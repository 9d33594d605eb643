"""Small values in a RedisStore, beside bare redis-py doing the least that keeps them.

    .venv/bin/python benchmarks/redis_store/small_values.py REDIS_URL

Bare, a ``set`` is a pipeline of SET and HSET (data and metadata, no journal, no
index, no conditions, no version) and a ``get`` a pipeline of GET and HGETALL:
one round trip each, as ours.  All kinds take turns, and each figure is taken
from single calls of all turns; compare only within one run.
"""

from __future__ import annotations

import itertools
import platform
import statistics
import sys
import time
from collections.abc import Callable

import redis

from antiphon.storage.redis_store import RedisStore
from antiphon.storage.string_value import StringValue

CALLS_A_TURN = 500
TURNS = 12
METADATA = {"title": "prices", "currency": "EUR", "count": 12, "ratio": 0.5, "open": True}
DATA = b"x" * 100


def bare_calls(client: redis.Redis) -> dict[str, Callable[[], object]]:
    """Return the calls of bare redis-py."""
    numbers = itertools.count()
    texts = {name: str(value) for name, value in METADATA.items()}

    def bare_set() -> None:
        key = f"bare:{next(numbers) % 1000}"
        with client.pipeline(transaction=False) as pipe:
            pipe.set(key, DATA)
            pipe.hset(f"{key}:metadata", mapping=texts)
            pipe.execute()

    def bare_get() -> None:
        key = f"bare:{next(numbers) % 1000}"
        with client.pipeline(transaction=False) as pipe:
            pipe.get(key)
            pipe.hgetall(f"{key}:metadata")
            pipe.execute()

    return {"bare set": bare_set, "bare get": bare_get}


def store_calls(store: RedisStore) -> dict[str, Callable[[], object]]:
    """Return the calls of the store; the update changes one indexed entry."""
    numbers = itertools.count()
    keys = [f"key/{n}" for n in range(1000)]

    def store_set() -> None:
        number = next(numbers)
        store.set(keys[number % 1000], StringValue(DATA, {**METADATA, "count": number}))

    def store_get() -> bytes:
        value = store.get(keys[next(numbers) % 1000])
        _ = value.metadata
        return value.data.read()

    def store_get_metadata() -> object:
        return store.get_metadata(keys[next(numbers) % 1000])

    return {"set": store_set, "get": store_get, "get_metadata": store_get_metadata}


def measure(calls: dict[str, Callable[[], object]]) -> dict[str, list[float]]:
    """Return the microseconds of each call, all kinds taking turns."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(TURNS):
        for name, call in calls.items():
            for _ in range(CALLS_A_TURN):
                began = time.perf_counter_ns()
                call()
                times[name].append((time.perf_counter_ns() - began) / 1000)
    return times


def server_share(raw: redis.Redis, call: Callable[[], object], command: str) -> float:
    """Return the microseconds that Redis itself needs for all *command* in one *call*."""
    raw.config_resetstat()
    for _ in range(1000):
        call()
    return float(raw.info("commandstats")[f"cmdstat_{command}"]["usec"]) / 1000


def main() -> None:
    """Measure, and print a table."""
    url = sys.argv[1]
    raw = redis.Redis.from_url(url, protocol=2)
    with RedisStore(url, namespace="benchmark") as store:
        calls = bare_calls(raw) | store_calls(store)
        for _ in range(1000):
            calls["bare set"]()
            calls["set"]()
        times = measure(calls)
        print(
            f"{platform.machine()}, Python {platform.python_version()}, redis-py"
            f" {redis.__version__}, Redis {raw.info('server')['redis_version']}, loopback"
        )
        print(f"{TURNS * CALLS_A_TURN} calls each, 100 bytes, 5 metadata entries; microseconds\n")
        print(f"{'':14}{'min':>8}{'median':>8}{'p90':>8}{'p99':>8}{'max':>9}{'x bare':>8}")
        for name, values in times.items():
            peer = "bare set" if name.endswith("set") else "bare get"
            median = statistics.median(values)
            cuts = statistics.quantiles(values, n=100)
            ratio = median / statistics.median(times[peer])
            print(
                f"{name:14}{min(values):8.0f}{median:8.0f}{cuts[89]:8.0f}{cuts[98]:8.0f}"
                f"{max(values):9.0f}{ratio:8.2f}"
            )
        print(
            "\nin Redis itself:"
            f" both scripts of a set {server_share(raw, calls['set'], 'evalsha'):.1f},"
            f" HMGET of a get {server_share(raw, calls['get'], 'hmget'):.1f}"
        )
        raw.delete(*raw.keys("{benchmark}:*"), *raw.keys("bare:*"))


if __name__ == "__main__":
    main()
