"""Tables and trees as text, as wide as the terminal and no wider."""

from __future__ import annotations

import io
import shutil
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from antiphon.terminal.utils import on_terminal, printable

#: Columns where the output is no terminal: as wide as it needs.
UNLIMITED = 10_000


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes:
        title: its first line.
        is_elastic: whether it is the one that is folded where the room is short.
        is_number: whether it stands at the right.
    """

    title: str
    is_elastic: bool = False
    is_number: bool = False


@dataclass(slots=True)
class Branch:
    """A line of a tree, and what hangs below it."""

    text: str
    below: list[Branch] = field(default_factory=list)

    def add(self, text: str) -> Branch:
        """Hang a line below this one, and return it."""
        self.below.append(Branch(text))
        return self.below[-1]


def columns_of_terminal() -> int:
    """Return how many columns standard output has."""
    if not on_terminal():
        return UNLIMITED
    return shutil.get_terminal_size().columns


def table(columns: Sequence[Column], rows: Iterable[Sequence[object]]) -> str:
    """Return *rows* as lines of text below the titles of *columns*."""
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        made.add_column(
            column.title,
            overflow="fold",
            no_wrap=not column.is_elastic,
            ratio=1 if column.is_elastic else None,
            justify="right" if column.is_number else "left",
        )
    for row in rows:
        made.add_row(*(Text(printable(cell)) for cell in row))
    return _drawn(made)


def tree(root: Branch) -> str:
    """Return *root* and what hangs below it as lines of text."""
    made = Tree(Text(printable(root.text), style="bold"), guide_style="dim")
    _hang(made, root.below)
    return _drawn(made)


def _hang(made: Tree, below: Iterable[Branch]) -> None:
    for branch in below:
        _hang(made.add(Text(printable(branch.text))), branch.below)


def _drawn(what: RenderableType) -> str:
    # With the encoding of standard output, so that lines are drawn with what that has.
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    drawn = io.BytesIO()
    file = io.TextIOWrapper(drawn, encoding=encoding, errors="backslashreplace", newline="")
    is_terminal = on_terminal()
    console = Console(
        file=file,
        width=columns_of_terminal(),
        force_terminal=is_terminal,
        color_system="standard" if is_terminal else None,
        legacy_windows=False,
        highlight=False,
    )
    console.print(what)
    file.flush()
    return "\n".join(line.rstrip() for line in drawn.getvalue().decode(encoding).splitlines())
