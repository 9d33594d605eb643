"""The three processes of the demonstration.

Each takes commands as JSON lines on standard input and answers with JSON lines
on standard output, so that the director can check what it shows.  Apart from
that they are ordinary programs: this is how one uses the library.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sys
import threading
import time
from typing import Any

from antiphon import CacheInvalidator, MountedStore, open_bus, open_store
from antiphon.caching.events import CacheInvalidatedEvent, CacheTrustEvent
from antiphon.events.delivery import delivery_of
from antiphon.storage.events import StoreModificationEvent

_writing = threading.Lock()


def say(**what: Any) -> None:
    """Tell the director."""
    with _writing:
        print(json.dumps(what), flush=True)


def commands() -> Any:
    """Yield the director's commands until it closes the pipe."""
    for line in sys.stdin:
        yield json.loads(line)


def writer(amqp_url: str, redis_url: str) -> None:
    """Change a store in Redis; every change is an event, for whoever asked."""
    with open_bus(amqp_url, origin="writer") as bus:
        store = open_store(redis_url, event_manager=bus)
        store.connect()
        say(ready=True)
        for command in commands():
            began = time.perf_counter()
            data = command["value"].encode()
            store.from_bytes(command["key"], data)
            say(wrote=command["key"], ms=(time.perf_counter() - began) * 1e3)


def listener(amqp_url: str, redis_url: str) -> None:
    """Hear of the changes of one key, whichever process makes them."""
    with open_bus(amqp_url, origin="listener") as bus:

        def heard(event: StoreModificationEvent) -> None:
            delivery = delivery_of(event)
            assert delivery is not None
            say(
                heard=event.key,
                kind=type(event).__name__,
                ms=(time.time_ns() - delivery.time_ns) / 1e6,
            )

        bus.on_state(lambda state: say(state=state))
        bus.connect(StoreModificationEvent, heard, filter={"key": "prices/eur"}, origin="catalogue")
        say(ready=True)
        for _ in commands():
            say(received=bus.stats().received)


def reader(amqp_url: str, redis_url: str) -> None:
    """Read through a cache in memory that the whole cluster keeps right."""
    with open_bus(amqp_url, origin="reader") as bus:
        catalogue = open_store(redis_url, event_manager=bus)
        prices = MountedStore("prices/", open_store("memory:"), catalogue, fill=True)
        prices.connect()

        def invalidated(event: CacheInvalidatedEvent) -> None:
            latency_s = event.latency_s
            say(
                invalidated=event.key,
                dropped=event.dropped,
                ms=None if latency_s is None else latency_s * 1e3,
            )

        bus.connect(CacheInvalidatedEvent, invalidated)
        bus.connect(CacheTrustEvent, lambda event: say(trusted=event.trusted))
        with CacheInvalidator(prices, bus):
            say(ready=True)
            for command in commands():
                before = prices.cache_stats().hits
                began = time.perf_counter()
                value = prices.get(command["key"]).data.read()
                took = time.perf_counter() - began
                say(
                    read=command["key"],
                    value=value.decode(),
                    us=took * 1e6,
                    from_cache=prices.cache_stats().hits > before,
                )


def main() -> None:
    """Run the role named by the first argument against the two URLs that follow."""
    role, amqp_url, redis_url = sys.argv[1:]
    # The director tells of lost connections; the same from a log would only distract.
    logging.getLogger("antiphon").addHandler(logging.NullHandler())
    with contextlib.suppress(KeyboardInterrupt):
        {"writer": writer, "listener": listener, "reader": reader}[role](amqp_url, redis_url)


if __name__ == "__main__":
    main()
