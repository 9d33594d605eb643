"""What a file store asks of the machine so that a power cut takes nothing."""

from __future__ import annotations

import contextlib
import ctypes
import os

from antiphon.storage.file_layout import Layout, sync
from antiphon.storage.file_log import LOG_START, Log
from antiphon.storage.file_record import Kind, unpack

#: File systems of one machine; any other may be shared, and cached by this one.
_LOCAL = frozenset(
    ["apfs", "bcachefs", "btrfs", "exfat", "ext2", "ext3", "ext4", "f2fs", "ntfs3", "overlay",
     "ramfs", "tmpfs", "vfat", "xfs", "zfs"]
)  # fmt: skip


def boot_id() -> bytes:
    """Return what changes when the machine starts anew.

    Where the system does not say, it is another one each time: then files are
    checked at each connect.
    """
    return _content("/proc/sys/kernel/random/boot_id") or os.urandom(16)


def recorded_boot(layout: Layout) -> bytes | None:
    """Return the boot in which the files were last checked."""
    return _content(layout.boot)


def is_on_network(path: str) -> bool:
    """Return whether a directory is on a disk that other machines may change, as far as known."""
    device = os.stat(path).st_dev
    number = f"{os.major(device)}:{os.minor(device)}".encode()
    for line in (_content("/proc/self/mountinfo") or b"").splitlines():
        mount, _, source = line.partition(b" - ")
        if mount.split()[2] == number:
            return source.split()[0].decode() not in _LOCAL
    return False


def sync_all(layout: Layout, log: Log, end: int) -> None:
    """Wait until the disk has all that the log, up to *end*, is about."""
    if _sync_file_system(layout.root):
        return
    names = {
        step.name
        for found in log.records(LOG_START, end)
        if found.kind == Kind.COMMIT
        for step in unpack(found.body)
    }
    for name in names:
        for path in (layout.data(name), layout.metadata(name)):
            with contextlib.suppress(FileNotFoundError):
                sync(path)
    for directory in {os.path.dirname(layout.data(name)) for name in names}:
        sync(directory)


def _sync_file_system(path: str) -> bool:
    """Wait until the disk has all of a file system; False if this machine cannot."""
    function = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if function is None:
        return False
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return bool(function(fd) == 0)
    finally:
        os.close(fd)


def _content(path: str) -> bytes | None:
    try:
        with open(path, "rb") as stream:
            return stream.read()
    except FileNotFoundError:
        return None
