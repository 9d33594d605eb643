"""Trap 10: one event that kills its listener's process takes no other with it."""

from __future__ import annotations

import subprocess
import sys
import threading
from typing import Any

from bus_helpers import Heard, Numbered, wait_until

from antiphon import SubscriptionOptions, open_bus
from antiphon.messaging.browser import browsers
from antiphon.messaging.dead_letters import dead_queue

POISON = 150

_SUBSCRIBER = """
import os, sys
from antiphon import SubscriptionOptions, open_bus
from antiphon.events.api import BaseEvent

class Numbered(BaseEvent):
    wire_name = "test:Numbered"

def handle(event):
    if event.number == int(sys.argv[4]):
        os._exit(3)
    # One write: a line is there or not, also when the process is killed.
    os.write(1, b"%d\\n" % event.number)

url, system, mode = sys.argv[1:4]
bus = open_bus(url, system=system)
bus.subscribe(
    "books", Numbered, handle, mode=mode,
    options=SubscriptionOptions(prefetch=50, delivery_limit=2),
)
sys.stdin.read()
bus.close()
"""


def run_until_quiet(url: str, system: str, mode: str, count: int) -> tuple[list[int], int]:
    """Start the subscriber as often as it dies; return what it handled, and how often it died."""
    lines: list[int] = []
    deaths = 0
    while deaths < 12:
        process = subprocess.Popen(
            [sys.executable, "-c", _SUBSCRIBER, url, system, mode, str(POISON)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None
        stdout = process.stdout
        reader = threading.Thread(target=lambda out=stdout: lines.extend(map(int, out)))
        reader.start()
        try:
            wait_until(
                lambda process=process: process.poll() is not None or len(set(lines)) >= count,
                "it has died, or all is handled",
            )
            if process.poll() is None:
                process.communicate(timeout=20)
                return lines, deaths
        finally:
            process.kill()
            process.wait()
            reader.join()
            process.stdout.close()
            if process.stdin is not None:
                process.stdin.close()
        deaths += 1
    return lines, deaths


def test_only_the_poison_becomes_a_dead_letter(amqp_url: str, system: str) -> None:
    """A listener that ends its process at one event of many, in batches, with prefetch 50."""
    with open_bus(amqp_url, system=system) as sender:
        sender.subscribe(
            "books", Numbered, Heard(), mode="single", options=SubscriptionOptions()
        ).close()
        for number in range(200):
            sender.emit(Numbered(number=number))
        sender.flush(20)
        for number in range(200, 300):  # messages of their own, in the same hand
            sender.emit(Numbered(number=number))
            sender.flush(20)
    handled, deaths = run_until_quiet(amqp_url, system, "single", 299)
    with browsers.load(amqp_url)(amqp_url, name="test") as browser:
        letters: list[Any] = []
        while (found := browser.get(dead_queue(system))) is not None:
            letters.append(found.message)
            browser.acknowledge(found)
        left = [browser.depth(f"{system}.{kind}.books") for kind in ("sub", "retry")]
    with open_bus(amqp_url, system=system) as bus:
        numbers = [event.number for one in letters for event in bus._decode(one)]  # type: ignore[attr-defined]

    assert [POISON] == numbers
    assert set(range(300)) - {POISON} == set(handled)
    assert "crashed" == letters[0].headers["antiphon-reason"]
    assert deaths <= 4  # twice in its batch, twice alone
    assert [0, 0] == [depth.ready for depth in left if depth is not None]


def test_killing_a_subscriber_loses_nothing(amqp_url: str, system: str) -> None:
    """Killed in the midst, the next goes on where it was; only what was in hand is repeated."""
    with open_bus(amqp_url, system=system) as sender:
        sender.subscribe("books", Numbered, Heard(), mode="single").close()
        for number in range(200, 230):
            sender.emit(Numbered(number=number))
            sender.flush(20)
        sender.emit(Numbered(number=POISON))
        for number in range(230, 260):
            sender.emit(Numbered(number=number))
        sender.flush(20)
    handled, deaths = run_until_quiet(amqp_url, system, "single", 60)
    first_time = list(dict.fromkeys(handled))

    assert list(range(200, 260)) == first_time
    assert deaths <= 4
