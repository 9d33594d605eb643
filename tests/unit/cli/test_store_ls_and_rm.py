"""``antiphon store ls`` and ``rm``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from antiphon.cli import store_rows
from antiphon.errors import KeyNotFound
from antiphon.storage.sqlite_store import SqliteStore
from tests.unit.cli.store_helpers import Scene, content, version_of

SHOP = {
    "prices/eur": (b"1.09", {"currency": "EUR", "n": 5}),
    "prices/usd": (b"1", {"currency": "USD", "n": 5}),
    "logo\n": (b"\0" * 3000, {"n": "5"}),
}


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    scene = Scene(tmp_path, monkeypatch)
    scene.fill(SHOP)
    return scene


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], [r"logo\n", "prices/eur", "prices/usd"]),
        (["--prefix", "prices/"], ["prices/eur", "prices/usd"]),
        (["--filter", "n=5"], ["prices/eur", "prices/usd"]),
        (["--filter", 'n="5"'], [r"logo\n"]),
        (["--filter", "n=5", "--filter", "currency=USD"], ["prices/usd"]),
        (["--prefix", "prices/", "--limit", "1"], ["prices/eur"]),
        (["--prefix", "none"], []),
    ],
)
def test_keys_are_chosen(
    scene: Scene,
    arguments: list[str],
    expected: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """By how they begin and by metadata, whose type counts; sorted, one a line."""
    assert 0 == scene.run("ls", scene.url, *arguments)
    assert expected == capsys.readouterr().out.splitlines()


def test_json_has_all_of_it(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    """The key exactly as it is, and the version that --if-version takes."""
    assert 0 == scene.run("ls", scene.url, "--json")
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    assert ["logo\n", "prices/eur", "prices/usd"] == [line["key"] for line in lines]
    assert {"currency": "EUR", "n": 5} == lines[1]["metadata"]
    assert (4, version_of(scene.url, "prices/eur")) == (lines[1]["size"], lines[1]["version"])


@pytest.mark.parametrize(
    ("columns", "told"),
    [(200, '{"currency":"EUR","n":5}'), (57, '{"currency":…'), (47, "{…}"), (40, "")],
)
def test_metadata_take_the_room_that_is_left(
    scene: Scene,
    columns: int,
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A key is never cut: it may be what somebody copies."""
    monkeypatch.setattr(store_rows, "columns_of_terminal", lambda: columns)

    assert 0 == scene.run("ls", scene.url, "--long", "--prefix", "prices/eur")
    row = capsys.readouterr().out.rstrip("\n")
    assert f"4 B  prices/eur  {told}".rstrip() == row[row.index("4 B") :]


def test_a_key_that_goes_meanwhile_is_left_out(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The others are listed all the same."""

    def multiget(self: SqliteStore, keys: Any) -> Iterator[Any]:
        self.delete("prices/eur")
        raise KeyNotFound("prices/eur")

    monkeypatch.setattr(SqliteStore, "multiget", multiget)
    assert 0 == scene.run("ls", scene.url, "--json")
    keys = [json.loads(line)["key"] for line in capsys.readouterr().out.splitlines()]

    assert ["logo\n", "prices/usd"] == keys


# -- rm -------------------------------------------------------------------------


def test_one_named_key_is_deleted_at_once(scene: Scene) -> None:
    """Nobody is asked about what he wrote out."""
    assert 0 == scene.run("rm", scene.url, "prices/eur")
    assert {"logo\n", "prices/usd"} == set(content(scene.url))


@pytest.mark.parametrize("choice", [["prices/eur", "prices/usd"], ["--prefix", "prices/"]])
@pytest.mark.parametrize(
    ("answer", "status", "left"), [(b"n\n", 1, 3), (b"", 1, 3), (b"y\n", 0, 1)]
)
def test_many_are_asked_about(
    scene: Scene,
    choice: list[str],
    answer: bytes,
    status: int,
    left: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Only a yes deletes; no answer is a no."""
    assert status == scene.run("rm", scene.url, *choice, stdin=answer)
    assert left == len(content(scene.url))
    assert f"Delete 2 keys of {scene.url} for good?" in capsys.readouterr().err


def test_a_yes_beforehand(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    """For programs; what was deleted is counted."""
    assert 0 == scene.run("rm", scene.url, "--filter", "n=5", "--yes")
    assert "deleted 2 keys\n" == capsys.readouterr().out
    assert 0 == scene.run("rm", scene.url, "--all", "--yes")
    assert {} == content(scene.url)


def test_a_missing_key_keeps_the_others(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    """A slip in one of several names deletes nothing, unless that is said to be fine."""
    named = ("prices/eur", "prices/eru")

    assert 3 == scene.run("rm", scene.url, *named, "--yes")
    assert 3 == len(content(scene.url))
    assert "no key 'prices/eru'" in capsys.readouterr().err
    assert 0 == scene.run("rm", scene.url, *named, "--yes", "--missing-ok")
    assert "deleted 1 key\n" == capsys.readouterr().out


def test_a_deletion_may_be_conditional(scene: Scene) -> None:
    """Who looked at a key before deletes what he saw, or nothing."""
    version = version_of(scene.url, "prices/eur")
    scene.run("set", scene.url, "prices/eur", "--text", "2")

    assert 3 == scene.run("rm", scene.url, "prices/eur", "--if-version", version)
    newer = version_of(scene.url, "prices/eur")
    assert 0 == scene.run("rm", scene.url, "prices/eur", "--if-version", newer)
    assert "prices/eur" not in content(scene.url)


@pytest.mark.parametrize(
    "arguments",
    [[], ["k", "--all"], ["--all", "--prefix", "p"], ["a", "b", "--if-version", "1-1-aa"]],
)
def test_what_is_meant_must_be_clear(scene: Scene, arguments: list[str]) -> None:
    """Else nothing is deleted."""
    assert 2 == scene.run("rm", scene.url, *arguments)
    assert 3 == len(content(scene.url))


@pytest.mark.parametrize(
    "store",
    [
        "env:redis://u:sesame@h",
        "memory://u:sesame@h",
        "redis//u:sesame@h",
        "redis:u:sesame@h",
        "redis://h/?pasword=sesame",
    ],
)
def test_a_slip_in_a_url_shows_no_password(
    scene: Scene, store: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is refused is told without it."""
    assert 0 != scene.run("ls", store)
    captured = capsys.readouterr()
    assert captured.err
    assert "sesame" not in captured.out + captured.err
