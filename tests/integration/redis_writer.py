"""A process that writes to a Redis store until it is told, or killed: run by the tests.

Usage: redis_writer.py URL NAMESPACE NAME THREADS ROUNDS

Each thread does ROUNDS rounds (0: until killed) of every kind of write, and
prints ``<key>`` after each confirmed set of a key that only it writes.
"""

from __future__ import annotations

import contextlib
import io
import random
import sys
import threading

from antiphon.errors import KeyNotFound, StoreUnavailable, VersionConflict
from antiphon.storage.journal import ABSENT
from antiphon.storage.redis_store import RedisStore
from antiphon.storage.string_value import StringValue


def count_up(store: RedisStore) -> None:
    """Add one to the counter, as often as others come between."""
    while True:
        try:
            value = store.get("counter")
            count, version = int(value.data.read()), value.version
        except KeyNotFound:
            count, version = 0, ABSENT
        with contextlib.suppress(VersionConflict):
            store.set("counter", StringValue(b"%d" % (count + 1), {}), expect=version)
            return


def write_all_kinds(store: RedisStore, name: str, turn: int) -> None:
    """Do one round."""
    key = f"own/{name}/{turn}"
    store.set(key, StringValue(b"x" * random.choice((1, 1000, 20_000)), {"by": name, "turn": turn}))
    # In one piece, so that lines of two threads do not mix.
    sys.stdout.write(key + "\n")
    sys.stdout.flush()
    with store.transaction():
        # All three or none, and never mixed with those of others.
        for part in "abc":
            store.set(f"group/{part}", StringValue(b"", {"token": f"{name}/{turn}"}))
    with contextlib.suppress(KeyNotFound):
        store.update_metadata("shared", {name.partition("/")[0]: turn})
        store.delete("shared")
    store.set_data("shared", io.BytesIO(b"s" * turn))
    if turn % 5 == 3:
        # In the record, as one chunk, and staged in several, by turns.
        size = (10, 100_000, 1_500_000)[turn % 3]
        store.set("large", StringValue(bytes([turn % 256]) * size, {"by": name}))


def run(store: RedisStore, name: str, rounds: int) -> None:
    """Do all rounds of one thread; only a Redis that is away may come between."""
    turn = 0
    while not rounds or turn < rounds:
        turn += 1
        try:
            write_all_kinds(store, name, turn)
            if rounds:
                count_up(store)
        except StoreUnavailable:
            if rounds:
                raise


def main() -> None:
    """Read the command line and write."""
    url, namespace, name, threads, rounds = sys.argv[1:]
    with RedisStore(url, namespace=namespace, timeout_s=30.0) as store:
        running = [
            threading.Thread(target=run, args=(store, f"{name}/{n}", int(rounds)))
            for n in range(int(threads))
        ]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
    sys.stdout.write("done\n")


if __name__ == "__main__":
    main()
