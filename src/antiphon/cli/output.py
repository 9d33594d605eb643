"""Standard output, whose reader may go at any time (``| head``)."""

from __future__ import annotations

import contextlib
import io
import os
import select
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from typing import IO, Any

import click

from antiphon.terminal.utils import on_terminal

#: Characters that are written together, and seconds that the first of them may wait.
PIECE, PIECE_S = 65536, 0.2


class ReaderGone(click.ClickException):
    """Nobody reads the output any more; nothing needs to be said about it."""

    #: As shells see a process that a closed pipe ended.
    exit_code = 128 + signal.SIGPIPE

    def __init__(self) -> None:
        super().__init__("nobody reads the output")

    def show(self, file: IO[Any] | None = None) -> None:
        """Say nothing."""


def prepare() -> None:
    """Let the standard streams escape what their encoding lacks, in place of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def escaped(text: str) -> str:
    """Return *text* on one line, with nothing in it that a terminal would obey."""
    return text if text.isprintable() else repr(text)[1:-1]


def say(text: str) -> None:
    """Say *text*, on one line of standard error, in the name of the command.

    Whoever made up a key, a file's name or an answer may have thought of terminals: what they
    would obey is escaped.
    """
    click.echo(f"antiphon: {escaped(text)}", err=True)


def write_line(line: str) -> None:
    """Write *line* at once.

    Raises:
        ReaderGone: the pipe is closed at its other end.
        OSError: it cannot be written for another reason (a full disk).
    """
    _write(line + "\n")


def write_lines(lines: Iterable[str]) -> int:
    """Write *lines*, at once to a terminal, else several together; return how many there were.

    Raises:
        ReaderGone, OSError: see ``write_line``.
        Exception: what *lines* raise; those before it are written.
    """
    count = waiting = 0
    piece: list[str] = []
    due = 0.0 if on_terminal() else time.monotonic() + PIECE_S
    try:
        for line in lines:
            piece.append(line)
            count += 1
            waiting += len(line)
            if waiting >= PIECE or time.monotonic() >= due:
                whole, piece, waiting = piece, [], 0
                _write("\n".join(whole) + "\n")
                due = due and time.monotonic() + PIECE_S
    finally:
        if piece:
            _write("\n".join(piece) + "\n")
    return count


def write_bytes(piece: bytes) -> None:
    """Write *piece* at once; raises as ``write_line`` does."""
    with _reader_may_go():
        sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()


def named(exc: OSError, name: str) -> OSError:
    """Return *exc* with the *name* of what cannot be written; a full disk tells none."""
    return exc if exc.errno is None or exc.filename else OSError(exc.errno, exc.strerror, name)


def check_reader() -> None:
    """Raise ``ReaderGone`` if nobody reads the output any more: no event may come to tell."""
    if not has_reader():
        _forget_output()
        raise ReaderGone


def has_reader() -> bool:
    """Return whether somebody may still read the output; from any thread."""
    poll = select.poll()
    try:
        poll.register(sys.stdout.fileno(), 0)
    except (OSError, ValueError, AttributeError):
        return True  # not a file that can be polled
    return not any(events & (select.POLLERR | select.POLLHUP) for _, events in poll.poll(0))


def _write(text: str) -> None:
    with _reader_may_go():
        sys.stdout.write(text)
        sys.stdout.flush()


@contextlib.contextmanager
def _reader_may_go() -> Iterator[None]:
    if sys.stdout is None:  # started with its output closed (>&-)
        raise ReaderGone
    try:
        yield
    except BrokenPipeError:
        _forget_output()
        raise ReaderGone from None
    except OSError as exc:
        _forget_output()
        raise named(exc, "standard output") from None


def _forget_output() -> None:
    """Send what is still to be written nowhere."""
    # Python flushes what is left at its exit, and would complain once more.
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)
