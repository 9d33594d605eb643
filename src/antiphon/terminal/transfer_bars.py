"""Long transfers of bytes, drawn on standard error: standard output may have the bytes.

Nothing is drawn where standard error is no terminal, nor for what is over soon.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from antiphon.terminal.utils import printable

if TYPE_CHECKING:
    from antiphon.terminal.transfer_rows import TransferRows

#: Seconds that a transfer may take without being shown: nobody wants to see a flash.
DELAY_S = 0.5


@contextlib.contextmanager
def transfer(name: str, size: int | None) -> Iterator[Callable[[int], None]]:
    """Show a transfer while the block runs; yields what is called with each number of bytes.

    Args:
        name: says in words what is done.
        size: bytes to be transferred; None if unknown.
    """
    if not watched():
        yield lambda count: None
        return
    with _rows() as rows:
        yield rows.add_bytes(printable(name), size)


@contextlib.contextmanager
def batch(name: str, keys: int | None) -> Iterator[Batch]:
    """Show work on many keys while the block runs.

    Args:
        name: says in words what is done.
        keys: how many there are; None if unknown.
    """
    if not watched():
        yield Batch(None, lambda count: None)
        return
    with _rows() as rows:
        yield Batch(rows, rows.add_count(printable(name), keys))


class Batch:
    """Work on many keys, some of them large."""

    def __init__(self, rows: TransferRows | None, step: Callable[[int], None]) -> None:
        self._rows = rows
        #: Called with how many keys more are done.
        self.step = step

    @contextlib.contextmanager
    def large(self, name: str, size: int | None) -> Iterator[Callable[[int], None]]:
        """Show the transfer of one value below the others; see ``transfer``."""
        if self._rows is None:
            yield lambda count: None
            return
        step = self._rows.add_bytes(printable(name), size)
        try:
            yield step
        finally:
            self._rows.drop_last()


def watched() -> bool:
    """Whether standard error is a terminal on which something can be drawn."""
    stream = sys.stderr
    try:
        return stream is not None and stream.isatty() and os.environ.get("TERM") != "dumb"
    except (AttributeError, ValueError):
        return False


@contextlib.contextmanager
def _rows() -> Iterator[TransferRows]:
    # Only here, so that importing the package needs no library.
    from antiphon.terminal.transfer_rows import TransferRows

    rows = TransferRows(time.monotonic() + DELAY_S)
    try:
        yield rows
    finally:
        rows.close()
