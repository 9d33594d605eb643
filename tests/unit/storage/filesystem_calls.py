"""System calls of a file store, counted, so that a test can act at each of them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any

#: What changes files, or waits for the disk.
CALLS = (
    "open", "write", "pwrite", "fsync", "fdatasync", "rename", "unlink", "ftruncate", "utime",
    "mkdir", "fstat", "close",
)  # fmt: skip


@contextlib.contextmanager
def watched(act: Callable[[int, str, tuple[Any, ...]], None]) -> Iterator[None]:
    """Call ``act(number, name, arguments)`` before each system call in the block."""
    real = {name: getattr(os, name) for name in CALLS}
    number = 0

    def wrap(name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal number
            number += 1
            act(number, name, arguments)
            return real[name](*arguments, **options)

        return call

    for name in CALLS:
        setattr(os, name, wrap(name))
    try:
        yield
    finally:
        for name, function in real.items():
            setattr(os, name, function)


def count_calls(block: Callable[[], object]) -> int:
    """Return how many system calls *block* makes."""
    made = 0

    def note(number: int, name: str, arguments: tuple[Any, ...]) -> None:
        nonlocal made
        made = number

    with watched(note):
        block()
    return made
