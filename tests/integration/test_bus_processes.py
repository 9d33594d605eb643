"""Buses in many threads, in forked children, and in programs that end without closing them."""

from __future__ import annotations

import itertools
import os
import signal
import socket
import threading
import time
from collections import defaultdict

import pika
import pytest
from bus_helpers import Heard, Numbered, python, wait_until

from antiphon import open_bus
from antiphon.errors import BrokerRefused, BrokerUnavailable, BusClosed
from antiphon.testing.broker_control import count_queues
from antiphon.testing.servers import RabbitMQ

_EMITTER = """
import sys
from antiphon import open_bus
from antiphon.events.api import BaseEvent

class Numbered(BaseEvent):
    wire_name = "test:Numbered"

bus = open_bus(sys.argv[1], system=sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
for number in range(int(sys.argv[3])):
    bus.emit(Numbered(number=number))
"""


def test_fifty_threads(amqp_url: str, system: str) -> None:
    """Fifty threads emit at once: nothing is lost, doubled or, within a thread, reordered."""
    heard = Heard()
    with open_bus(amqp_url, system=system) as sender, open_bus(amqp_url, system=system) as receiver:
        receiver.connect(Numbered, heard)
        start = threading.Barrier(50)

        def emit(name: int) -> None:
            start.wait()
            for number in range(40):
                sender.emit(Numbered(thread=name, number=number))

        threads = [threading.Thread(target=emit, args=(name,)) for name in range(50)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        sender.flush(30)
        heard.wait(2000)

        series: dict[int, list[int]] = defaultdict(list)
        for event in heard.events:
            series[event.thread].append(event.number)
        assert {name: list(range(40)) for name in range(50)} == dict(series)
        assert (2000, 0) == (sender.stats().confirmed, sender.stats().reconnects)


def test_order_of_each_publisher(amqp_url: str, system: str) -> None:
    """Two processes emit at once: each one's events come in its order."""
    heard = Heard()
    with (
        open_bus(amqp_url, system=system) as receiver,
        python(_EMITTER, amqp_url, system, "1500") as one,
        python(_EMITTER, amqp_url, system, "1500") as two,
    ):
        receiver.connect(Numbered, heard)
        for process in (one, two):
            assert process.stdout is not None
            assert process.stdin is not None
            assert "ready\n" == process.stdout.readline()
            process.stdin.write("go\n")
            process.stdin.flush()
        heard.wait(3000)

        series: dict[bytes, list[int]] = defaultdict(list)
        for event in heard.events:
            series[event._event_id.publisher].append(event.number)
        assert [list(range(1500))] * 2 == list(series.values())
        assert 3000 == receiver.stats().received


def test_end_without_close(amqp_url: str, system: str) -> None:
    """A program that ends without closing its bus loses nothing and does not hang."""
    heard = Heard()
    with (
        open_bus(amqp_url, system=system) as receiver,
        python(_EMITTER, amqp_url, system, "500") as process,
    ):
        receiver.connect(Numbered, heard)
        began = time.monotonic()
        _output, errors = process.communicate("go\n", timeout=30)
        took_s = time.monotonic() - began

        heard.wait(500)
        assert (0, "") == (process.returncode, errors)
        assert took_s < 10


def test_end_while_the_broker_hangs(broker: RabbitMQ, broker_url: str) -> None:
    """A program ends in seconds though the broker answers nothing, and says what is lost."""
    with python(_EMITTER, broker_url, "antiphon", "5") as process:
        assert process.stdout is not None
        assert "ready\n" == process.stdout.readline()
        broker.pause()
        began = time.monotonic()
        _output, errors = process.communicate("go\n", timeout=60)
        took_s = time.monotonic() - began
        broker.resume()

        assert 0 == process.returncode
        assert "5 events that the broker has not confirmed" in errors
        assert "Traceback" not in errors
        assert took_s < 12


def test_fork_in_the_middle_of_publishing(amqp_url: str, system: str) -> None:
    """A child that is forked while threads publish breaks no frame, and is told to open its own."""
    heard = Heard()
    with open_bus(amqp_url, system=system) as sender, open_bus(amqp_url, system=system) as receiver:
        receiver.connect(Numbered, heard)
        stop, numbers = threading.Event(), itertools.count()

        def emit() -> None:
            while not stop.is_set():
                sender.emit(Numbered(number=next(numbers)))
                stop.wait(0.0005)

        threads = [threading.Thread(target=emit) for _ in range(4)]
        for thread in threads:
            thread.start()
        for _ in range(5):
            before = len(heard.events)
            child = os.fork()
            if child == 0:
                os._exit(_in_the_child(sender))
            assert 0 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            wait_until(lambda before=before: len(heard.events) > before + 50, "events flow on")
        stop.set()
        for thread in threads:
            thread.join()
        sender.flush(30)
        count = next(numbers)
        heard.wait(count)

        assert sorted(range(count)) == sorted(heard.numbers)
        assert (0, 0) == (sender.stats().reconnects, receiver.stats().reconnects)
        assert (0, 0) == (sender.stats().corrupt, receiver.stats().corrupt)


def _in_the_child(bus: object) -> int:
    """Use the parent's bus in every way, and return the exit status."""
    signal.alarm(20)  # a child that hangs is a failure, not a hanging test
    for act in (
        lambda: bus.emit(Numbered()),  # type: ignore[attr-defined]
        lambda: bus.connect(Numbered, print),  # type: ignore[attr-defined]
        lambda: bus.flush(5),  # type: ignore[attr-defined]
    ):
        try:
            act()
        except BusClosed as exc:
            if "open a bus in the child" not in str(exc):
                return 2
        else:
            return 3
    bus.close()  # type: ignore[attr-defined]
    return 4 if bus.is_connected else 0  # type: ignore[attr-defined]


def test_child_may_open_its_own(amqp_url: str, system: str) -> None:
    """A forked child opens a bus of its own, with ids of its own."""
    heard = Heard()
    with open_bus(amqp_url, system=system) as bus:
        bus.connect(Numbered, heard)
        child = os.fork()
        if child == 0:
            signal.alarm(30)
            with open_bus(amqp_url, system=system) as own:
                own.emit(Numbered(number=os.getpid()))
                own.flush(10)
            os._exit(0)
        assert 0 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        bus.emit(Numbered(number=0))

        heard.wait(2)
        publishers = {event._event_id.publisher for event in heard.events}
        assert {child, 0} == set(heard.numbers)
        assert 2 == len(publishers)


def test_parent_that_dies_leaves_no_queue(broker: RabbitMQ, broker_url: str) -> None:
    """A child that lives on does not keep its dead parent's connection, and queue, alive."""
    source = """
import os, sys, time
from antiphon import open_bus
bus = open_bus(sys.argv[1])
if os.fork() == 0:
    print(os.getpid(), flush=True)
    time.sleep(60)
    os._exit(0)
sys.stdin.read()
"""
    before = count_queues(broker)
    with python(source, broker_url) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        try:
            parent.kill()
            took_s = wait_until(lambda: count_queues(broker) == before, "its queue has gone")
        finally:
            os.kill(child, signal.SIGKILL)

    assert took_s < 3  # sooner than any heartbeat


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (("guest:guest@", "guest:wrong@"), BrokerRefused, "user 'guest' with the password given"),
        (("guest:guest@", "nobody:guest@"), BrokerRefused, "user 'nobody'"),
        (("/test-", "/no-"), BrokerRefused, "there is none of that name.*add_vhost no-"),
    ],
)
def test_refused(
    broker: RabbitMQ,
    broker_url: str,
    change: tuple[str, str],
    error: type[Exception],
    message: str,
) -> None:
    """A wrong password, user or virtual host is one error at once, without the password."""
    with pytest.raises(error, match=message) as caught:
        open_bus(broker_url.replace(*change))

    assert "wrong" not in str(caught.value)


def test_empty_virtual_host(broker: RabbitMQ) -> None:
    """A URL that ends in a slash names the empty virtual host, and is told so."""
    with pytest.raises(BrokerRefused, match=r"the URL ends in '/'.*leave the slash out"):
        open_bus(f"{broker.amqp_url.rstrip('/')}/")


def test_no_broker_there(caplog: pytest.LogCaptureFixture) -> None:
    """A port where nothing listens is an error at once that names it, and the only one."""
    with pytest.raises(BrokerUnavailable, match=r"127\.0\.0\.1:1: the connection was refused"):
        open_bus("amqp://127.0.0.1:1")

    assert "Traceback" not in caplog.text
    assert not [record for record in caplog.records if record.name.startswith("pika")]


def test_unknown_host() -> None:
    """A host that does not exist is named."""
    with pytest.raises(BrokerUnavailable, match=r"no-such-host\.invalid"):
        open_bus("amqp://no-such-host.invalid")


def test_something_else_listens_there() -> None:
    """A port where something silent listens is given up in time."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        began = time.monotonic()
        with pytest.raises(BrokerUnavailable, match=rf"127\.0\.0\.1:{port}.*did not answer"):
            open_bus(f"amqp://127.0.0.1:{port}", connect_timeout_s=0.5)

    assert time.monotonic() - began < 5


def test_exchange_of_another_kind(broker: RabbitMQ, broker_url: str) -> None:
    """An exchange of our name that is no topic exchange is one clear error."""
    with pika.BlockingConnection(pika.URLParameters(broker_url)) as connection:
        connection.channel().exchange_declare("odd.events", "fanout")

    with pytest.raises(BrokerRefused, match=r"inequivalent arg 'type' for exchange 'odd\.events'"):
        open_bus(broker_url, system="odd")
