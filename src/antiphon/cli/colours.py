"""Colours, where a person looks who has not declined them."""

from __future__ import annotations

import os
import shutil
import textwrap

import click

from antiphon.terminal.tables import UNLIMITED
from antiphon.terminal.utils import on_terminal


def is_coloured() -> bool:
    """Return whether standard output is a terminal, and ``NO_COLOR`` is not set."""
    return on_terminal() and not os.environ.get("NO_COLOR")


def painted(text: str, colour: str | None = None, *, bold: bool = False, dim: bool = False) -> str:
    """Return *text* in a colour of click's, or as it is where nobody would see it."""
    if not text or not is_coloured():
        return text
    return click.style(text, fg=colour, bold=bold or None, dim=dim or None)


def folded(text: str, indent: int) -> str:
    """Return *text* in lines that fit the terminal behind *indent* columns; the first is not."""
    columns = shutil.get_terminal_size().columns if on_terminal() else UNLIMITED
    # A path or a command that is longer than a line is broken nowhere, so that it can be copied.
    lines = textwrap.wrap(
        text, max(columns - indent, 20), break_long_words=False, break_on_hyphens=False
    )
    return ("\n" + " " * indent).join(lines)
