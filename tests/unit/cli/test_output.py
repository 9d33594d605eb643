"""Lines on standard output, one by one or several together."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from antiphon.cli import output
from antiphon.cli.output import write_lines


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
