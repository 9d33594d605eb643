"""Reading a socket without giving Python's other threads a turn."""

from __future__ import annotations

import ctypes
import socket
import sys
from collections.abc import Callable
from typing import Any

#: Bytes to read from a socket at once; from 128 KiB on each read costs 12 us for fresh memory.
READ_BYTES = 64 * 1024


def receiver() -> Callable[[socket.socket], bytes]:
    """Return what reads a socket that does not block; for one thread.

    It returns what the socket has, up to ``READ_BYTES``, ``b""`` at its end, and
    raises ``OSError`` as ``socket.recv`` does.
    """
    if _recv is None:
        return _receive
    recv, flags = _recv, socket.MSG_DONTWAIT
    buffer = bytearray(READ_BYTES)
    address = (ctypes.c_char * READ_BYTES).from_buffer(buffer)
    view = memoryview(buffer)

    def receive(source: socket.socket) -> bytes:
        # socket.recv lets another thread run, and beside one that never waits this thread
        # gets its turn again after a switch interval: 5 ms for what takes a microsecond.
        size = recv(source.fileno(), address, READ_BYTES, flags)
        return bytes(view[:size]) if size >= 0 else _receive(source)  # which raises what it is

    return receive


def _receive(source: socket.socket) -> bytes:
    return source.recv(READ_BYTES)


def _found() -> Any:
    if not sys.platform.startswith("linux"):
        return None
    try:
        recv = ctypes.PyDLL(None).recv
    except (AttributeError, OSError):
        return None
    recv.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    recv.restype = ctypes.c_ssize_t
    return recv


_recv = _found()
