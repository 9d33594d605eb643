"""``antiphon emit``: events from a shell."""

from __future__ import annotations

import io
import json
import secrets
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest

from antiphon import BaseEvent, BrokerEventManager, open_bus
from antiphon.cli.main import run
from antiphon.cli.printing import as_json
from antiphon.events.delivery import delivery_of
from antiphon.messaging.memory import MemoryBroker
from antiphon.storage.events import StoreEvent, StoreSetEvent
from antiphon.wire.registry import default_registry
from antiphon.wire.source import RemoteSource


class Drawn(BaseEvent):
    """An event that wants arguments which no shell has."""

    wire_name = "test_emit:Drawn"

    def __init__(self, source: object, canvas: object) -> None:
        raise AssertionError("a constructor was called")


class Kept(BaseEvent):
    """An event that stays in its process."""

    travels = False
    wire_name = "test_emit:Kept"


@pytest.fixture
def url() -> str:
    return f"memory://{secrets.token_hex(6)}"


@pytest.fixture
def bus(url: str) -> Iterator[BrokerEventManager]:
    with open_bus(url) as bus:
        yield bus


@pytest.fixture
def heard(bus: BrokerEventManager) -> list[Any]:
    """What was emitted, as far as it has arrived."""
    events: list[Any] = []
    bus.connect(BaseEvent, events.append)
    return events


def emit(url: str, *arguments: str) -> int:
    """Run the command, and return its status."""
    return run(["emit", *arguments, "--url", url])


def arrived(bus: BrokerEventManager, events: list[Any], count: int = 1) -> list[Any]:
    """Return *events* once there are *count*: closing a bus waits for what has come."""
    bus.close()
    assert count == len(events)
    return events


def test_a_class_that_nobody_has(
    bus: BrokerEventManager, url: str, heard: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """An event is emitted by the name of its class alone; values are JSON or text."""
    assert 0 == emit(url, "nowhere:Saved", "name=letter", "size=17", 'raw={"base64": "AP8="}')
    (event,) = arrived(bus, heard)
    assert ("letter", 17, b"\x00\xff") == (event.name, event.size, event.raw)
    assert ("antiphon:BaseEvent", "nowhere:Saved") == default_registry.names_of(type(event))
    told = capsys.readouterr().out
    assert told == f"emitted nowhere:Saved {event._event_id}: confirmed by the broker\n"


def test_a_class_that_is_known(bus: BrokerEventManager, url: str, heard: list[Any]) -> None:
    """A bare name means the class of that name; no constructor is called."""
    assert 0 == emit(url, "Drawn", "n=1")
    assert [Drawn] == [type(event) for event in arrived(bus, heard)]


def test_store_events(bus: BrokerEventManager, url: str) -> None:
    """Events of stores are told by key, metadata and source, and heard by their base class."""
    events: list[Any] = []
    bus.connect(StoreEvent, events.append, filter={"key": "a/b"}, origin="catalogue")
    source = {"kind": "RedisStore", "origin": "catalogue", "store_id": str(UUID(int=5))}

    assert 0 == emit(
        url, "StoreSetEvent", "key=a/b", 'metadata={"n": 1}', "--source", json.dumps(source)
    )
    (event,) = arrived(bus, events)
    assert (StoreSetEvent, {"n": 1}) == (type(event), event.metadata)
    assert RemoteSource("RedisStore", "catalogue", UUID(int=5)) == event.source


def test_origin_wins_over_the_source(bus: BrokerEventManager, url: str, heard: list[Any]) -> None:
    """--origin is where the event comes from, and no attribute of it."""
    source = '{"kind": "Store", "origin": "elsewhere"}'
    assert 0 == emit(url, "x:Y", "--origin", "shop.berlin", "--source", source)
    (event,) = arrived(bus, heard)
    delivery = delivery_of(event)
    assert delivery is not None
    assert ("shop.berlin", "elsewhere") == (delivery.origin, event.source.origin)
    assert "origin" not in vars(event)


def test_bases(bus: BrokerEventManager, url: str) -> None:
    """Listeners of a base that was named hear a class that nobody has."""
    events: list[Any] = []
    bus.connect_named("nowhere:Changed", events.append)

    assert 0 == emit(url, "nowhere:Saved", "--base", "nowhere:Changed", "--count", "3")
    assert 3 == len(arrived(bus, events, 3))


def test_what_listen_prints_can_be_emitted(
    bus: BrokerEventManager, url: str, heard: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lines of ``antiphon listen --json`` become the same events again, with new ids."""
    arguments = ["key=k", "metadata={}", "--origin", "shop"]
    emit(url, "StoreSetEvent", *arguments, "--source", '{"kind": "S"}')
    emit(url, "nowhere:Saved", "--base", "nowhere:Changed", "n=1")
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(map(as_json, list(heard))) + "\n\n"))

    assert 0 == emit(url, "--stdin")
    events = arrived(bus, heard, 4)
    told = [json.loads(as_json(event)) for event in events]
    for one in told:
        del one["time"], one["id"]
    assert told[:2] == told[2:]
    assert 4 == len({event._event_id for event in events})


def test_what_lines_leave_out(
    bus: BrokerEventManager, url: str, heard: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """CLASS and --origin hold for lines that do not say."""
    monkeypatch.setattr("sys.stdin", io.StringIO('{"attributes": {"n": 1}}\n{"origin": "b"}'))

    assert 0 == emit(url, "x:Y", "--stdin", "--origin", "a")
    origins = [event._delivery.origin for event in arrived(bus, heard, 2)]
    assert ["a", "b"] == origins


def test_nobody_listens(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It is said when no queue took the event; --expect-listener makes it a status."""
    assert 0 == emit(url, "x:Y")
    assert "; nobody listens" in capsys.readouterr().out
    assert 3 == emit(url, "x:Y", "--count", "2", "--expect-listener", "--json")
    told = json.loads(capsys.readouterr().out)
    assert (2, 2, 2) == (told["emitted"], told["confirmed"], told["unheard"])


def test_a_broker_that_does_not_confirm(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It ends after --timeout, and says what became of the events: nobody keeps them."""
    MemoryBroker.named(url.removeprefix("memory://")).hold_confirms()

    assert 1 == emit(url, "x:Y", "--count", "3", "--timeout", "0.05")
    told = capsys.readouterr()
    assert "has confirmed 0 of 3 events within 0.05 s" in told.err
    assert "given up" in told.err
    assert "" == told.out


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        ([], 2, "say which CLASS"),
        (["x:Y", "n=1", "--stdin"], 2, "--stdin"),
        (["x:Y", "n"], 2, "NAME=VALUE"),
        (["x:Y", "--count", "0"], 2, "--count"),
        (["Kept"], 1, "never leave the process"),
        (["x:Y", "_n=1"], 1, "cannot be called '_n'"),
        (["x:Y", "source=1"], 1, "--source"),
        (["x:Y", 'a={"base64": "#"}'], 1, "no base64"),
        (["x:Y", "--source", "[]"], 1, "a source is"),
        (["x:Y", "--source", '{"kind": "S", "store_id": "5"}'], 1, "no store id"),
        (["", "a=1"], 1, "empty"),
    ],
)
def test_what_is_wrong(
    url: str, arguments: list[str], status: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What makes no sense is said, and nothing is emitted."""
    assert status == emit(url, *arguments)
    told = capsys.readouterr()
    assert says in told.err
    assert "" == told.out


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "no JSON"),
        ("[]", "no JSON object"),
        ('{"class": 5}', "'class' is missing, or no text"),
        ("{}", "'class' is missing"),
        ('{"class": "x:Y", "attributes": []}', "'attributes' is an object"),
        ('{"class": "x:Y", "origin": 5}', "'origin' is text"),
        ('{"class": "x:Y", "classes": [5]}', "'classes' is a list"),
        ('{"class": "x:Y", "nmae": 5}', "unknown: nmae"),
        ("[" * 100_000, "no JSON"),
    ],
)
def test_lines_that_are_no_events(
    bus: BrokerEventManager,
    url: str,
    heard: list[Any],
    line: str,
    says: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The line is named; those before it are emitted."""
    monkeypatch.setattr("sys.stdin", io.StringIO(f'{{"class": "x:Y"}}\n{line}\n{{}}\n'))

    assert 1 == emit(url, "--stdin")
    assert 1 == len(arrived(bus, heard))
    error = capsys.readouterr().err
    assert error.startswith("antiphon: line 2: ")
    assert says in error


def test_two_classes_of_one_name(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A bare name that two classes have is not guessed at."""
    classes = [type("Twin", (BaseEvent,), {"wire_name": f"emit_{n}:Twin"}) for n in range(2)]

    assert 1 == emit(url, "Twin")
    assert "'Twin' may be emit_0:Twin or emit_1:Twin" in capsys.readouterr().err
    assert 2 == len(classes)
