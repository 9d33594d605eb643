"""How one thread wakes another that waits in ``poll``."""

from __future__ import annotations

import contextlib
import os
import sys
import threading


class Bell:
    """A file descriptor that becomes readable when somebody rings.

    An eventfd where the system has it, else a pipe: ringing costs less than half
    of pika's own way, which is a TCP connection to itself, and the sleeper is
    awake a third sooner (benchmarks/messaging/results/wake.txt).
    """

    def __init__(self) -> None:
        if hasattr(os, "eventfd"):
            self._read_end = self._write_end = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        else:
            self._read_end, self._write_end = os.pipe()
            os.set_blocking(self._read_end, False)
            os.set_blocking(self._write_end, False)
        # Without it a ring could hit a file that got the number of a closed bell.
        self._lock = threading.Lock()
        self._is_open = True

    def fileno(self) -> int:
        """Return the descriptor to poll for reading."""
        return self._read_end

    def ring(self) -> None:
        """Make it readable; from any thread, never blocks, nothing happens after ``close``."""
        with self._lock, contextlib.suppress(BlockingIOError):  # full: it is readable anyway
            if self._is_open:
                os.write(self._write_end, _ONE)

    def hush(self) -> None:
        """Make it unreadable until the next ring."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._read_end, 4096)

    def close(self) -> None:
        """Give the descriptors back; twice is fine."""
        with self._lock:
            if self._is_open:
                self._is_open = False
                os.close(self._read_end)
                if self._write_end != self._read_end:
                    os.close(self._write_end)


#: What an eventfd counts up by; eight bytes, in the order of the machine.
_ONE = (1).to_bytes(8, sys.byteorder)
