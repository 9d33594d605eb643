"""``antiphon dlq``: dead letters listed, shown, sent back and dropped; none is ever lost."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from antiphon import BaseEvent
from antiphon.cli.dead_letters import DeadLetter, DeadLetters, Fate
from antiphon.cli.main import run
from antiphon.events.event_id import next_event_id
from antiphon.messaging.amqp_browser import AmqpBrowser
from antiphon.messaging.browser import Found, QueueBrowser, kept_headers, open_browser
from antiphon.messaging.dead_letters import dead_letter, dead_queue
from antiphon.messaging.transport import Message
from antiphon.wire.codec import Codec

COMMAND = [sys.executable, "-m", "antiphon.cli.main", "dlq"]


class Billed(BaseEvent):
    """An event that some subscription could not handle."""

    wire_name = "test:Billed"


class Box:
    """The dead letters and the subscriptions' queues of a system, handled from outside."""

    def __init__(self, url: str, system: str, browser: AmqpBrowser) -> None:
        self.url = url
        self.system = system
        self.browser = browser
        self.dead = dead_queue(system)
        self._codec = Codec()
        self.declare(self.dead)

    def declare(self, queue: str) -> None:
        """Make a quorum queue."""
        channel = self.browser._connection.channel()
        channel.queue_declare(queue, durable=True, arguments={"x-queue-type": "quorum"})
        channel.close()

    def queue_of(self, subscription: str) -> str:
        """Make the queue of *subscription*, and return its name."""
        queue = f"{self.system}.sub.{subscription}"
        self.declare(queue)
        return queue

    def put(self, subscription: str = "audit", *, error: str = "boom", **attributes: Any) -> str:
        """Put a dead letter into the queue, and return its id."""
        event_id = next_event_id()
        encoded = self._codec.encode(
            Billed(**attributes), origin="shop", event_id=event_id, time_ns=time.time_ns()
        )
        body = Codec.join((encoded.envelope,))
        self._put(Message(encoded.routing_key, body, {"own": 1}, "pub"), subscription, error)
        return str(event_id)

    def put_raw(self, body: bytes) -> None:
        """Put bytes that nobody can read into the queue."""
        self._put(Message("a.b", body), "broadcast", "no message", "undecodable")

    def _put(self, message: Message, subscription: str, error: str, reason: Any = "failed") -> None:
        letter = dead_letter(
            message,
            queue=self.dead,
            subscription=subscription,
            reason=reason,
            error=error,
            attempts=5,
        )
        assert self.browser.publish(letter)

    def dlq(self, *arguments: str) -> int:
        """Run the command, and return its status."""
        return run(["dlq", *arguments, "--url", self.url, "--system", self.system])

    def drain(self, queue: str) -> list[Message]:
        """Take everything out of *queue*, once what is under way there has come."""
        found: list[Found] = []
        pause = threading.Event()
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            depth = self.browser.depth(queue)
            if depth is None or (not depth.ready and not pause.wait(0.1)):
                break
            while (one := self.browser.get(queue)) is not None:
                self.browser.acknowledge(one)
                found.append(one)
        return [replace(m, headers=kept_headers(m.headers)) for m in (f.message for f in found)]

    def ids(self, queue: str) -> list[str]:
        """Take everything out of *queue*, and return the ids of its events."""
        return [
            str(event._event_id)
            for message in self.drain(queue)
            for event in self._codec.decode(message.routing_key, message.headers, message.body)
        ]


@pytest.fixture
def box(amqp_url: str, system: str) -> Iterator[Box]:
    """The dead letters of a system of the test's own."""
    with open_browser(amqp_url) as browser:
        assert isinstance(browser, AmqpBrowser)
        box = Box(amqp_url, system, browser)
        yield box
        channel = browser._connection.channel()
        for queue in (box.dead, f"{system}.sub.audit", f"{system}.sub.bills"):
            channel.queue_delete(queue)


def lines(text: str) -> list[dict[str, Any]]:
    """Return what lines of JSON say."""
    return [json.loads(line) for line in text.splitlines()]


def test_ls_tells_who_what_why_and_when(box: Box, capsys: pytest.CaptureFixture[str]) -> None:
    """A line of JSON has the event, the subscription, and how it died."""
    id = box.put(error="ValueError: no customer", n=1)

    assert 0 == box.dlq("ls", "--json")
    (told,) = lines(capsys.readouterr().out)
    died_at = told.pop("dead_at")
    assert died_at.startswith("20")
    assert {
        "id": id,
        "subscription": "audit",
        "class": "test:Billed",
        "origin": "shop",
        "reason": "failed",
        "error": "ValueError: no customer",
        "attempts": 5,
        "events": 1,
    } == told


def test_ls_for_people(box: Box, capsys: pytest.CaptureFixture[str]) -> None:
    """The list has all of it on one line; what a terminal would obey is not in it."""
    id = box.put("bills", error="no\x1b[2Jgood\nat all")

    assert 0 == box.dlq("ls")
    title, line = capsys.readouterr().out.splitlines()
    assert ["id", "subscription", "class", "origin"] == title.split()[:4]
    assert [id, "bills", "test:Billed", "shop"] == line.split()[:4]
    assert "no [2Jgood at all" in line


def test_no_dead_letters(amqp_url: str, system: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A system in which nothing ever died has no queue for it; that is no error."""
    assert 0 == run(["dlq", "ls", "--url", amqp_url, "--system", system])
    assert "no dead letters\n" == capsys.readouterr().out
    assert 0 == run(["dlq", "replay", "--subscription", "x", "--url", amqp_url, "--system", system])
    told = "nothing to replay: no dead letters of subscription 'x'\n"
    assert told == capsys.readouterr().out


def test_ls_of_one_subscription_and_some(box: Box, capsys: pytest.CaptureFixture[str]) -> None:
    """--subscription chooses; --limit looks at so many and says that there are more."""
    box.put("audit")
    second, third = box.put("bills"), box.put("bills")

    assert 0 == box.dlq("ls", "--subscription", "bills", "--json")
    assert [second, third] == [told["id"] for told in lines(capsys.readouterr().out)]
    assert 0 == box.dlq("ls", "--limit", "1", "--json")
    assert "looked at 1 of 3" in capsys.readouterr().err


def test_show(box: Box, capsys: pytest.CaptureFixture[str]) -> None:
    """All attributes, headers and the routing key are shown."""
    box.put(n=1)
    id = box.put(customer="Ada", raw=b"\x00\xff")

    assert 0 == box.dlq("show", id, "--json")
    (told,) = lines(capsys.readouterr().out)
    assert {"customer": "Ada", "raw": {"base64": "AP8="}} == told["events"][0]["attributes"]
    assert ("antiphon:BaseEvent.test:Billed.@shop", {"own": 1}) == (
        told["routing_key"],
        told["headers"],
    )
    assert 0 == box.dlq("show", id)
    assert "customer = 'Ada'" in capsys.readouterr().out


def test_show_what_nobody_can_read(box: Box, capsys: pytest.CaptureFixture[str]) -> None:
    """Bytes that are no message are shown as they are, under an id of their own."""
    box.put_raw(b"\xffnonsense")
    box.dlq("ls", "--json")
    (listed,) = lines(capsys.readouterr().out)

    assert listed["id"].startswith("raw-")
    assert 0 == box.dlq("show", listed["id"], "--json")
    assert {"base64": "/25vbnNlbnNl"} == lines(capsys.readouterr().out)[0]["body"]
    assert 0 == box.dlq("show", listed["id"])
    assert "ff 6e 6f 6e 73 65 6e 73 65" in capsys.readouterr().out


def test_replay_of_one_goes_to_its_own_subscription(box: Box) -> None:
    """The event is in its subscription's queue as it was emitted, and no dead letter any more."""
    audit, bills = box.queue_of("audit"), box.queue_of("bills")
    kept, sent = box.put("audit"), box.put("audit")

    assert 0 == box.dlq("replay", sent)
    (message,) = box.drain(audit)
    assert ("antiphon:BaseEvent.test:Billed.@shop", {"own": 1}, True) == (
        message.routing_key,
        message.headers,
        message.persistent,
    )
    assert ([], [kept]) == (box.ids(bills), box.ids(box.dead))


def test_replay_of_all_and_of_a_subscription(box: Box) -> None:
    """--subscription takes what is its own; --all the rest."""
    audit, bills = box.queue_of("audit"), box.queue_of("bills")
    ids = [box.put("audit" if n % 2 else "bills") for n in range(10)]

    assert 0 == box.dlq("replay", "--subscription", "bills")
    assert ids[::2] == box.ids(bills)
    assert 0 == box.dlq("replay", "--all")
    assert (ids[1::2], []) == (box.ids(audit), box.ids(box.dead))


def test_replay_without_a_queue_keeps_the_letter(
    box: Box, capsys: pytest.CaptureFixture[str]
) -> None:
    """A letter whose subscription is gone stays; the status says that something failed."""
    id = box.put("bills")

    assert 1 == box.dlq("replay", "--all")
    assert "subscription 'bills' has no queue any more" in capsys.readouterr().err
    assert [id] == box.ids(box.dead)


def test_replay_of_several(box: Box, capsys: pytest.CaptureFixture[str]) -> None:
    """Of several ids those that are there are sent; those that are not are named."""
    audit = box.queue_of("audit")
    ids = [box.put() for _ in range(3)]

    assert 1 == box.dlq("replay", ids[0], ids[2], "0-0")
    assert "no dead letter '0-0'" in capsys.readouterr().err
    assert ([ids[0], ids[2]], [ids[1]]) == (box.ids(audit), box.ids(box.dead))


def test_drop_asks(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is dropped without a yes."""
    ids = [box.put(), box.put()]
    monkeypatch.setattr("click.termui.visible_prompt_func", lambda prompt: "n")

    assert 1 == box.dlq("drop", "--all")
    monkeypatch.setattr("click.termui.visible_prompt_func", lambda prompt: "y")
    assert 0 == box.dlq("drop", ids[0])
    assert [ids[1]] == box.ids(box.dead)


def test_drop_without_asking(box: Box) -> None:
    """--yes drops what was chosen, and no more."""
    kept = box.put("audit")
    box.put("bills")

    assert 0 == box.dlq("drop", "--subscription", "bills", "--yes")
    assert [kept] == box.ids(box.dead)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["replay"], "say which"),
        (["drop"], "say which"),
        (["drop", "x", "--all"], "either IDs or --all"),
        (["ls", "--limit", "0"], "--limit"),
    ],
)
def test_wrong_calls(
    box: Box, arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What makes no sense has status 2."""
    assert 2 == box.dlq(*arguments)
    assert says in capsys.readouterr().err


def seen_by(letters: DeadLetters) -> list[str]:
    """Return the ids of all letters."""
    seen: list[str] = []

    def look(letter: DeadLetter) -> Fate:
        seen.append(letter.id)
        return Fate.KEEP

    letters.visit(look)
    return seen


def test_looking_uses_no_letter_up(box: Box) -> None:
    """However often one looks, letters stay: RabbitMQ 4.x drops what comes back 20 times."""
    ids = [box.put() for _ in range(3)]
    letters = DeadLetters(box.browser, box.system)
    highest = 0

    for _ in range(30):
        assert sorted(ids) == sorted(seen_by(letters))
        while (found := box.browser.get(box.dead)) is None:
            continue
        highest = max(highest, found.delivery_count)
        box.browser.give_back(found)
        while letters.count() < len(ids):  # the broker takes a moment
            threading.Event().wait(0.001)

    assert highest < 15


def test_letters_of_the_broker_itself(box: Box, capsys: pytest.CaptureFixture[str]) -> None:
    """What the broker moved out of a full queue tells whose it was, and can be sent back."""
    queue = f"{box.system}.sub.bills"
    channel = box.browser._connection.channel()
    arguments = {
        "x-queue-type": "quorum",
        "x-max-length": 1,
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": box.dead,
    }
    channel.queue_declare(queue, durable=True, arguments=arguments)
    first, second = box.put("bills"), box.put("bills")
    box.dlq("replay", first)
    box.dlq("replay", second)
    capsys.readouterr()
    pause = threading.Event()
    letters = DeadLetters(box.browser, box.system)
    while not letters.count():
        pause.wait(0.01)

    assert 0 == box.dlq("ls", "--json")
    (told,) = lines(capsys.readouterr().out)
    assert (first, "bills", "maxlen", "test:Billed") == (
        told["id"],
        told["subscription"],
        told["reason"],
        told["class"],
    )
    assert [second] == box.ids(queue)
    assert 0 == box.dlq("replay", "--all")
    assert [first] == box.ids(queue)


def test_commands_wait_for_one_another(box: Box) -> None:
    """A list made while another command has letters in hand lacks none of them."""
    ids = [box.put() for _ in range(20)]
    inside = threading.Event()

    def look_slowly() -> None:
        with open_browser(box.url) as browser:

            def look(letter: object) -> Fate:
                inside.set()
                time.sleep(0.01)
                return Fate.KEEP

            DeadLetters(browser, box.system).visit(look)

    thread = threading.Thread(target=look_slowly)
    thread.start()
    inside.wait(10)
    seen = seen_by(DeadLetters(box.browser, box.system))
    thread.join(10)

    assert sorted(ids) == sorted(seen)


@pytest.mark.parametrize("seed", range(3))
def test_a_killed_replay_loses_nothing(box: Box, seed: int) -> None:
    """After kill -9 at any point each event is a dead letter still, or in its queue."""
    audit = box.queue_of("audit")
    ids = [box.put(n=n) for n in range(150)]
    argv = [*COMMAND, "replay", "--all", "--url", box.url, "--system", box.system]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for _ in range(random.Random(seed).randrange(1, 140)):
            process.stdout.readline()
        process.kill()
        process.communicate()

    left, sent = box.ids(box.dead), box.ids(audit)

    assert left
    assert sent
    assert set(ids) == {*left, *sent}
    assert len(left) + len(sent) <= len(ids) + 1


def test_an_interrupted_list_loses_nothing(box: Box) -> None:
    """What a command held that went wrong is back when its connection ends."""
    ids = [box.put() for _ in range(5)]

    def look(letter: object) -> Fate:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), open_browser(box.url) as browser:
        DeadLetters(browser, box.system).visit(look)

    assert sorted(ids) == sorted(box.ids(box.dead))


def test_a_browser_is_a_context_manager(amqp_url: str) -> None:
    """Closing it twice is fine."""
    browser: QueueBrowser = open_browser(amqp_url)
    with browser:
        pass
    browser.close()

    assert isinstance(browser, AmqpBrowser)
