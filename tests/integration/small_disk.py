"""A disk that is soon full: a small file system where one can be mounted, else a limit."""

from __future__ import annotations

import contextlib
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path

#: Bytes of the disk, unless told otherwise.
DISK_BYTES = 16 << 20


class SmallDisk:
    """A folder on a small disk.

    Attributes:
        folder: where to write.
        is_real: whether it is a file system; else the limit of the size of a
            file stands in for it, as for users who may mount nothing.
    """

    def __init__(self, folder: Path, *, is_real: bool) -> None:
        self.folder = folder
        self.is_real = is_real

    @contextlib.contextmanager
    def full(self, left: int) -> Iterator[None]:
        """Leave only *left* bytes of room in the block (with a limit: in each file)."""
        if self.is_real:
            ballast = self.folder / "ballast"
            _fill(ballast, left)
            try:
                yield
            finally:
                ballast.unlink()
            return
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (left, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextlib.contextmanager
def small_disk(folder: Path, size_bytes: int = DISK_BYTES) -> Iterator[SmallDisk]:
    """Mount a small file system at *folder*, or limit what is there."""
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", str(folder)]
    try:
        is_real = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        is_real = False
    try:
        yield SmallDisk(folder, is_real=is_real)
    finally:
        if is_real:
            subprocess.run(["umount", "-l", str(folder)], check=True)


def _fill(ballast: Path, left: int) -> None:
    """Write *ballast* until the disk is full, then make it shorter by *left* bytes."""
    # Unbuffered: what did not fit must not be tried again when the file is closed.
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(1 << 16)):
            pass
    with ballast.open("r+b") as file:
        file.truncate(max(0, ballast.stat().st_size - left))
