"""``antiphon topology`` and ``antiphon dlq`` on a broker in memory."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from antiphon import BaseEvent, BrokerEventManager
from antiphon.cli.dead_letters import DeadLetter, DeadLetters, Fate
from antiphon.cli.listening_words import in_words
from antiphon.cli.main import run
from antiphon.cli.management import list_queues
from antiphon.errors import BrokerRefused, BrokerUnavailable, InvalidURL
from antiphon.events.origin import Prefix
from antiphon.messaging.browser import Found
from antiphon.messaging.memory import MemoryBroker
from antiphon.messaging.memory_browser import MemoryBrowser
from antiphon.messaging.subscription_options import SubscriptionOptions
from antiphon.messaging.transport import Message
from antiphon.wire.routing import binding_keys


class Shipped(BaseEvent):
    """Something to listen to."""

    wire_name = "test_topology:Shipped"


def ignore(event: BaseEvent) -> None:
    """Do nothing."""


def topology(url: str, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run the command, and return what it printed."""
    assert 0 == run(["topology", "--url", url, "--wait", "0.2", *arguments])
    return capsys.readouterr().out


def test_who_listens_to_what(
    bus: BrokerEventManager, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Processes, their listeners and their subscriptions are told in words."""
    bus.connect(Shipped, ignore, origin=Prefix("shop"))
    bus.subscribe("audit", Shipped, ignore, mode="group")

    told = json.loads(topology(url, capsys, "--json"))

    (process,) = told["processes"]
    assert ("shop.till", ["test_topology:Shipped from shop.*"]) == (
        process["origin"],
        process["listens_to"],
    )
    (queue,) = told["queues"]
    assert ("antiphon.sub.audit", "group", 0, 1, ["test_topology:Shipped"]) == (
        queue["name"],
        queue["mode"],
        queue["ready"],
        queue["consumers"],
        queue["listens_to"],
    )
    text = topology(url, capsys)
    assert "origin shop.till" in text
    assert "listens to test_topology:Shipped from shop.*" in text
    assert "subscription audit (group): test_topology:Shipped; 0 handled" in text


def test_nobody_is_there(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """An empty system is shown as such; the command does not see itself."""
    text = topology(url, capsys)

    assert "no process has answered" in text
    assert "no durable subscriptions are open; --management shows" in text
    assert "no dead letters" in text


def test_lag_and_dead_letters(
    bus: BrokerEventManager, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What waits, what is in hand and what is dead is counted; a replay handles it again."""
    went, go = threading.Event(), threading.Event()
    heard: list[int] = []

    def listen(event: Any) -> None:
        heard.append(event.n)
        if len(heard) == 1:
            raise ValueError("not the first time")
        went.set()
        go.wait(10)

    options = SubscriptionOptions(prefetch=1, delivery_limit=1)
    bus.subscribe("audit", Shipped, listen, options=options)
    for n in range(3):
        bus.emit(Shipped(n=n))
        bus.flush(10)
    assert went.wait(10)

    told = json.loads(topology(url, capsys, "--json"))
    (queue,) = told["queues"]
    assert (1, 1, 1) == (queue["ready"], queue["unacknowledged"], told["dead_letters"])
    assert "1 dead letter; see antiphon dlq ls" in topology(url, capsys)

    go.set()
    assert 0 == run(["dlq", "replay", "--all", "--url", url])
    while len(heard) < 4:
        go.wait(0.001)
    assert [0, 1, 2, 0] == heard


def test_dead_letters_in_memory(
    bus: BrokerEventManager, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The memory broker's dead letters are listed, kept and dropped as RabbitMQ's."""
    failed = threading.Event()

    def fail(event: Any) -> None:
        raise ValueError(f"no {event.n}")

    options = SubscriptionOptions(delivery_limit=1)
    subscription = bus.subscribe("audit", Shipped, fail, options=options)
    for n in range(3):
        bus.emit(Shipped(n=n))
    while subscription.stats().dead < 3:
        failed.wait(0.001)

    for _ in range(2):
        assert 0 == run(["dlq", "ls", "--url", url, "--json"])
        told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert ["ValueError: no 0", "ValueError: no 1", "ValueError: no 2"] == sorted(
            one["error"] for one in told
        )
    assert 0 == run(["dlq", "drop", told[0]["id"], "--yes", "--url", url])
    assert "dropped 1 dead letter\n" == capsys.readouterr().out
    assert 0 == run(["dlq", "ls", "--url", url, "--json"])
    assert 2 == len(capsys.readouterr().out.splitlines())


class _Noting(MemoryBrowser):
    """A browser that notes what it is asked to do, and can fail at it."""

    def __init__(self, broker: MemoryBroker, fails_at: str = "") -> None:
        super().__init__(broker)
        self.calls: list[str] = []
        self._fails_at = fails_at

    def publish(self, message: Message) -> bool:
        self._note("publish")
        return super().publish(message)

    def acknowledge(self, found: Found) -> None:
        self._note("acknowledge")
        super().acknowledge(found)

    def _note(self, call: str) -> None:
        self.calls.append(call)
        if call == self._fails_at:
            raise BrokerUnavailable("gone")


@pytest.mark.parametrize("fails_at", ["", "publish", "acknowledge"])
def test_a_letter_is_removed_after_it_was_sent(
    bus: BrokerEventManager, url: str, fails_at: str
) -> None:
    """The copy is confirmed first: whatever fails in between, the event is somewhere."""
    ids: list[object] = []
    broker = MemoryBroker.named(url.removeprefix("memory://"))

    def fail(event: BaseEvent) -> None:
        ids.append(event._event_id)
        raise ValueError

    options = SubscriptionOptions(delivery_limit=1)
    with bus.subscribe("audit", Shipped, fail, options=options) as subscription:
        bus.emit(Shipped())
        while not subscription.stats().dead:
            threading.Event().wait(0.001)
    with _Noting(broker, fails_at) as browser:
        letters = DeadLetters(browser, "antiphon")

        def send(letter: DeadLetter) -> Fate:
            return Fate.REMOVE if letters.send_back(letter) else Fate.KEEP

        with contextlib.suppress(BrokerUnavailable):
            letters.visit(send)
        calls = browser.calls

    assert ["publish", "acknowledge"][: len(calls)] == calls
    is_dead, is_back = broker.depth("antiphon.dead"), broker.depth("antiphon.sub.audit")
    assert {"": (0, 1), "publish": (1, 0), "acknowledge": (1, 1)}[fails_at] == (is_dead, is_back)


def test_it_looks_again(
    url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """--watch prints anew until it is ended."""
    rounds: list[float] = []

    def sleep(seconds: float) -> None:
        rounds.append(seconds)
        if len(rounds) == 2:
            raise SystemExit(130)

    monkeypatch.setattr("antiphon.cli.topology.pause", sleep)

    with pytest.raises(SystemExit):
        run(["topology", "--url", url, "--wait", "0.05", "--watch", "3", "--json"])
    assert 2 == len(capsys.readouterr().out.splitlines())
    assert [3, 3] == rounds


@pytest.mark.parametrize(
    ("name", "origin", "words"),
    [
        ("antiphon:BaseEvent", None, "all events"),
        ("antiphon:BaseEvent", "a.b", "all events from a.b"),
        ("antiphon:StoreEvent", None, "StoreEvent"),
        ("shop:Paid", "a.b", "shop:Paid from a.b"),
        ("shop:Paid", Prefix("a.b"), "shop:Paid from a.b.*"),
        ("shop:Päid.x", "ä b", "shop:Päid.x from ä b"),
    ],
)
def test_bindings_in_words(name: str, origin: str | None, words: str) -> None:
    """A pattern is told as the class and the origin that it was made of."""
    told = [in_words(None, key) for key in binding_keys(name, origin)]

    assert words == told[0]
    assert {words, None} >= set(told)


def test_bindings_of_other_exchanges() -> None:
    """Patterns of another exchange are told as they are."""
    assert "*.shop on antiphon.events.topic" == in_words("antiphon.events.topic", "*.shop")


class _Management(BaseHTTPRequestHandler):
    """What answers as RabbitMQ's plugin does, to one user."""

    def do_GET(self) -> None:
        """Answer."""
        is_known = self.headers["Authorization"] == "Basic Z3Vlc3Q6Z3Vlc3Q="
        self.send_response(200 if is_known and self.path == "/api/queues/%2F" else 401)
        self.end_headers()
        self.wfile.write(json.dumps([{"name": "antiphon.sub.audit"}, 5]).encode())

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def management() -> Iterator[str]:
    """URL of a server that answers as the plugin does."""
    with HTTPServer(("127.0.0.1", 0), _Management) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_the_list_of_the_management_plugin(management: str) -> None:
    """User and password are those of the broker, unless the URL has its own."""
    assert [{"name": "antiphon.sub.audit"}] == list_queues(
        f"http://{management}", "amqp://localhost"
    )
    with pytest.raises(BrokerRefused, match=r"answers 401 .* for user 'me'"):
        list_queues(f"http://me:sesame@{management}", "amqp://localhost")


def test_no_management_plugin() -> None:
    """What is wrong is said, without the password."""
    with pytest.raises(BrokerUnavailable, match="no management plugin answers"):
        list_queues("http://u:sesame@127.0.0.1:1", "amqp://localhost")
    with pytest.raises(InvalidURL, match=r"u:\*\*\*@"):
        list_queues("ftp://u:sesame@127.0.0.1:1", "amqp://localhost")
