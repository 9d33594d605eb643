"""Streams and the roll call on a real broker, across processes."""

from __future__ import annotations

import asyncio
import json

import pytest
from bus_helpers import Numbered, python

from antiphon import BaseEvent, open_bus
from antiphon.cli.main import run

READER = """
import asyncio, sys
from antiphon import BaseEvent, open_bus

class Numbered(BaseEvent):
    wire_name = "test:Numbered"

async def main(url, system):
    with open_bus(url, system=system, origin="reader") as bus:
        bus.connect(Numbered, lambda event: None, origin="elsewhere")
        async with bus.stream(Numbered, subscription="work") as stream:
            print("reading", flush=True)
            async for event in stream:
                print(event.number, flush=True)
                if event.number == int(sys.argv[3]):
                    await asyncio.sleep(60)

asyncio.run(main(*sys.argv[1:3]))
"""


async def rest(url: str, system: str, last: int) -> list[int]:
    """Read what is left, up to the number *last*, and delete the subscription."""
    found: list[int] = []
    with open_bus(url, system=system) as bus:
        async with bus.stream(Numbered, subscription="work") as stream:
            async for event in stream:
                found.append(event.number)
                if event.number == last:
                    break
        bus.subscribe("work", Numbered, print).delete()
    return found


def test_a_killed_reader_loses_nothing(amqp_url: str, system: str) -> None:
    """What a reader had at hand when it was killed is read by the next; so is all behind it."""
    with (
        python(READER, amqp_url, system, "30") as reader,
        open_bus(amqp_url, system=system) as bus,
    ):
        assert reader.stdout is not None
        assert "reading\n" == reader.stdout.readline()
        for number in range(100):
            bus.emit(Numbered(number=number))
        bus.flush(20)
        first = [int(reader.stdout.readline()) for _ in range(31)]
        reader.kill()
        reader.wait(20)

        second = asyncio.run(asyncio.wait_for(rest(amqp_url, system, 99), 60))

    assert list(range(31)) == first
    # Events that travelled in one message come again together.
    assert set(range(30, 100)) <= set(second)
    assert sorted(set(second)) == list(dict.fromkeys(second))


def test_the_topology_of_processes(
    amqp_url: str, system: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another process is seen with its listeners, its queue and what waits in it."""
    with (
        python(READER, amqp_url, system, "0") as reader,
        open_bus(amqp_url, system=system) as bus,
    ):
        assert reader.stdout is not None
        assert "reading\n" == reader.stdout.readline()
        for number in range(3):
            bus.emit(Numbered(number=number))
        bus.emit(BaseEvent())
        bus.flush(10)
        assert "0\n" == reader.stdout.readline()

        arguments = ["--url", amqp_url, "--system", system, "--wait", "0.5", "--json"]
        assert 0 == run(["topology", *arguments])
        told = json.loads(capsys.readouterr().out)
        reader.kill()
        reader.wait(20)
        bus.subscribe("work", Numbered, print).delete()

    (process,) = [one for one in told["processes"] if one["origin"] == "reader"]
    assert reader.pid == process["pid"]
    assert ["test:Numbered from elsewhere"] == process["listens_to"]
    (queue,) = told["queues"]
    assert (f"{system}.sub.work", 1, ["test:Numbered"]) == (
        queue["name"],
        queue["consumers"],
        queue["listens_to"],
    )
    assert 1 <= queue["ready"] + queue["unacknowledged"]
    assert 2 == len(told["processes"])
