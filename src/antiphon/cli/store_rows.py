"""Keys as rows for people."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from antiphon.cli.colours import painted
from antiphon.cli.output import escaped
from antiphon.cli.store_words import metadata_text
from antiphon.terminal.tables import columns_of_terminal
from antiphon.terminal.utils import size_text

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
    tail = f"  {painted(told, dim=True)}" if told else ""
    return f"{painted(head, dim=True)}  {shown}{tail}"


def _moment(seconds: float) -> str:
    try:
        return f"{datetime.fromtimestamp(seconds):%Y-%m-%d %H:%M:%S}"
    except (ValueError, OverflowError, OSError):
        return "?"
