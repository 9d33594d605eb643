"""``antiphon store watch``."""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from antiphon import open_bus, open_store
from antiphon.cli import store_changes, store_watching
from antiphon.cli.main import run
from antiphon.errors import StoreUnavailable
from antiphon.storage.sqlite_store import SqliteStore
from tests.patience import wait_until
from tests.unit.cli.store_helpers import Scene, opened


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    scene = Scene(tmp_path, monkeypatch)
    scene.fill({"a": b"1", "prices/eur": b"1"})
    with opened(scene.url) as store:
        store.set_data("a", BytesIO(b"2"))
        store.delete("a")
    return scene


ALL = [("set", "a"), ("set", "prices/eur"), ("update", "a"), ("delete", "a")]


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """Return what was printed since the last time."""
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def changes(told: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Return what happened to which keys."""
    return [(each["action"], each["key"]) for each in told]


@pytest.fixture
def in_background() -> Iterator[Callable[..., threading.Thread]]:
    """Runs a command in a thread; waits for its end."""
    threads: list[threading.Thread] = []

    def start(*arguments: str) -> threading.Thread:
        threads.append(threading.Thread(target=run, args=[["store", *arguments]]))
        threads[-1].start()
        return threads[-1]

    yield start
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()


def test_history_is_told_in_order(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    """From the first change on, as the journal has it."""
    assert 0 == scene.run("watch", scene.url, "--from-start", "--no-wait", "--json")
    assert changes(lines(capsys)) == ALL


@pytest.mark.parametrize("count", range(1, 5))
def test_a_watch_goes_on_where_another_one_ended(
    scene: Scene, count: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is missing between the two, and nothing is there twice."""
    begin = ["--from-start", "--count", str(count)]
    told = []
    for _ in range(2):
        assert 0 == scene.run("watch", scene.url, *begin, "--no-wait", "--json")
        out, err = capsys.readouterr()
        told += [json.loads(line) for line in out.splitlines()]
        begin = ["--since", err.splitlines()[-1].rpartition(" ")[2]]

    assert changes(told) == ALL


def test_a_position_of_a_line_is_where_to_go_on(
    scene: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    """A program keeps that of the last line that it handled."""
    scene.run("watch", scene.url, "--from-start", "--no-wait", "--json")
    second = lines(capsys)[1]

    scene.run("watch", scene.url, "--since", second["position"], "--no-wait", "--json")
    assert changes(lines(capsys)) == ALL[2:]


def test_people_read_a_line_a_change(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    """Time, action, key and version."""
    scene.run("watch", scene.url, "--from-start", "--no-wait", "--prefix", "prices/")

    assert [["set", "prices/eur"]] == [
        line.split()[2:4] for line in capsys.readouterr().out.splitlines()
    ]


def test_a_narrow_terminal_has_the_key(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The version goes, and the day; the key is whole."""
    monkeypatch.setattr(store_changes, "columns_of_terminal", lambda: 40)
    scene.run("watch", scene.url, "--from-start", "--no-wait", "--prefix", "prices/")

    assert re.fullmatch(r"\d\d:\d\d:\d\d  set     prices/eur\n", capsys.readouterr().out)


def test_what_comes_is_told(
    scene: Scene,
    in_background: Callable[..., threading.Thread],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """By whomever it is changed; what was before is not told."""
    watching = in_background("watch", scene.url, "--json", "--count", "2", "--prefix", "new")
    seen = ""

    def began() -> bool:
        nonlocal seen
        seen += capsys.readouterr().err
        return "watching" in seen

    wait_until(began, "the watch")
    with opened(scene.url) as store:
        for key in ("new/1", "old", "new/2"):
            store.set_data(key, BytesIO(b"x"))
    watching.join(20)

    assert [("set", "new/1"), ("set", "new/2")] == changes(lines(capsys))


def test_a_store_that_is_away_is_waited_for(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is told once that it is away, and when it is back; nothing is missing."""
    answers = iter([StoreUnavailable("gone fishing")] * 3)

    def wait(self: SqliteStore, position: Any, timeout_s: float) -> Any:
        for error in answers:
            raise error
        self.set_data("late", BytesIO(b"x"))
        return self.head()

    monkeypatch.setattr(SqliteStore, "wait", wait)
    monkeypatch.setattr(store_watching, "RETRY_S", 0)
    assert 0 == scene.run("watch", scene.url, "--json", "--count", "1")

    out, err = capsys.readouterr()
    assert [("set", "late")] == changes([json.loads(out)])
    assert 1 == err.count("gone fishing; trying again")
    assert "the store is back" not in err.partition("gone fishing")[0]


def test_a_position_that_is_lost_is_an_error(
    scene: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    """Never a part of what happened; it is said what to do, and not to go on from there."""
    position = "00000000-0000-0000-0000-000000000001@1-1-aaaaaaaaaaaaaaaa"

    assert 1 == scene.run("watch", scene.url, "--since", position)
    err = capsys.readouterr().err
    assert "watch again without --since" in err
    assert "go on with" not in err


def test_events_have_the_metadata(
    scene: Scene,
    in_background: Callable[..., threading.Thread],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """They are those of this store only, of all that the broker carries."""
    broker = f"memory://{os.urandom(6).hex()}"
    with (
        open_bus(broker) as bus,
        open_store(scene.url, event_manager=bus) as store,
        open_store(scene.other("other"), event_manager=bus) as other,
    ):
        watching = in_background(
            "watch", scene.url, "--events", "--url", broker, "--json", "--count", "1"
        )
        seen = ""

        def began() -> bool:
            nonlocal seen
            seen += capsys.readouterr().err
            return "watching the events" in seen

        wait_until(began, "the watch")
        other.set("k", (BytesIO(b"x"), {"of": "another"}))
        version = store.set("k", (BytesIO(b"x"), {"n": 1}))
        watching.join(20)

    (told,) = lines(capsys)
    assert (told["key"], told["metadata"], told["version"]) == ("k", {"n": 1}, str(version))


def test_a_static_store_is_looked_at(
    scene: Scene,
    in_background: Callable[..., threading.Thread],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It has no journal, so it cannot say what was before."""
    index = scene.folder / "index.json"
    index.write_text("{}")
    url = f"static+file://{scene.folder}?poll=0.05"

    assert 1 == scene.run("watch", url, "--from-start")
    assert "only be watched from now on" in capsys.readouterr().err
    watching = in_background("watch", url, "--json", "--count", "1")
    seen = ""

    def began() -> bool:
        nonlocal seen
        seen += capsys.readouterr().err
        return "looked at every" in seen

    wait_until(began, "the watch")
    new = scene.folder / "new"
    new.write_text('{"eur": {"n": 1}}')
    new.rename(index)
    watching.join(20)

    (told,) = lines(capsys)
    assert (told["action"], told["key"], told["metadata"]) == ("set", "eur", {"n": 1})


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["--since", "x"], "'x' is no position"),
        (["--since", "x", "--from-start"], "either --since or"),
        (["--events", "--no-wait"], "from now on"),
    ],
)
def test_wrong_calls_of_watch(
    scene: Scene, arguments: list[str], hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message says what is right."""
    assert 2 == scene.run("watch", scene.url, *arguments)
    assert hint in capsys.readouterr().err
