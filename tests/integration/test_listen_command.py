"""``antiphon listen``: how a person subscribes, from any process."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from antiphon import BaseEvent, open_bus, open_store
from antiphon.storage.string_value import StringValue
from antiphon.testing.servers import RabbitMQ

COMMAND = [sys.executable, "-m", "antiphon.cli.main", "listen"]

Listening = subprocess.Popen[str]


class Parcel(BaseEvent):
    """A class that the command cannot import."""


class Delivered(Parcel):
    """One below it."""


@contextmanager
def listening(*arguments: str, cwd: Path | None = None) -> Iterator[Listening]:
    """Run the command, and go on when it listens."""
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
    )
    alarm = threading.Timer(60, process.kill)
    alarm.start()
    try:
        assert process.stderr is not None
        assert "listening on" in process.stderr.readline()
        yield process
    finally:
        alarm.cancel()
        process.kill()
        process.communicate()


def run(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run the command to its end."""
    return subprocess.run(
        [*COMMAND, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | environment,
    )


def test_it_prints_what_was_asked_for_and_no_more(
    amqp_url: str, redis_url: str, system: str
) -> None:
    """Class, origin and filter choose; --count ends it with status 0."""
    arguments = ["--class", "StoreModificationEvent", "--origin", "catalogue"]
    arguments += ["--filter", "key=prices/eur", "--count", "2", "--system", system, "--json"]
    with listening(amqp_url, *arguments) as process, open_bus(amqp_url, system=system) as bus:
        for namespace in ("other", "catalogue"):
            store = open_store(f"{redis_url}?namespace={namespace}", event_manager=bus)
            store.connect()
            store.set("prices/usd", StringValue(b"0"))
            store.set("prices/eur", StringValue(b"1", {"n": 1}))
            store.set("prices/eur", StringValue(b"2"))
            store.disconnect()
        output, _ = process.communicate(timeout=30)
        told = [json.loads(line) for line in output.splitlines()]

        assert 0 == process.returncode
        assert ["antiphon:StoreSetEvent", "antiphon:StoreUpdateEvent"] == [t["class"] for t in told]
        assert {"key": "prices/eur", "metadata": {"n": 1}} == told[0]["attributes"]
        assert "catalogue" == told[0]["source"]["origin"]


def test_a_class_that_is_not_importable_is_heard(amqp_url: str, system: str) -> None:
    """Classes are bound by name; subclasses are heard, with all their attributes."""
    name = f"{Parcel.__module__.partition('.')[0]}:Parcel"
    arguments = ["--class", name, "--count", "1", "--system", system]
    with listening(amqp_url, *arguments) as process, open_bus(amqp_url, system=system) as bus:
        bus.emit(BaseEvent(number=1))
        bus.emit(Delivered(number=2, to="me"))
        output, _ = process.communicate(timeout=30)

        assert "number=2 to='me'" in output
        assert "Delivered" in output


def test_origin_prefixes_and_typed_filters(amqp_url: str, system: str) -> None:
    """A prefix takes what is below it; a filter value is JSON where it can be."""
    arguments = ["--origin-prefix", "shop.berlin", "--filter", "n=5"]
    arguments += ["--count", "1", "--json", "--system", system]
    with listening(amqp_url, *arguments) as process, open_bus(amqp_url, system=system) as bus:
        for origin, n in (("shop.rome", 5), ("shop.berlin.till", "5"), ("shop.berlin.till", 5)):
            bus.emit(BaseEvent(origin=origin, n=n))
        output, _ = process.communicate(timeout=30)

        assert {"origin": "shop.berlin.till", "n": 5} == json.loads(output)["attributes"]


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["ctrl-c", "term"]
)
def test_signals_end_it_without_a_word(
    amqp_url: str, system: str, number: signal.Signals, status: int
) -> None:
    """Ctrl-C and SIGTERM end with the statuses that shells expect, and no traceback."""
    with listening(amqp_url, "--system", system) as process:
        process.send_signal(number)
        output, errors = process.communicate(timeout=30)

        assert (status, "", "") == (process.returncode, output, errors)


def test_a_closed_pipe_ends_it(amqp_url: str, system: str) -> None:
    """``| head`` that has had enough ends the command although no event comes."""
    with listening(amqp_url, "--system", system) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None

        assert 141 == process.wait(30)
        assert "" == process.stderr.read()


def test_a_lost_connection_is_said_and_survived(
    broker: RabbitMQ, broker_url: str, system: str
) -> None:
    """Standard error tells of the loss and of the return; events flow again."""
    with listening(broker_url, "--count", "1", "--system", system) as process:
        broker.restart()
        assert process.stderr is not None
        said = [process.stderr.readline() for _ in range(3)]
        with open_bus(broker_url, system=system) as bus:
            bus.emit(BaseEvent(number=1))
            output, _ = process.communicate(timeout=30)

        assert "lost" in said[0]
        assert "again" in said[1]
        assert "events may be missing since" in said[2]
        assert "number=1" in output


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["amqp://127.0.0.1:1"], 1, "no broker can be reached at 127.0.0.1:1"),
        (["amqpp://x"], 1, "did you mean 'amqp'"),
        ([], 2, "ANTIPHON_AMQP_URL"),
        (["memory:", "--filter", "x"], 2, "NAME=VALUE"),
        (["memory:", "--count", "0"], 2, "--count"),
        (["memory:", "--origin", "a.*"], 2, "--origin-prefix a"),
        (["memory:", "--module", "no_such_module"], 2, "cannot import 'no_such_module'"),
        (["memory:", "--system", "a b"], 1, "system is 1 to 100"),
    ],
)
def test_what_is_wrong_is_one_clear_message(arguments: list[str], status: int, says: str) -> None:
    """No traceback reaches a person, and the status tells usage from failure."""
    done = run(*arguments, ANTIPHON_AMQP_URL="")

    assert status == done.returncode
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert "" == done.stdout


def test_a_wrong_password_is_not_printed(amqp_url: str) -> None:
    """The message names what was refused, and keeps the secret."""
    done = run(amqp_url.replace(":guest@", ":sesame@"))

    assert 1 == done.returncode
    assert "password" in done.stderr
    assert "sesame" not in done.stderr
    assert 1 == done.stderr.count("\n")


def test_a_users_module_makes_its_classes_known(amqp_url: str, system: str, tmp_path: Path) -> None:
    """--module imports from where one stands, so a short name is enough."""
    (tmp_path / "shopping.py").write_text(
        "from antiphon import BaseEvent\n\nclass Bought(BaseEvent):\n    pass\n"
    )
    arguments = ["--module", "shopping", "--class", "Bought", "--count", "1", "--system", system]
    bought = type("Bought", (BaseEvent,), {"__module__": "shopping"})
    with (
        listening(amqp_url, *arguments, cwd=tmp_path) as process,
        open_bus(amqp_url, system=system) as bus,
    ):
        bus.emit(bought(what="milk"))
        output, _ = process.communicate(timeout=30)

        assert "Bought" in output
        assert "what='milk'" in output


def test_a_poor_encoding_fails_nothing(amqp_url: str, system: str) -> None:
    """What the output's encoding lacks is escaped."""
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    argv = [*COMMAND, amqp_url, "--system", system, "--count", "1"]
    with subprocess.Popen(
        argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stderr is not None
        process.stderr.readline()
        with open_bus(amqp_url, system=system, origin="grün") as bus:
            bus.emit(BaseEvent(text="日本"))
        output, errors = process.communicate(timeout=30)

    assert "gr\\xfcn  text='\\u65e5\\u672c'" in output
    assert "" == errors


def test_a_closed_output(amqp_url: str, system: str) -> None:
    """Without any output there is nothing to do, and nothing to say."""
    with open_bus(amqp_url, system=system) as bus:
        process = subprocess.Popen(
            ["sh", "-c", 'exec "$@" >&-', "sh", *COMMAND, amqp_url, "--system", system],
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr is not None
        process.stderr.readline()
        bus.emit(BaseEvent())
        _, errors = process.communicate(timeout=30)

    assert (141, "") == (process.returncode, errors)


def test_a_subscription_misses_nothing(amqp_url: str, system: str) -> None:
    """Under a name events wait while the command does not run; --count takes so many."""
    arguments = ["--subscription", "watch", "--class", "test:Parcel", "--system", system]
    parcel = type("Parcel", (BaseEvent,), {"wire_name": "test:Parcel"})
    first = [*COMMAND, amqp_url, *arguments, "--count", "1", "--json"]
    with open_bus(amqp_url, system=system) as bus:
        with subprocess.Popen(
            first, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stderr is not None
            while "listening on" not in process.stderr.readline():
                continue
            for number in range(3):
                bus.emit(parcel(number=number))
            bus.emit(BaseEvent(number="other"))
            bus.flush(10)
            output, _ = process.communicate(timeout=30)
        done = run(amqp_url, *arguments, "--count", "2", "--json")
        printed = [*output.splitlines(), *done.stdout.splitlines()]

        bus.subscribe("watch", parcel, print).delete()

    assert [0, 1, 2] == [json.loads(line)["attributes"]["number"] for line in printed]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["memory:", "--group"], "--subscription"),
        (["memory:", "--subscription", "a b"], "1 to 100 letters"),
        (["memory:", "--url", "memory:"], "once"),
    ],
)
def test_wrong_subscriptions(arguments: list[str], says: str) -> None:
    """What makes no sense is a wrong call."""
    done = run(*arguments)

    assert 2 == done.returncode
    assert says in done.stderr
