"""A shorter interval between thread switches, for as long as somebody wants it."""

from __future__ import annotations

import sys
import threading

_lock = threading.Lock()
_wanted: list[float] = []
_usual_s: list[float] = []


def shorten(interval_s: float) -> None:
    """Let threads take turns after *interval_s* seconds, if that is sooner than now.

    It holds for the whole process, until ``restore`` was called as often.
    """
    with _lock:
        if not _wanted:
            _usual_s[:] = [sys.getswitchinterval()]
        _wanted.append(interval_s)
        _set()


def restore(interval_s: float) -> None:
    """Take one ``shorten`` of *interval_s* back; the last one restores what was before."""
    with _lock:
        _wanted.remove(interval_s)
        _set()


def _set() -> None:
    sys.setswitchinterval(min([*_wanted, *_usual_s]))
