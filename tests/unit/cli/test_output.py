"""Lines on standard output, one by one or several together."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from antiphon.archive import Event, open_archive
from antiphon.cli import output
from antiphon.cli.main import _OneLine, run
from antiphon.cli.output import say, write_lines
from antiphon.errors import StoreError


class Written:
    """What went out, a piece each time."""

    def __init__(self) -> None:
        self.pieces: list[str] = []


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Written:
    found = Written()
    monkeypatch.setattr(output, "_write", found.pieces.append)
    return found


def test_lines_are_written_together(written: Written) -> None:
    """A program that reads them does not pay for each."""
    assert 3 == write_lines(["a", "b", "c"])
    assert ["a\nb\nc\n"] == written.pieces


def test_no_lines(written: Written) -> None:
    """Nothing is written of nothing."""
    assert 0 == write_lines([])
    assert [] == written.pieces


def test_a_terminal_shows_each_at_once(written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who looks sees the first while the second is looked for."""
    monkeypatch.setattr(output, "on_terminal", lambda: True)
    write_lines(["a", "b"])

    assert ["a\n", "b\n"] == written.pieces


def test_a_line_does_not_wait_for_ever(written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a while what there is goes out with the next line."""
    times = iter([0.0, 0.1, 0.3, 0.3, 0.4])
    monkeypatch.setattr("antiphon.cli.output.time.monotonic", lambda: next(times))
    write_lines(["a", "b", "c"])

    assert ["a\nb\n", "c\n"] == written.pieces


def test_long_lines_do_not_wait(written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many characters are a piece, however soon they come."""
    monkeypatch.setattr(output, "PIECE", 10)
    write_lines(["a" * 6, "b" * 6, "c"])

    assert [f"{'a' * 6}\n{'b' * 6}\n", "c\n"] == written.pieces


def test_what_comes_before_an_error_is_written(written: Written) -> None:
    """A search that fails in the middle has shown what it had found."""

    def lines() -> Iterator[str]:
        yield "a"
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        write_lines(lines())
    assert ["a\n"] == written.pieces


HOSTILE = "a\x1b[31m\nantiphon: b\x9b2J"


def test_what_is_said_is_one_line_that_no_terminal_obeys(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Names of keys and files, and answers of servers, are somebody else's."""
    say(f"no key {HOSTILE}")

    assert "antiphon: no key a\\x1b[31m\\nantiphon: b\\x9b2J\n" == capsys.readouterr().err


@pytest.mark.parametrize("error", [StoreError(HOSTILE), OSError(2, "is not there", HOSTILE)])
def test_errors_are_said_so(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever a command ends with."""

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("antiphon.cli.main.cli.main", fail)
    status = run([])

    assert 1 == status
    assert capsys.readouterr().err[:-1].isprintable()


def test_logs_are_said_so() -> None:
    """What the library logs may name a key."""
    record = logging.LogRecord("antiphon", 30, "", 0, "lost %s", (HOSTILE,), None)

    assert _OneLine().format(record).isprintable()


def test_an_export_to_a_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It obeys nothing of what somebody else wrote, and it is the same JSON."""
    url = f"sqlite://{tmp_path}/archive.db"
    with open_archive(url) as store:
        store.save(Event("1", "x", 1.7e9, [], "\x1b[2J \x9b31m \u202e"))
    monkeypatch.setattr("antiphon.cli.archive_moving.on_terminal", lambda: True)
    assert 0 == run(["archive", "export", "--archive", url])
    line = capsys.readouterr().out.rstrip("\n")

    assert line.isprintable()
    assert "\x1b[2J \x9b31m \u202e" == json.loads(line)["content"]
