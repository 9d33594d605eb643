"""Hear about the weather, in two ways.

    python examples/subscriber.py amqp://localhost

The first hears what happens while it runs.  The second has a name, under which
the broker keeps what happens while it does not: stop it, and start it again.
"""

import asyncio
import sys

from antiphon import BaseEvent, Prefix, delivery_of, open_bus


class Measured(BaseEvent):
    """The same class as the publisher's: they share a name, and no code."""

    wire_name = "weather:Measured"


async def main(url: str, count: int = sys.maxsize) -> None:
    """Print measurements until the named stream has had *count*."""
    with open_bus(url) as bus:

        @bus.listener(Measured, origin=Prefix("weather"))
        def warn(event: Measured) -> None:
            if event.celsius < 10:
                print("it is cold:", event.celsius, flush=True)

        async with bus.stream(Measured, subscription="weather-log") as measurements:
            print("listening", flush=True)
            read = 0
            async for event in measurements:
                delivery = delivery_of(event)
                place = delivery.origin if delivery else "here"
                print(f"{place}: {event.celsius} degrees", flush=True)
                read += 1
                if read == count:
                    break  # leaving the block without an exception: it is handled


if __name__ == "__main__":
    try:
        asyncio.run(main(sys.argv[1], *map(int, sys.argv[2:3])))
    except KeyboardInterrupt:
        print("bye")
