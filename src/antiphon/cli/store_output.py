"""Bytes between stores and files, pipes and terminals."""

from __future__ import annotations

import codecs
import contextlib
import os
import stat
import sys
import tempfile
import unicodedata
from collections.abc import Callable, Iterator
from typing import BinaryIO

import click

from antiphon.cli.output import named, say
from antiphon.storage.utils import BUFFER_BYTES, Readable

#: In place of the name of a file: standard input or output.
STANDARD = "-"


@contextlib.contextmanager
def opened_input(path: str | None) -> Iterator[BinaryIO]:
    """Open the file at *path* for reading; ``-`` or None is standard input."""
    if path is not None and path != STANDARD:
        with open(path, "rb") as file:
            yield file
        return
    if sys.stdin is None:
        raise click.UsageError("standard input is closed; name a file")
    if sys.stdin.isatty():
        say("reading the data from the terminal, up to Ctrl-D")
    yield sys.stdin.buffer


class Counted:
    """A source whose bytes are counted as they are read.

    Attributes:
        count: bytes so far.
    """

    def __init__(self, source: Readable, step: Callable[[int], None]) -> None:
        self._source = source
        self._step = step
        self.count = 0

    def read(self, size: int = -1) -> bytes:
        """Return up to *size* bytes; ``b""`` at the end."""
        piece = self._source.read(size)
        self.count += len(piece)
        self._step(len(piece))
        return piece


def size_of(file: BinaryIO) -> int | None:
    """Return how many bytes *file* has; None if it is no plain file."""
    try:
        told = os.fstat(file.fileno())
    except (OSError, ValueError):
        return None
    return told.st_size if stat.S_ISREG(told.st_mode) else None


@contextlib.contextmanager
def replaced_file(path: str) -> Iterator[BinaryIO]:
    """Open a file that takes the place of the one at *path* at the end; not after an error.

    A pipe or device is written as it is.
    """
    path = os.path.realpath(path)
    mode = _mode_of(path)
    if mode is not None and stat.S_ISDIR(mode):
        raise click.UsageError(f"{path} is a folder; name a file in it")
    if mode is not None and not stat.S_ISREG(mode):
        try:
            with open(path, "wb") as file:
                yield file
        except OSError as exc:
            raise named(exc, path) from None
        return
    directory, name = os.path.split(path)
    if not os.path.isdir(directory):
        raise click.UsageError(f"there is no folder {directory} to write {name} into")
    number, temporary = tempfile.mkstemp(prefix=f".{name[:100]}.", dir=directory)
    try:
        with os.fdopen(number, "wb") as file:
            os.fchmod(number, 0o666 & ~_umask() if mode is None else stat.S_IMODE(mode))
            yield file
            file.flush()
            os.fsync(number)
        os.replace(temporary, path)
    except BaseException as exc:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        if isinstance(exc, OSError):
            raise named(exc, path) from None
        raise


class TerminalGuard:
    """Keeps what a terminal would obey, or could not show, away from one."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")()

    def check(self, piece: bytes) -> None:
        """Raise ``click.UsageError`` unless *piece* goes on as text."""
        try:
            text = self._decoder.decode(piece)
        except UnicodeDecodeError:
            text = "\0"
        if not all(c in "\n\r\t" or unicodedata.category(c) != "Cc" for c in text):
            raise click.UsageError(
                "the data are no text: name a FILE to keep them in, or a pipe (| xxd | less)"
            )


def gives_same(here: Readable, there: Readable) -> bool:
    """Return whether two streams give the same bytes."""
    while True:
        one, other = _read_full(here), _read_full(there)
        if one != other:
            return False
        if not one:
            return True


def _mode_of(path: str) -> int | None:
    try:
        return os.stat(path).st_mode
    except FileNotFoundError:
        return None


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _read_full(stream: Readable) -> bytes:
    pieces: list[bytes] = []
    held = 0
    while held < BUFFER_BYTES and (piece := stream.read(BUFFER_BYTES - held)):
        pieces.append(piece)
        held += len(piece)
    return b"".join(pieces)
