"""Stop a child process at each of its system calls, and kill it at one of them.

By ``ptrace``, which needs no rights over one's own children, through ``ctypes``.
Linux only.  The process that traces must be the parent, and have no other
children meanwhile.
"""

from __future__ import annotations

import contextlib
import ctypes
import enum
import errno
import os
import platform
import signal
from collections.abc import Callable
from typing import NamedTuple

from tests.chaos.crashes.system_calls import has_descriptor, is_private, name_of

_PEEK_USER, _POKE_USER = 3, 6
_SYSCALL, _SEIZE, _INTERRUPT = 24, 0x4206, 0x4207
_GET_SYSCALL_INFO = 0x420E
_OPTIONS = 0x1 | 0x8  # TRACESYSGOOD, TRACECLONE
_CALL_STOP = signal.SIGTRAP | 0x80
_WALL = 0x40000000

_ENTRY = 1

#: Where the third argument of a call, the size of a write, lies in ``struct user``.
_COUNT_REGISTER = 96 if platform.machine() == "x86_64" else None

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.restype = ctypes.c_long
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]


class _Info(ctypes.Structure):
    """``struct ptrace_syscall_info`` at the entry of a call."""

    _fields_ = (
        ("op", ctypes.c_uint8),
        ("pad", ctypes.c_uint8 * 3),
        ("arch", ctypes.c_uint32),
        ("instruction", ctypes.c_uint64),
        ("stack", ctypes.c_uint64),
        ("number", ctypes.c_uint64),
        ("arguments", ctypes.c_uint64 * 6),
        ("rest", ctypes.c_uint64 * 2),
    )


class Call(NamedTuple):
    """A system call that is about to be made.

    Attributes:
        thread: id of the thread that makes it.
        number: of the call.
        arguments: as they are in the registers.
    """

    thread: int
    number: int
    arguments: tuple[int, ...]

    @property
    def name(self) -> str:
        """What it is called."""
        return name_of(self.number)

    @property
    def file(self) -> str:
        """What its file descriptor is of; ``""`` if it has none."""
        if not has_descriptor(self.number):
            return ""
        with contextlib.suppress(OSError):
            return os.readlink(f"/proc/{self.thread}/fd/{self.arguments[0]}")
        return ""


class Fate(enum.Enum):
    """What becomes of who makes a call.

    Attributes:
        LIVE: it goes on.
        KILL: it is killed, and the call is not made.
        TEAR: it is killed after the call, a write, was made by half; where nobody knows
            how to do that on this kind of machine, before it.
    """

    LIVE = enum.auto()
    KILL = enum.auto()
    TEAR = enum.auto()


class CannotTrace(Exception):
    """The system does not let a process trace its child."""


class Traced:
    """A child that is stopped at each system call, of any of its threads.

    Args:
        pid: a child of this process.  It must not end before it is let go.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._seized: set[int] = set()
        # Again until no thread is new: one may have been made meanwhile.
        while threads := {int(name) for name in os.listdir(f"/proc/{pid}/task")} - self._seized:
            for thread in threads:
                _ptrace(_SEIZE, thread, 0, _OPTIONS)
                _ptrace(_INTERRUPT, thread)
                self._seized.add(thread)

    def run(self, fate_of: Callable[[Call], Fate]) -> int | None:
        """Let the child run, and kill it as soon as *fate_of* says so of a call.

        Args:
            fate_of: asked at the entry of each call that others can see.

        Returns:
            The exit status, as ``os.waitpid`` gives it; None if it was killed.
        """
        while True:
            thread, status = os.waitpid(-1, _WALL)
            if os.WIFEXITED(status) or os.WIFSIGNALED(status):
                if thread == self.pid:
                    return status
                continue
            pending = os.WSTOPSIG(status)
            if pending == _CALL_STOP:
                call = _entered(thread)
                fate = Fate.LIVE if call is None else fate_of(call)
                if fate is Fate.TEAR:
                    self._tear(thread)
                if fate is not Fate.LIVE:
                    self.kill()
                    return None
                pending = 0
            elif status >> 16:  # a new thread, or the stop that was asked for
                pending = 0
            # Killed by another thread meanwhile, it is waited for next.
            _ptrace(_SYSCALL, thread, 0, pending, ignored=errno.ESRCH)

    def _tear(self, thread: int) -> None:
        """Have *thread* make the write that it is about to make, by half."""
        if _COUNT_REGISTER is None:
            return
        count = _ptrace(_PEEK_USER, thread, _COUNT_REGISTER)
        _ptrace(_POKE_USER, thread, _COUNT_REGISTER, count // 2)
        _ptrace(_SYSCALL, thread)
        os.waitpid(thread, _WALL)

    def kill(self) -> None:
        """Kill the child with SIGKILL, and return when it is gone."""
        os.kill(self.pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while True:
                thread, status = os.waitpid(-1, _WALL)
                if thread == self.pid and not os.WIFSTOPPED(status):
                    return


def _entered(thread: int) -> Call | None:
    """Return the call at whose entry *thread* stopped, if others can see it."""
    info = _Info()
    size = _ptrace(
        _GET_SYSCALL_INFO, thread, ctypes.sizeof(info), ctypes.addressof(info), ignored=errno.ESRCH
    )
    if size <= 0 or info.op != _ENTRY or is_private(info.number):
        return None
    return Call(thread, info.number, tuple(info.arguments))


def _ptrace(
    request: int, thread: int, address: int = 0, data: int = 0, *, ignored: int | None = None
) -> int:
    result: int = _libc.ptrace(request, thread, address, data)
    if result == -1:
        number = ctypes.get_errno()
        if number == errno.EPERM:
            raise CannotTrace(
                "a process may not trace its own child here (ptrace): in a container allow"
                " SYS_PTRACE, elsewhere set kernel.yama.ptrace_scope to 1 or less"
            )
        if number != ignored:
            raise OSError(number, f"ptrace request {request:#x}: {os.strerror(number)}")
    return result
