"""Keys as rows for people."""

from __future__ import annotations

import os
from datetime import datetime
from typing import Any

import click

from antiphon.cli.store_words import escaped, metadata_text, size_text
from antiphon.terminal.tables import columns_of_terminal
from antiphon.terminal.utils import on_terminal

#: Columns that metadata need to be worth showing beside a key.
_LEAST = 12


def long_row(key: str, value: Any) -> str:
    """Return time, size, key and as much of the metadata as the terminal has room for."""
    when = "" if value.modified is None else _moment(value.modified)
    head = f"{when:19}  {size_text(value.size):>9}"
    shown = escaped(key)
    metadata = value.metadata
    told = escaped(metadata_text(metadata)) if metadata else ""
    room = columns_of_terminal() - len(head) - len(shown) - 4
    if told and len(told) > room:
        told = f"{told[: room - 1]}…" if room >= _LEAST else "{…}" if room >= 3 else ""
    tail = f"  {dimmed(told)}" if told else ""
    return f"{dimmed(head)}  {shown}{tail}"


def dimmed(text: str) -> str:
    """Return *text* as it looks where a person looks at it, and wants colours."""
    return styled(text, dim=True)


def styled(text: str, **style: Any) -> str:
    """Return *text* in *style* (of click) where a person looks at it, and wants colours."""
    if not text or not on_terminal() or os.environ.get("NO_COLOR"):
        return text
    return click.style(text, **style)


def _moment(seconds: float) -> str:
    try:
        return f"{datetime.fromtimestamp(seconds):%Y-%m-%d %H:%M:%S}"
    except (ValueError, OverflowError, OSError):
        return "?"
