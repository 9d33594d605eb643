"""Keep a local copy of what others write, and never an old one.

    python examples/cache.py amqp://localhost redis://localhost/0?namespace=catalogue

Two processes in one: the shop writes prices; the till reads them from a cache
in its memory, which the shop's events keep right.
"""

import sys
import time

from antiphon import CacheInvalidator, MountedStore, StringValue, open_bus, open_store


def main(bus_url: str, store_url: str) -> None:
    """Write a price twice, and read it from the cache each time."""
    with open_bus(bus_url, origin="shop") as shop_bus, open_bus(bus_url, origin="till") as till_bus:
        shop = open_store(store_url, event_manager=shop_bus)
        catalogue = open_store(store_url, event_manager=till_bus)
        shop.connect()

        # Reads fill the memory; events of the store, from any process, empty it.
        till = MountedStore("prices/", open_store("memory:"), catalogue, fill=True)
        till.connect()
        invalidator = CacheInvalidator(till, till_bus)
        invalidator.start()

        for price in (b"1.20", b"1.35"):
            shop.set("prices/bread", StringValue(price))
            while (read := till.get("prices/bread").data.read()) != price:
                time.sleep(0.001)  # the event is on its way: milliseconds
            print("bread costs", read.decode())

        invalidator.stop()
        till.disconnect()
        for store in (shop, catalogue):  # a mounted store leaves its own two connected
            store.disconnect()


if __name__ == "__main__":
    main(*sys.argv[1:3])
