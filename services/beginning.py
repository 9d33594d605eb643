"""SIGTERM and SIGINT while a service is being imported, which takes a second or more."""

from __future__ import annotations

import os
import signal
from types import FrameType


def end_when_told() -> None:
    """Have the signals end the process, with status 0: nothing has begun that had to be ended.

    Without it they would end it with a traceback, or, as the first process of a container, not at
    all: to that the kernel gives no signal that it does not handle.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)


def _end(_number: int, _frame: FrameType | None) -> None:
    os._exit(0)
