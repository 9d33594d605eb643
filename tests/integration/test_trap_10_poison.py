"""Trap 10: one event that kills its listener's process takes no other with it."""

from __future__ import annotations

import subprocess
import sys
import threading
from typing import Any

from bus_helpers import Heard, Numbered, wait_until

from antiphon import open_bus
from antiphon.messaging.browser import browsers
from antiphon.messaging.dead_letters import dead_queue

POISON = 50

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
    """A listener that ends its process at one event of many, in batches, with prefetch 50.

    All others are handled, and for the first time in their order.
    """
    with open_bus(amqp_url, system=system) as sender:
        sender.subscribe("books", Numbered, Heard(), mode="single").close()
        for number in range(80):
            sender.emit(Numbered(number=number))
        sender.flush(20)
        for number in range(80, 110):  # messages of their own, in the same hand
            sender.emit(Numbered(number=number))
            sender.flush(20)
    handled, deaths = run_until_quiet(amqp_url, system, "single", 109)
    with browsers.load(amqp_url)(amqp_url, name="test") as browser:
        letters: list[Any] = []
        while (found := browser.get(dead_queue(system))) is not None:
            letters.append(found.message)
            browser.acknowledge(found)
        left = [browser.depth(f"{system}.{kind}.books") for kind in ("sub", "retry")]
    with open_bus(amqp_url, system=system) as bus:
        dead: list[Any] = [event for one in letters for event in bus._decode(one)]

    assert [POISON] == [event.number for event in dead]
    assert [number for number in range(110) if number != POISON] == list(dict.fromkeys(handled))
    assert "crashed" == letters[0].headers["antiphon-reason"]
    assert deaths <= 4  # twice in its batch, twice alone
    assert [0, 0] == [depth.ready for depth in left if depth is not None]


def test_one_poison_of_a_large_message_becomes_a_dead_letter(amqp_url: str, system: str) -> None:
    """A bulk puts up to 1000 events into one message; the other 999 are handled all the same."""
    numbers = range(POISON - 20, POISON + 980)
    with open_bus(amqp_url, system=system) as sender:
        sender.subscribe("books", Numbered, Heard(), mode="single").close()
        with sender.gather() as bulk:
            for number in numbers:
                sender.emit(Numbered(number=number))
                bulk.emitted()
        sender.flush(20)
        messages = sender.stats().messages
    handled, deaths = run_until_quiet(amqp_url, system, "single", 999)
    with browsers.load(amqp_url)(amqp_url, name="test") as browser:
        letter: Any = browser.get(dead_queue(system))
        browser.acknowledge(letter)
        left = [browser.depth(f"{system}.{kind}.books") for kind in ("sub", "retry")]
    with open_bus(amqp_url, system=system) as bus:
        dead: list[Any] = bus._decode(letter.message)

    assert messages < 100
    assert [POISON] == [event.number for event in dead]
    assert [number for number in numbers if number != POISON] == list(dict.fromkeys(handled))
    assert deaths <= 4
    assert [0, 0] == [depth.ready for depth in left if depth is not None]
