"""``antiphon store get`` and ``set``."""

from __future__ import annotations

import errno
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from antiphon import BrokerEventManager, open_bus
from antiphon.cli.store_output import TerminalGuard
from antiphon.cli.store_words import parse_entries
from antiphon.errors import FlushTimeout
from antiphon.storage.events import StoreModificationEvent
from tests.unit.cli.store_helpers import Scene, content, version_of

#: Bytes that no encoding likes.
BINARY = bytes(range(256)) * 20_000


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    return Scene(tmp_path, monkeypatch)


# -- set -----------------------------------------------------------------------


def test_bytes_go_in_and_out_unchanged(
    scene: Scene, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    """Standard input becomes the data, and they come out of standard output."""
    assert 0 == scene.run("set", scene.url, "a/b", stdin=BINARY)
    capsysbinary.readouterr()

    assert 0 == scene.run("get", scene.url, "a/b")
    assert BINARY == capsysbinary.readouterr().out


def test_what_is_stored_is_said(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    """With the version, by which a later write can be conditional."""
    scene.run("set", scene.url, "a\nb", "--text", "1.09")
    scene.run("set", scene.url, "a\nb", "--text", "1.1", "--json")
    first, second = capsys.readouterr().out.splitlines()
    version = version_of(scene.url, "a\nb")

    assert first.startswith(r"stored a\nb: 4 B, version 1-1-")
    assert {"key": "a\nb", "bytes": 3, "version": version} == json.loads(second)


def test_metadata_are_json_where_they_can_be(scene: Scene) -> None:
    """What JSON lacks has the notation of the wire of stores."""
    entries = ["n=5", "text=five", 'quoted="5"', "nan=NaN", "empty=", "x=a=b"]
    entries += ['raw={"!bytes": "aGk="}', 'at={"!datetime": "2026-11-21T12:00:00+00:00"}']

    assert {
        "n": 5, "text": "five", "quoted": "5", "nan": "NaN", "empty": "", "x": "a=b",
        "raw": b"hi", "at": datetime(2026, 11, 21, 12, tzinfo=UTC),
    } == parse_entries(entries, "--meta")  # fmt: skip


def test_new_metadata_replace_the_old(scene: Scene) -> None:
    """A key has the metadata that are given, and no others."""
    scene.fill({"k": (b"old", {"a": 1, "b": 2})})

    assert 0 == scene.run("set", scene.url, "k", "--text", "new", "--meta", "c=3")
    assert {"k": (b"new", {"c": 3})} == content(scene.url)


def test_without_metadata_a_key_keeps_its_own(scene: Scene) -> None:
    """Who pipes new data in does not lose what was beside the old."""
    scene.fill({"k": (b"old", {"a": 1})})

    assert 0 == scene.run("set", scene.url, "k", stdin=b"new")
    assert {"k": (b"new", {"a": 1})} == content(scene.url)


def test_metadata_alone_are_added(scene: Scene) -> None:
    """The data, and the entries that are not named, stay."""
    scene.fill({"k": (b"data", {"a": 1, "b": 2})})

    assert 0 == scene.run("set", scene.url, "k", "--meta-only", "--meta", "b=3")
    assert 3 == scene.run("set", scene.url, "none", "--meta-only", "--meta", "b=3")
    assert {"k": (b"data", {"a": 1, "b": 3})} == content(scene.url)


def test_metadata_go_through_a_file(scene: Scene) -> None:
    """What ``get --meta`` writes, ``set --meta-file`` reads: all types."""
    metadata = {"raw": b"\0", "at": datetime(2026, 11, 21, tzinfo=UTC), "!odd": [1, (2, None)]}
    scene.fill({"k": (b"data", metadata)})
    file = scene.folder / "meta.json"

    assert 0 == scene.run("get", scene.url, "k", file, "--meta")
    assert 0 == scene.run("set", scene.url, "copy", "--text", "data", "--meta-file", file)
    assert (b"data", metadata) == content(scene.url)["copy"]


@pytest.mark.parametrize("key", ["k", "new"])
def test_conditions_hold_or_nothing_happens(scene: Scene, key: str) -> None:
    """The status says so."""
    scene.fill({"k": b"1"})
    by_version = ["--if-version", version_of(scene.url, "k")]
    right, wrong = (["--if-absent"], by_version) if key == "new" else (by_version, ["--if-absent"])
    before = content(scene.url)

    assert 3 == scene.run("set", scene.url, key, "--text", "2", *wrong)
    assert before == content(scene.url)
    assert 0 == scene.run("set", scene.url, key, "--text", "2", *right)
    assert b"2" == content(scene.url)[key][0]


def test_an_input_that_fails_changes_nothing(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """However much of it was read before."""
    scene.fill({"k": b"old"})
    file = scene.folder / "data"
    file.write_bytes(BINARY)
    reads = iter([BINARY, BINARY])

    def read(self: Any, size: int = -1) -> bytes:
        try:
            return next(reads)
        except StopIteration:
            raise SystemExit(130) from None

    monkeypatch.setattr("antiphon.cli.store_output.Counted.read", read)
    with pytest.raises(SystemExit):
        scene.run("set", scene.url, "k", file)

    assert {"k": (b"old", {})} == content(scene.url)


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["f", "--text", "x"], "either FILE or --text"),
        (["f", "--meta-only", "--meta", "a=1"], "leaves the data"),
        (["--meta-only"], "needs --meta"),
        (["--if-absent", "--if-version", "1-1-aa"], "either --if-absent"),
        (["--if-version", "x"], "'x' is no version"),
        (["--meta", "a"], "'a' is not of the form NAME=VALUE"),
        (["--meta", 'a={"!x": 1}'], "begins with '!'"),
        (["--meta-file", "-"], "cannot be both"),
    ],
)
def test_wrong_calls_say_what_is_right(
    scene: Scene, arguments: list[str], hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Status 2, and no store is made."""
    assert 2 == scene.run("set", scene.url, "k", *arguments)
    assert hint in capsys.readouterr().err
    assert [] == os.listdir(scene.folder)


def test_a_missing_file_makes_no_store(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    """A slip in its name leaves nothing behind."""
    assert 1 == scene.run("set", scene.url, "k", scene.folder / "none")
    assert "No such file" in capsys.readouterr().err
    assert [] == os.listdir(scene.folder)


def test_a_broker_is_told(scene: Scene) -> None:
    """The command ends when the event is confirmed, so whoever listens has it."""
    broker = f"memory://{os.urandom(6).hex()}"
    heard: list[Any] = []
    with open_bus(broker) as bus:
        bus.connect(StoreModificationEvent, heard.append)

        assert 0 == scene.run(
            "set", scene.url, "k", "--text", "x", "--meta", "n=1", "--url", broker
        )
    assert [("set", "k", {"n": 1})] == [(e.action, e.key, e.metadata) for e in heard]


def test_a_broker_that_confirms_nothing_is_told_of(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The change is made; whether anybody hears of it is open."""

    def flush(self: BrokerEventManager, timeout_s: float) -> None:
        raise FlushTimeout("1 event was not confirmed")

    monkeypatch.setattr(BrokerEventManager, "flush", flush)
    broker = f"memory://{os.urandom(6).hex()}"

    assert 1 == scene.run("set", scene.url, "k", "--text", "x", "--url", broker)
    assert "is changed, but nobody may have heard of it: 1 event" in capsys.readouterr().err
    assert {"k": (b"x", {})} == content(scene.url)


def test_a_store_of_another_system_is_not_written(
    scene: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    """Those who listen to it would not hear of the change."""
    broker = f"memory://{os.urandom(6).hex()}"
    scene.run("set", scene.url, "k", "--text", "1", "--url", broker, "--system", "shop")

    assert 1 == scene.run("set", scene.url, "k", "--text", "2", "--url", broker)
    assert "belongs to the system 'shop'" in capsys.readouterr().err
    assert {"k": (b"1", {})} == content(scene.url)


# -- get -----------------------------------------------------------------------


def test_a_missing_key_has_a_status_of_its_own(
    scene: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    """A script can tell it from a store that is away."""
    scene.fill({"k": b"1"})

    assert 3 == scene.run("get", scene.url, "none")
    assert "antiphon: no key 'none' in" in capsys.readouterr().err


def test_a_file_is_replaced_in_one_step(scene: Scene) -> None:
    """It keeps its permissions, and nothing is left beside it."""
    scene.fill({"k": BINARY})
    file = scene.folder / "out"
    file.write_bytes(b"old")
    file.chmod(0o640)
    inode = file.stat().st_ino

    assert 0 == scene.run("get", scene.url, "k", file)
    assert (BINARY, 0o640) == (file.read_bytes(), file.stat().st_mode & 0o777)
    assert inode != file.stat().st_ino
    assert {"out", "shop.db"} == set(os.listdir(scene.folder))


def test_a_missing_key_leaves_a_file_alone(scene: Scene) -> None:
    """It is not even opened."""
    scene.fill({"k": b"1"})
    file = scene.folder / "out"
    file.write_bytes(b"old")

    assert 3 == scene.run("get", scene.url, "none", file)
    assert b"old" == file.read_bytes()


def test_a_full_disk_leaves_a_file_alone(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing else is left there, and the file is named."""
    scene.fill({"k": BINARY})
    file = scene.folder / "out"
    file.write_bytes(b"old")

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)

    assert 1 == scene.run("get", scene.url, "k", file)
    assert f"{file}: No space left on device" in capsys.readouterr().err
    assert b"old" == file.read_bytes()
    assert {"out", "shop.db"} == set(os.listdir(scene.folder))


@pytest.mark.parametrize(
    ("span", "expected"), [("2:4", b"cd"), ("-2:", b"gh"), (":-6", b"ab"), (":", b"abcdefgh")]
)
def test_a_range_counts_as_slices_do(
    scene: Scene, span: str, expected: bytes, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    """Negative numbers count from the end."""
    scene.fill({"k": b"abcdefgh"})

    assert 0 == scene.run("get", scene.url, "k", "--range", span)
    assert expected == capsysbinary.readouterr().out


def test_a_terminal_is_spared_what_it_would_obey() -> None:
    """Text passes, also in pieces that end within a character."""
    text = "Grüße\t✓\r\n".encode()
    guard = TerminalGuard()
    for byte in text:
        guard.check(bytes([byte]))

    for data in (b"\x1b[31m", b"\xff\xfe", b"a\0b", "\x9b31m".encode()):
        with pytest.raises(Exception, match="no text"):
            TerminalGuard().check(data)


# -- The store ------------------------------------------------------------------


def test_reading_makes_no_store(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    """A slip in a name is an error, and leaves no file."""
    for url in (scene.url, scene.other("files", "file")):
        assert 1 == scene.run("get", url, "k")
        assert 1 == scene.run("rm", url, "k")
        assert "does not exist" in capsys.readouterr().err

    assert [] == os.listdir(scene.folder)


def test_reading_makes_no_store_of_an_empty_folder(scene: Scene) -> None:
    """Writing does."""
    url = scene.other("empty", "file")
    (scene.folder / "empty").mkdir()

    assert 1 == scene.run("ls", url)
    assert [] == os.listdir(scene.folder / "empty")
    assert 0 == scene.run("set", url, "k", "--text", "x")
    assert 0 == scene.run("ls", url)


def test_reading_leaves_another_database_alone(
    scene: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    """A sqlite file of another program gets no tables of ours."""
    scene.fill({"k": b"1"})

    assert 1 == scene.run("ls", f"{scene.url}?table=other")
    assert "has no table 'other'" in capsys.readouterr().err


def test_a_url_may_be_in_the_environment(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Or in a file that is named there: then it is in no list of processes."""
    scene.fill({"k": b"1"})
    file = scene.folder / "url"
    file.write_text(scene.url + "\n")
    monkeypatch.setenv("SHOP_FILE", str(file))

    assert 0 == scene.run("ls", "env:SHOP")
    assert "k\n" == capsys.readouterr().out
    assert 2 == scene.run("ls", "env:NONE")
    assert "variable NONE" in capsys.readouterr().err


def test_a_store_that_ends_with_the_command_is_refused(scene: Scene) -> None:
    """Nobody means to write into memory that nobody else sees."""
    assert 2 == scene.run("set", "memory:", "k", "--text", "x")
    assert 2 == scene.run("set", "sqlite::memory:", "k", "--text", "x")


def test_a_read_only_store_says_so(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    """Before the input is read."""
    (scene.folder / "index.json").write_text("{}")

    assert 1 == scene.run("set", f"static+file://{scene.folder}", "k", "--text", "x")
    assert "can only be read" in capsys.readouterr().err


@pytest.mark.parametrize("data", ["1.09", "two\nlines\n", ""])
def test_a_terminal_goes_on_in_a_new_line(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, data: str
) -> None:
    """Or its prompt would stand behind the value."""
    assert 0 == scene.run("set", scene.url, "shown", "--text", data)
    ours, theirs = os.openpty()
    try:
        with open(theirs, "w", encoding="utf-8") as terminal:
            monkeypatch.setattr("sys.stdout", terminal)
            assert 0 == scene.run("get", scene.url, "shown")
            terminal.write("$")
            terminal.flush()

            shown = b""
            while not shown.endswith(b"$"):
                shown += os.read(ours, 100)
            lines = data if data.endswith("\n") or not data else data + "\n"
            assert lines.replace("\n", "\r\n").encode() + b"$" == shown
    finally:
        os.close(ours)


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (("get", "logo"), "standard output"),
        (("ls",), "standard output"),
        (("get", "logo", "/dev/full"), "/dev/full"),
    ],
)
def test_an_output_that_is_full_is_named(
    scene: Scene,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: tuple[str, ...],
    name: str,
) -> None:
    """Be it standard output or a device."""
    assert 0 == scene.run("set", scene.url, "logo", "--text", "x")
    verb, *rest = command
    with open("/dev/full", "w", encoding="utf-8") as full:
        monkeypatch.setattr("sys.stdout", full)
        assert 1 == scene.run(verb, scene.url, *rest)

    assert f"antiphon: {name}: No space left on device\n" == capsys.readouterr().err
