"""What code that runs in several threads needs again and again."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from threading import RLock
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def synchronized(func: Callable[P, R]) -> Callable[P, R]:
    """Let one thread at a time run *func*; the others wait for their turn.

    Each decorated function has a lock of its own; a method has one for all
    instances.  The thread that runs it may call it again.  A generator or
    coroutine function is locked only while its object is made, not while that
    runs.
    """
    lock = RLock()

    @wraps(func)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        with lock:
            return func(*args, **kwargs)

    return wrapper
