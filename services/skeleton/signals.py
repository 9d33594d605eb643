"""SIGTERM and SIGINT: from the first moment on they mean that the service is to end."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextlib.contextmanager
def told_to_end(stop: threading.Event) -> Iterator[None]:
    """Have the signals set *stop* in the block; a second one ends the process at once.

    On another thread than the main one, where Python takes none, nothing is changed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def on_signal(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            os._exit(128 + number)
        stop.set()
        # To the first process of a container the kernel gives no signal that it does not handle.
        if os.getpid() != 1:
            signal.signal(number, signal.SIG_DFL)

    before = {number: signal.signal(number, on_signal) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
