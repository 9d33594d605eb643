"""Tell everybody about the weather, until Ctrl-C.

    python examples/publisher.py amqp://localhost berlin

Beside it, in other terminals, examples/subscriber.py, and

    antiphon listen amqp://localhost --class weather:Measured
"""

import random
import sys
import time

from antiphon import BaseEvent, open_bus


class Measured(BaseEvent):
    """Somebody has looked at a thermometer; ``celsius`` says what it showed."""

    wire_name = "weather:Measured"


def main(url: str, town: str, count: int = sys.maxsize) -> None:
    """Emit *count* measurements of *town*, one a second."""
    with open_bus(url, origin=f"weather.{town}") as bus:
        for number in range(count):
            if number:
                time.sleep(1)
            # It returns at once, also with the broker gone: the event goes out when that is back.
            bus.emit(Measured(celsius=round(random.gauss(15, 4), 1)))
            print("emitted", number + 1)
        bus.flush(10)  # the broker has them


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:4]))
