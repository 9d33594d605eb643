"""Text that is safe to show, and text that stays in its place."""

from __future__ import annotations

import os
import sys
import unicodedata

#: Categories of what may move the cursor, hide or reorder text: controls, formats, lines.
_UNPRINTABLE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def write_static(s: str) -> None:
    """Write *s* to standard output and go back to where it begins.

    The next text stands in its place.  Newlines and other control characters
    are shown as spaces.  Where standard output is no terminal, *s* is a line.
    """
    text = printable(s)
    if on_terminal():
        # What is left of a longer text is erased; the cursor goes back by columns,
        # of which some characters take two and some none.
        sys.stdout.write(f"{text}\x1b[K" + "\b" * _columns(text))
    else:
        sys.stdout.write(encodable(text) + "\n")
    sys.stdout.flush()


def on_terminal() -> bool:
    """Whether standard output is a terminal that can move its cursor."""
    stream = sys.stdout
    try:
        return stream is not None and stream.isatty() and os.environ.get("TERM") != "dumb"
    except (AttributeError, ValueError):
        return False  # a closed file, or an object with no more than write()


def printable(text: object) -> str:
    """Return *text* without what a terminal would obey instead of showing it.

    Messages hold names of keys and files, which others may have chosen.
    """
    shown = str(text)
    if shown.isprintable():
        return shown
    return "".join(" " if unicodedata.category(c) in _UNPRINTABLE else c for c in shown)


def encodable(text: str) -> str:
    """Return *text* with what standard output cannot encode replaced."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return text.encode(encoding, "replace").decode(encoding)


def size_text(size: float | None) -> str:
    """Return a number of bytes in at most eight characters, as in ``1.5 MiB``; ``?`` for None."""
    if size is None:
        return "?"
    if size < 1000:
        return f"{size:.0f} B"
    units = iter(("KiB", "MiB", "GiB", "TiB"))
    unit = "B"
    while size >= 1000 and (bigger := next(units, None)):
        size, unit = size / 1024, bigger
    return f"{size:.{1 if size < 100 else 0}f} {unit}"


def _columns(text: str) -> int:
    wide = sum(unicodedata.east_asian_width(c) in "FW" for c in text)
    return len(text) + wide - sum(unicodedata.combining(c) > 0 for c in text)
