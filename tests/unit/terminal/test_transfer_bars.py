"""Transfers drawn on standard error."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterator

import pytest
from rich.cells import cell_len

from antiphon.terminal import transfer_bars
from antiphon.terminal.transfer_bars import batch, transfer
from antiphon.terminal.utils import size_text

LONG = "storing a/very/long/name/that-goes-on-and-on/価格/for-ever-and-ever"


class Terminal(io.StringIO):
    """What is written to a terminal."""

    encoding = "utf-8"  # type: ignore[assignment]

    def isatty(self) -> bool:
        """It is one."""
        return True

    @contextlib.contextmanager
    def attached(self) -> Iterator[None]:
        """Be standard error while the block runs; in a fixture pytest would undo that."""
        with contextlib.redirect_stderr(self):
            yield

    def rows(self) -> list[str]:
        """Return all rows that were ever drawn, without colours."""
        plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.getvalue())
        return [row for row in re.split(r"[\r\n]+", plain) if row]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    terminal = Terminal()
    monkeypatch.setattr(transfer_bars, "DELAY_S", 0)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    return terminal


def test_a_transfer_says_how_far_it_is(terminal: Terminal) -> None:
    """Its name, a bar, and how much of how much; it is gone at the end."""
    with terminal.attached(), transfer("reading logo", 4 << 20) as step:
        step(1 << 20)

    assert "reading logo" in terminal.rows()[0]
    assert "1.0 MiB of 4.0 MiB" in terminal.rows()[0]
    assert terminal.getvalue().endswith("\x1b[2K")


@pytest.mark.parametrize("columns", [20, 30, 40, 50, 64, 80, 120])
@pytest.mark.parametrize("name", ["reading k", LONG])
@pytest.mark.parametrize("size", [None, 1 << 40])
def test_a_row_is_never_folded(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, columns: int, name: str, size: int | None
) -> None:
    """However narrow the terminal: what is folded cannot be erased."""
    monkeypatch.setenv("COLUMNS", str(columns))
    with terminal.attached(), transfer(name, size) as step:
        step(123_456_789)

    assert terminal.rows()
    assert [] == [row for row in terminal.rows() if cell_len(row) > columns]


def test_a_large_value_has_a_row_below_the_keys(terminal: Terminal) -> None:
    """As long as it takes."""
    with terminal.attached(), batch("copying", 3) as progress:
        progress.step(1)
        with progress.large("logo", 100) as step:
            step(50)
        progress.step(1)
    rows = terminal.rows()

    assert any(row.startswith("copying") and "1/3" in row for row in rows)


def test_control_characters_in_names_are_not_obeyed(terminal: Terminal) -> None:
    """Keys come from anyone."""
    with terminal.attached(), transfer("reading \x1b]0;owned\a\n[bold]x", 10) as step:
        step(1)

    assert "\x1b]0" not in terminal.getvalue()
    assert any("[bold]x" in row for row in terminal.rows())


def test_what_is_soon_over_is_not_shown(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody wants to see a flash."""
    monkeypatch.setattr(transfer_bars, "DELAY_S", 60)
    with terminal.attached(), transfer("reading", 10) as step:
        step(10)

    assert "" == terminal.getvalue()


@pytest.mark.parametrize("name", ["dumb", None])
def test_nothing_is_drawn_where_nothing_can_be(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, name: str | None
) -> None:
    """On a dumb terminal, and where standard error is none."""
    if name is None:
        monkeypatch.setattr(terminal, "isatty", lambda: False)
    else:
        monkeypatch.setenv("TERM", name)
    with terminal.attached(), transfer("reading", 10) as step, batch("copying", 3) as progress:
        step(10)
        progress.step(1)
        with progress.large("logo", None) as step:
            step(1)

    assert "" == terminal.getvalue()


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"), (999, "999 B"), (1000, "1.0 KiB"), (1 << 20, "1.0 MiB"), (150 << 20, "150 MiB"),
        (1000 << 20, "1.0 GiB"), (5 << 50, "5120 TiB"), (None, "?"),
    ],
)  # fmt: skip
def test_sizes_are_short(size: int | None, text: str) -> None:
    """At most eight characters."""
    assert text == size_text(size)
