"""``antiphon archive`` on a file, within this process."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from antiphon import BaseEvent, open_bus
from antiphon.archive import Event, EventStore, open_archive
from antiphon.archive.recorded import recorded
from antiphon.archive.replay import Replayed
from antiphon.cli.main import run
from antiphon.errors import BrokerUnavailable
from antiphon.events.delivery import delivery_of
from antiphon.events.event_id import next_event_id
from antiphon.messaging.transport import Message
from antiphon.storage.events import StoreSetEvent
from antiphon.wire.codec import Codec
from patience import wait_until

#: Seconds since the epoch, of the first event.
BEGAN = 1_700_000_000

codec = Codec()


class CliPaid(BaseEvent):
    """Somebody paid."""

    wire_name = "shop:CliPaid"


def archived(event: BaseEvent, origin: str, at: float) -> Event:
    """Return what a recorder keeps of *event*, emitted *at* seconds since the epoch."""
    encoded = codec.encode(
        event, origin=origin, event_id=next_event_id(), time_ns=int(at * 1_000_000_000)
    )
    message = Message(encoded.routing_key, Codec.join((encoded.envelope,)), encoded.headers)
    (came,) = codec.decode(message.routing_key, message.headers, message.body)
    return recorded(came, message, received=at + 0.5)


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """URL of an archive with four events, 60 s apart; the environment names it, too."""
    url = f"sqlite://{tmp_path}/archive.db"
    with open_archive(url) as store:
        store.save_many(
            [
                archived(StoreSetEvent(key="prices/eur"), "catalogue", BEGAN),
                archived(StoreSetEvent(key="prices/usd"), "catalogue", BEGAN + 60),
                archived(CliPaid(amount=17), "shop.berlin", BEGAN + 120),
                Event("by-hand", "/var/log/x", BEGAN + 180, ["error"], "disk full\non sda1"),
            ]
        )
    monkeypatch.setenv("ANTIPHON_ARCHIVE_URL", url)
    return url


def search(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, Any]]:
    """Search, and return what the lines of JSON say."""
    assert 0 == run(["archive", "search", "--json", *arguments])
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def keys(found: list[dict[str, Any]]) -> list[str]:
    """Return what tells the events of the fixture apart."""
    return [one["attributes"].get("key") or one["class"] or one["id"] for one in found]


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ([], ["prices/eur", "prices/usd", "shop:CliPaid", "by-hand"]),
        (
            ["--since", f"@{BEGAN + 60}", "--until", f"@{BEGAN + 120}"],
            ["prices/usd", "shop:CliPaid"],
        ),
        (["--class", "StoreModificationEvent"], ["prices/eur", "prices/usd"]),
        (["--class", "antiphon:StoreSetEvent"], ["prices/eur", "prices/usd"]),
        (["--class", "shop:CliPaid"], ["shop:CliPaid"]),
        (["--class", "CliPaid"], ["shop:CliPaid"]),
        (["--origin", "shop.berlin"], ["shop:CliPaid"]),
        (["--origin", "shop"], []),
        (["--key", "prices/usd"], ["prices/usd"]),
        (["--key", "prices/usd", "--origin", "shop.berlin"], []),
        (["--flag", "error"], ["by-hand"]),
        (["--flag", "error", "--flag", "BaseEvent"], []),
        (["--match", r'"amount": 1\d\b'], ["shop:CliPaid"]),
        (["--limit", "2"], ["prices/eur", "prices/usd"]),
        (["--last", "2"], ["shop:CliPaid", "by-hand"]),
        (["--last", "2", "--reverse"], ["by-hand", "shop:CliPaid"]),
        (["--reverse", "--limit", "1"], ["by-hand"]),
    ],
)
def test_search(
    url: str, capsys: pytest.CaptureFixture[str], arguments: list[str], found: list[str]
) -> None:
    """What is chosen is found, in the order of time; all that is given has to hold."""
    assert found == keys(search(capsys, *arguments))


def test_a_line_of_json_is_that_of_listen_and_more(
    url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """An event from a bus has its class and attributes; one by hand has its content."""
    *_, paid, by_hand = search(capsys)

    assert ("shop:CliPaid", {"amount": 17}, "2023-11-14T22:15:20+00:00", BEGAN + 120.5) == (
        paid["class"],
        paid["attributes"],
        paid["time"],
        paid["received"],
    )
    assert (None, "disk full\non sda1", "/var/log/x", ["error"]) == (
        by_hand["class"],
        by_hand["content"],
        by_hand["source"],
        by_hand["tags"],
    )


def test_a_line_for_people(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It has the date; what a terminal would obey is escaped, and nothing is coloured in a pipe."""
    assert 0 == run(["archive", "search", "--last", "2"])
    paid, by_hand = capsys.readouterr().out.splitlines()

    assert paid.endswith("  shop:CliPaid  shop.berlin  amount=17")
    assert paid.startswith("2023-11-1")
    assert by_hand.endswith(r"  /var/log/x  error  disk full\non sda1")


def test_an_unreadable_message_is_no_obstacle(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What nobody can decode is shown by its content."""
    with open_archive(url) as store:
        store.save(Event("odd", "x", BEGAN + 300, [], "what it was", message=b"\xff"))

    assert "what it was" == search(capsys, "--last", "1")[0]["content"]


def test_what_a_recorder_noted(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """That events may be missing has come from no bus, and reads as if it had."""
    content = '{"class": "antiphon:EventsMayBeMissing", "attributes": {"reason": "a\\u001b[2Jb"}}'
    with open_archive(url) as store:
        store.save(Event("note", "", BEGAN + 300, ["EventsMayBeMissing"], content))
    (found,) = search(capsys, "--last", "1")

    assert ("antiphon:EventsMayBeMissing", {"reason": "a\x1b[2Jb"}) == (
        found["class"],
        found["attributes"],
    )
    assert 0 == run(["archive", "search", "--last", "1"])
    assert capsys.readouterr().out.endswith("  EventsMayBeMissing  reason='a\\x1b[2Jb'\n")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("CliPayd", "CliPaid"),
        ("shp:CliPaid", "shop:CliPaid"),
        ("StoreSetEvnt", "StoreSetEvent"),
    ],
)
def test_a_class_that_nobody_has(
    url: str, capsys: pytest.CaptureFixture[str], name: str, meant: str
) -> None:
    """If nothing is found, what may have been meant is told."""
    assert 0 == run(["archive", "search", "--class", name])
    told = f"antiphon: no such events: no event has the class '{name}'; did you mean '{meant}'?\n"
    assert ("", told) == capsys.readouterr()


@pytest.mark.parametrize(
    ("choice", "told"),
    [
        (["--class", "Refunded"], "the class 'Refunded'"),
        (["--origin", "catalog"], "the origin 'catalog'; did you mean 'catalogue'?"),
        (["--key", "prices/eru"], "the key 'prices/eru'; did you mean 'prices/eur'?"),
        (["--flag", "errors"], "the tag 'errors'; did you mean 'error'?"),
        (["--flag", "origin:x", "--class", "CliPaid"], "the origin 'x'"),
    ],
)
def test_what_no_event_has_is_named(
    url: str, capsys: pytest.CaptureFixture[str], choice: list[str], told: str
) -> None:
    """So that a slip is not taken for an empty archive."""
    assert 0 == run(["archive", "search", *choice])
    assert ("", f"antiphon: no such events: no event has {told}\n") == capsys.readouterr()


@pytest.mark.parametrize("option", ["--limit", "--last"])
def test_as_many_as_nobody_counts(
    url: str, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    """It is all of them."""
    assert 4 == len(search(capsys, option, "99999999999999999999"))


def test_content_nested_too_deeply_is_content(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Though it looks like what a recorder has noted."""
    content = '{"class": "x", "attributes": {"a": ' + "[" * 900 + "]" * 900 + "}}"
    with open_archive(url) as store:
        store.save(Event("deep", "s", BEGAN + 300, ["x"], content))

    (found,) = search(capsys, "--last", "1")
    assert (None, content) == (found["class"], found["content"])
    assert 0 == run(["archive", "search", "--last", "1"])
    assert 0 == run(["archive", "show", "deep"])


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["search", "--since", "soon"], 2, "'soon' is no time"),
        (["search", "--since", "1h", "--until", "2h"], 2, "is before --since"),
        (["search", "--limit", "1", "--last", "1"], 2, "either --limit or --last"),
        (["search", "--match", "(("], 1, "no pattern"),
        (["search", "--archive", "sqlite:///nowhere/a.db"], 1, "/nowhere/a.db"),
        (["search", "--archive", "/var/a.db"], 2, "that of a file is sqlite:///var/a.db"),
        (["show", "nobody"], 1, "'nobody'"),
        (["replay", "--all"], 2, "say where to"),
        (["replay", "--to", "a", "--queue", "b", "--all"], 2, "say where to"),
        (["replay", "--to", "a"], 2, "say which"),
        (["import", "/nowhere/lines"], 1, "antiphon: /nowhere/lines: No such file or directory\n"),
        (["search", "--archive", "sqlite:///usr"], 1, "/usr is a folder"),
        (["search", "--archive", "sqlite:a?timeout_s=x"], 1, "timeout_s='x' in"),
        (["search", "--archive", "sqlite:a?timeout_s=x"], 1, "write seconds, from 0"),
    ],
)
def test_wrong_calls(
    url: str,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    status: int,
    says: str,
) -> None:
    """What is wrong is said, without a traceback."""
    assert status == run(["archive", *arguments])
    assert says in capsys.readouterr().err


def test_looking_makes_no_archive(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One that is not there is an error, and is not there afterwards."""
    assert 1 == run(["archive", "search", "--archive", f"sqlite://{tmp_path}/none.db"])
    assert f"{tmp_path}/none.db" in capsys.readouterr().err
    assert [] == list(tmp_path.iterdir())


def test_no_archive_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What to set is said."""
    monkeypatch.delenv("ANTIPHON_ARCHIVE_URL", raising=False)

    assert 2 == run(["archive", "stats"])
    assert "say where the archive is: --archive, or ANTIPHON_ARCHIVE_URL" in capsys.readouterr().err


def test_tail_begins_with_history(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """History comes first, in the order of time; --count ends it."""
    assert 0 == run(["archive", "tail", "--since", f"@{BEGAN + 60}", "--count", "3", "--json"])
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    assert ["prices/usd", "shop:CliPaid", "by-hand"] == keys(found)


def test_show(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """All that is known of one event is shown, a line each."""
    (paid,) = search(capsys, "--class", "shop:CliPaid")

    assert 0 == run(["archive", "show", paid["id"]])
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["class", "shop:CliPaid"] in lines
    assert ["amount", "=", "17"] in lines
    assert 0 == run(["archive", "show", paid["id"], "--json"])
    assert paid == json.loads(capsys.readouterr().out)


def test_stats(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Numbers, times and tags are told."""
    assert 0 == run(["archive", "stats", "--json"])
    told = json.loads(capsys.readouterr().out)

    assert (4, BEGAN, BEGAN + 180, 2) == (
        told["events"],
        told["oldest"],
        told["newest"],
        told["flags"]["StoreSetEvent"],
    )
    assert 0 == run(["archive", "stats"])
    assert "4 events in" in capsys.readouterr().out


def everything(store: EventStore) -> list[Event]:
    """Return all that is in *store*."""
    return list(store.search(float("-inf")))


def test_export_and_import(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What was exported and imported is equal; importing it again changes nothing."""
    lines, other = str(tmp_path / "lines"), f"sqlite://{tmp_path}/other.db"

    assert 0 == run(["archive", "export", lines])
    assert 0 == run(["archive", "import", lines, "--archive", other])
    assert 0 == run(["archive", "import", lines, "--archive", other])
    assert [
        f"exported 4 events to {lines}",
        "imported 4 events",
        "imported 0 events; 4 of 4 were there",
    ] == capsys.readouterr().out.splitlines()
    with open_archive(url) as one, open_archive(other) as two:
        assert everything(one) == everything(two)


def test_a_line_that_is_no_event(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its number is told; those before it are saved."""
    lines, other = tmp_path / "lines", f"sqlite://{tmp_path}/other.db"
    assert 0 == run(["archive", "export", str(lines)])
    lines.write_text(lines.read_text().replace('"by-hand"', "5"))

    assert 1 == run(["archive", "import", str(lines), "--archive", other])
    assert "line 4: " in capsys.readouterr().err
    with open_archive(other) as store:
        assert 3 == store.stats().events


def test_export_to_a_pipe(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a file the lines stand on standard output, and nothing else."""
    assert 0 == run(["archive", "export", "--class", "StoreEvent"])
    lines = capsys.readouterr().out.splitlines()

    assert ["catalogue", "catalogue"] == [json.loads(line)["source"] for line in lines]


def test_replay(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One subscription gets the events, marked as replayed; others get nothing."""
    broker = f"memory://{secrets.token_hex(6)}"
    heard: list[Any] = []
    others: list[Any] = []
    with open_bus(broker) as bus:
        bus.subscribe("audit", BaseEvent, heard.append)
        bus.subscribe("other", CliPaid, others.append)
        bus.connect(CliPaid, others.append)

        assert 0 == run(["archive", "replay", "--to", "audit", "--all", "--url", broker])
        wait_until(lambda: len(heard) == 3, "all events")

    told = "replayed 3 events to audit: confirmed by the broker; 1 event did not come from a bus\n"
    assert told == capsys.readouterr().out
    assert [True] * 3 == [delivery_of(event).replayed for event in heard]  # type: ignore[union-attr]
    assert ([17], []) == ([event.amount for event in heard if hasattr(event, "amount")], others)


def test_a_replay_that_ends_in_the_middle(
    url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """How far it has come is told, with the moment from which to go on."""

    def send(*_: object, progress: Callable[[Replayed], None], **__: object) -> Replayed:
        progress(Replayed(sent=2, latest=BEGAN + 60.25))
        raise BrokerUnavailable("gone")

    monkeypatch.setattr("antiphon.cli.archive_moving.send_again", send)
    broker = f"memory://{secrets.token_hex(6)}"

    assert 1 == run(["archive", "replay", "--to", "audit", "--all", "--url", broker])
    told = capsys.readouterr().err
    assert "antiphon: 2 events were sent, up to 2023-11-1" in told
    assert "; go on with --since @1700000060.25\nantiphon: gone\n" in told


def test_replay_to_nobody(
    url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A subscription that does not exist is an error."""
    monkeypatch.setattr("antiphon.messaging.replaying._DELAYS_S", (0.01,))
    broker = f"memory://{secrets.token_hex(6)}"

    assert 1 == run(
        ["archive", "replay", "--to", "nobody", "--since", f"@{BEGAN}", "--url", broker]
    )
    assert "no queue 'antiphon.sub.nobody'" in capsys.readouterr().err
