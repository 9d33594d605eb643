"""One process of the cache history test; prints what it did as JSON lines.

A ``writer`` writes, a ``reader`` reads through a cache that it keeps right itself,
a ``guest`` reads through one that a ``keeper`` keeps right in another process.
Times are of the machine's boot clock, so those of several processes can be compared.
"""

import contextlib
import json
import random
import sys
import time

from antiphon import CacheInvalidator, MountedStore, open_bus, open_store
from antiphon.storage.freshness import boot_clock
from antiphon.storage.string_value import StringValue

KEYS = [f"p/{n}" for n in range(8)]

#: The bound that the readers ask for; small, so that a breach shows soon.
BOUND_S = 1.5


def tell(**what: object) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def write(store: object, seconds: float, seed: int) -> None:
    """Count each key of this writer up, as fast as a person would type quickly."""
    rng = random.Random(seed)
    mine = KEYS[seed % 2 :: 2]
    count = 0
    end = boot_clock() + seconds
    while boot_clock() < end:
        count += 1
        key = rng.choice(mine)
        began = boot_clock()
        store.set(key, StringValue(str(count).encode()))  # type: ignore[attr-defined]
        tell(key=key, value=count, began=began, ended=boot_clock())
        time.sleep(rng.uniform(0, 0.02))


def read(mounted: MountedStore, seconds: float, seed: int) -> None:
    """Read keys at random and tell what was seen."""
    rng = random.Random(seed)
    end = boot_clock() + seconds
    while boot_clock() < end:
        key = rng.choice(KEYS)
        hits = mounted.cache_stats().hits
        began = boot_clock()
        try:
            value = int(mounted.get(key).data.read())
        except KeyError:
            value = 0
        ended = boot_clock()
        tell(
            key=key,
            value=value,
            began=began,
            ended=ended,
            cached=mounted.cache_stats().hits > hits,
        )
        time.sleep(rng.uniform(0, 0.004))


def main() -> None:
    role, amqp_url, redis_url, system, cache_url, seconds, seed = sys.argv[1:]
    with open_bus(amqp_url, origin=f"{role}.{seed}", system=system) as bus:
        store = open_store(f"{redis_url}?namespace=history", event_manager=bus)
        store.connect()
        if role == "writer":
            write(store, float(seconds), int(seed))
            bus.flush(30)
        else:
            cache = open_store(cache_url)
            mounted = MountedStore("p/", cache, store, fill=True, max_staleness_s=BOUND_S)
            mounted.connect()
            with contextlib.ExitStack() as stack:
                if role != "guest":
                    stack.enter_context(CacheInvalidator(mounted, bus, check_interval_s=0.5))
                if role == "keeper":
                    time.sleep(float(seconds))
                else:
                    read(mounted, float(seconds), int(seed))
            cache.disconnect()
        store.disconnect()


if __name__ == "__main__":
    main()
