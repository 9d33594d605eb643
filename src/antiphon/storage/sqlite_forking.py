"""A fork of a process that uses sqlite files: the child leaves its parent's connections alone.

Sqlite remembers, for all of a process, which locks its connections hold.  A
child that is forked in the middle of a write takes that lock for held, by a
thread that it does not have, and could never write; so a fork waits for those
who write.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from typing import Protocol

#: Seconds that a fork waits at most: whoever writes may be waiting for another process.
FORK_TIMEOUT_S = 2.0


class Forked(Protocol):
    """What is told of forks."""

    @property
    def writing(self) -> threading.Lock:
        """Held by whoever writes."""

    def leave_to_parent(self) -> None:
        """Go on with connections of this process's own; called in the child of a fork."""


_known: weakref.WeakSet[Forked] = weakref.WeakSet()
_of_thread = threading.local()


def tell_of_forks(medium: Forked) -> None:
    """Tell *medium* of forks, as long as it is there."""
    _known.add(medium)


def _before() -> None:
    deadline = time.monotonic() + FORK_TIMEOUT_S
    locks = [medium.writing for medium in list(_known)]
    _of_thread.held = [
        lock for lock in locks if lock.acquire(timeout=max(0.0, deadline - time.monotonic()))
    ]


def _after() -> None:
    for lock in _of_thread.__dict__.pop("held", ()):
        lock.release()


def _after_in_child() -> None:
    _after()
    for medium in list(_known):
        medium.leave_to_parent()


if hasattr(os, "register_at_fork"):
    # Cheaper than a look at the process's number at every read.
    os.register_at_fork(before=_before, after_in_parent=_after, after_in_child=_after_in_child)
