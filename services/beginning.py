"""What may happen while a service is being imported, which takes a second or more."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from types import FrameType

#: Exit status if a library is not there.
EXIT_FAILED = 1


def end_when_told() -> None:
    """Have the signals end the process, with status 0: nothing has begun that had to be ended.

    Without it they would end it with a traceback, or, as the first process of a container, not at
    all: to that the kernel gives no signal that it does not handle.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)


@contextlib.contextmanager
def importing(name: str) -> Iterator[None]:
    """End the process with one line if a library that the service *name* needs is not there."""
    try:
        yield
    except ModuleNotFoundError as exc:
        library = exc.name or ""
        if not library or library.startswith(("services", "antiphon.")):
            raise  # nothing that could be installed
        sys.stderr.write(
            f"{name}: {library} is not installed; in a clone: pip install '.[services]'\n"
        )
        sys.exit(EXIT_FAILED)


def _end(_number: int, _frame: FrameType | None) -> None:
    os._exit(0)
