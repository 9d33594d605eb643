"""Who holds a lock made of a file: written into it, and judged from it.

A process is known by host, boot, namespace of process ids, id and start time.
Only one that shares all but the last two with us can be judged from here: two
containers may share a host name and see other processes under the same ids.
"""

from __future__ import annotations

import contextlib
import functools
import getpass
import os
import socket
from pathlib import Path

#: First word of the line that says which process it was; Encore's locks have no such line.
_PROCESS = b"PROCESS"


@functools.cache
def host() -> str:
    """Return the name of this machine."""
    return socket.gethostname()


@functools.cache
def user() -> str:
    """Return the name of this user, or its number where there is no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return str(os.getuid())


def identity(uid: object) -> bytes:
    """Return what a lock of this process says: Encore's five lines, and one of ours.

    Args:
        uid: tells the locks of one process apart.
    """
    lines = [host(), os.getpid(), user(), uid, "LOCK"]
    text = "\n".join(str(line) for line in lines).encode("utf-8", "surrogateescape")
    process = this_process()
    return text if process is None else text + b"\n" + process


@functools.cache
def this_process() -> bytes | None:
    """Return the line that says which process this is; None where that cannot be known."""
    place, started = _place(), _started(os.getpid())
    if place is None or started is None:
        return None
    return b" ".join([_PROCESS, place, started])


def is_dead(data: bytes) -> bool:
    """Whether the process that wrote *data* is known to have ended.

    False whenever that cannot be known from here: another host, boot or
    container, or a lock that says nothing of its process.
    """
    lines = data.split(b"\n")
    if len(lines) != 6 or not lines[5].startswith(_PROCESS + b" "):
        return False
    with contextlib.suppress(ValueError):
        pid, (_, place, started) = int(lines[1]), lines[5].split(b" ")
        if lines[0] != host().encode("utf-8", "surrogateescape") or place != _place():
            return False
        return _is_gone(pid) or _started(pid) not in (started, None)
    return False


@functools.cache
def _place() -> bytes | None:
    """Return what distinguishes the process ids that we see from all others; None if unknown."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_bytes().strip()
        return boot + b"/" + os.readlink(b"/proc/self/ns/pid")
    except OSError:
        return None


def _stat(pid: int) -> list[bytes]:
    """Return the fields from the third on; none if there is no process that we may look at."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return []
    # The second field is the name, which may hold spaces and brackets.
    return stat[stat.rindex(b")") + 2 :].split()


def _started(pid: int) -> bytes | None:
    """Return when a process started, in ticks since the boot; None if unknown."""
    fields = _stat(pid)
    return fields[19] if fields else None


def _is_gone(pid: int) -> bool:
    fields = _stat(pid)
    if fields:
        # A zombie holds nothing; its parent has not looked yet.
        return fields[0] in (b"Z", b"X")
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        pass  # It is there, and another user's, hidden from us.
    return False


def _forget() -> None:
    this_process.cache_clear()
    _place.cache_clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
