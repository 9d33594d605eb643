"""What bulk operations save when Redis is some way off.

    .venv/bin/python -m benchmarks.stores.redis_distance [--round-trip-ms 1] [--save]

A private Redis behind a proxy, a process of its own, that holds back what it
forwards for half of the round trip in each direction.  On this machine without
the proxy a round trip takes some 30 microseconds, and a bulk operation saves
only those; between machines it saves a multiple.
"""

from __future__ import annotations

import argparse
import contextlib
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from urllib.parse import urlsplit

from antiphon.storage.redis_store import RedisStore
from antiphon.storage.string_value import StringValue
from antiphon.testing.servers import redis as private_redis
from benchmarks.stores import harness
from benchmarks.stores.harness import Item
from benchmarks.stores.redis import Limit, Ours

TURNS = 15
SINGLES = 20

_Many = Callable[[], object]


def forward(source: socket.socket, target: socket.socket, delay_s: float) -> None:
    """Pass on what comes, later."""
    with contextlib.suppress(OSError):
        while piece := source.recv(1 << 18):
            time.sleep(delay_s)
            target.sendall(piece)
        target.shutdown(socket.SHUT_WR)


def proxy(port: int, delay_s: float) -> None:
    """Stand before a port until the program is killed; print the own port."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        print(server.getsockname()[1], flush=True)
        while True:
            client, _ = server.accept()
            redis = socket.create_connection(("127.0.0.1", port))
            for each in (client, redis):
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for ends in ((client, redis), (redis, client)):
                threading.Thread(target=forward, args=(*ends, delay_s), daemon=True).start()


def measure(url: str) -> Iterator[str]:
    """Yield the lines of a table."""
    hand = Limit(url)
    store = RedisStore(url, namespace="benchmark")
    store.connect()
    ours = Ours("Antiphon", store, StringValue)
    everyone: list[Limit | Ours] = [hand, ours]
    times: dict[tuple[str, str], list[float]] = {}
    for turn in range(TURNS):
        for name, is_many in (
            ("set", False),
            ("multiset", True),
            ("get", False),
            ("multiget", True),
        ):
            for each in everyone:
                numbers = [0] if is_many else range(SINGLES)
                items = [Item.of(number, turn, bulk=is_many) for number in numbers]
                given = [each.prepare(name, item) for item in items]
                call = each.operations()[name]
                if turn == 0 and name == "set":
                    each.fill(Item.of(number) for number in range(200))
                began = time.perf_counter()
                for one in given:
                    call(one)
                keys = harness.BULK if is_many else SINGLES
                us = (time.perf_counter() - began) / keys * 1e6
                times.setdefault((each.name, name), []).append(us)
    for each in everyone:
        for single, many in (("set", "multiset"), ("get", "multiget")):
            one, all_of_them = (statistics.median(times[each.name, n]) for n in (single, many))
            yield (
                f"{each.name:10}{single} {one:8.0f} us, {many} {all_of_them:6.0f} us a key:"
                f" {one / all_of_them:5.1f} x as quick"
            )
        each.close()


def main() -> None:
    """Read the command line, measure, print, and keep the result if asked to."""
    parser = argparse.ArgumentParser(description="Measure bulk operations at a distance.")
    parser.add_argument("--round-trip-ms", type=float, default=1.0, help="what the proxy adds")
    parser.add_argument("--save", action="store_true", help="keep the text in results/")
    parser.add_argument("--proxy", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    delay_s = options.round_trip_ms / 2000
    if options.proxy:
        proxy(options.proxy, delay_s)
    began = time.monotonic()
    with private_redis(given=False) as server:
        port = urlsplit(server.redis_url).port
        words = [sys.executable, "-m", "benchmarks.stores.redis_distance", "--proxy", str(port)]
        words += ["--round-trip-ms", str(options.round_trip_ms)]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            url = f"redis://127.0.0.1:{process.stdout.readline().strip()}/0"
            try:
                lines = list(measure(url))
            finally:
                process.kill()
    head = harness.circumstances("redis_distance", "Antiphon this commit", time.monotonic() - began)
    text = "\n".join([*head, f"a round trip of {options.round_trip_ms:g} ms more", *lines, ""])
    print(text)
    if options.save:
        name = f"{datetime.now(UTC):%Y-%m-%d}-redis-distance.txt"
        (harness.HERE / "results" / name).write_text(text)


if __name__ == "__main__":
    main()
