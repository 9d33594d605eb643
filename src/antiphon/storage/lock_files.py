"""Files as locks: made at once with their contents, and taken away by one process only.

Nothing here needs more of a file system than that ``link()`` fails if the name
is taken, which NFS keeps to; ``O_EXCL`` takes its place where there are no
links.

POSIX cannot remove a file on the condition that it is still the same.  Two
processes that both find a dead holder would remove two locks: the dead one's,
and the one that the quicker of them has just taken.  So whoever removes a lock
first makes a file named after that very instance of it, the claim.  One
process can; it looks once more, removes the lock, and then the claim.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import stat
from typing import NamedTuple

from antiphon.storage.lock_holder import identity, is_dead, this_process

#: Seconds after which a claim is a dead process's, unless the lock is broken sooner by
#: force: it is held for a few system calls.
CLAIM_MAX_S = 30.0

_PREFIX = ".lock-"
_CLAIM = ".break"
_ASIDE = ".new"

#: What link() says where there are none: FAT, some network and FUSE file systems.
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}

#: What open() says of a lock that was given back; ESTALE is how NFS says it.
_GONE = {errno.ENOENT, errno.ENOTDIR, errno.ESTALE}

_MAKE = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_CLOEXEC", 0)


class Instance(NamedTuple):
    """One holding of one lock.

    Attributes:
        path: the lock's file.
        data: what it says; empty if we may not read it.
        modified: seconds since the epoch, by the clock of the file system.
        stamp: number and time of the file, the same under all its names.
        token: tells this holding from all others, earlier and later.
    """

    path: str
    data: bytes
    modified: float
    stamp: tuple[int, int]
    token: str


def make(path: str, data: bytes, aside_dir: str) -> bool:
    """Make a file with *data* at *path*; return False if there is something already.

    Raises:
        OSError: it cannot be made; ``FileNotFoundError`` and
            ``NotADirectoryError`` if it is the directory's fault.
    """
    aside = os.path.join(aside_dir, f"{_PREFIX}{secrets.token_hex(8)}{_ASIDE}")
    _write_new(aside, data)
    try:
        os.link(aside, path)
        return True
    except FileExistsError:
        # An NFS server may have made the link, and its answer got lost.
        return os.stat(aside).st_nlink == 2
    except OSError as exc:
        if exc.errno not in _NO_LINKS:
            raise
    finally:
        os.unlink(aside)
    try:
        _write_new(path, data)
    except (FileExistsError, IsADirectoryError):
        return False
    return True


def look(path: str) -> Instance | None:
    """Return who holds the lock at *path*; None if it is free, or a directory."""
    try:
        found, data = _stat_and_read(path)
    except OSError as exc:
        if exc.errno not in _GONE:
            raise
        return None
    if stat.S_ISDIR(found.st_mode):
        return None
    stamp = (found.st_ino, found.st_mtime_ns)
    # With the name: a claim that is a link to its lock is another thing to be claimed.
    what = repr((os.path.basename(path), stamp, data)).encode("utf-8", "surrogateescape")
    token = hashlib.sha256(what).hexdigest()[:24]
    return Instance(path, data, found.st_mtime, stamp, token)


def look_into(directory: str) -> list[Instance]:
    """Return who shares the lock at *directory*; empty if that is none."""
    try:
        names = os.listdir(directory)
    except (FileNotFoundError, NotADirectoryError):
        return []
    seen = [look(os.path.join(directory, name)) for name in names]
    return [instance for instance in seen if instance is not None]


def take_away(instance: Instance, lock_dir: str, claim_max_s: float = CLAIM_MAX_S) -> bool:
    """Remove a holding whosever it is, and nothing else; return whether it was this call.

    A claimant that takes longer than *claim_max_s* is taken for dead.  If it
    is not, and goes on after all, it may remove the next holder's lock.
    """
    claim = _claim_of(instance, lock_dir)
    while not make(claim, identity("claim"), lock_dir):
        other = look(claim)
        if other is None or not (is_dead(other.data) or _is_old(other, lock_dir, claim_max_s)):
            return False
        # Whoever had claimed it died over it.  The claim is a lock like any other.
        take_away(other, lock_dir)
    try:
        return _remove_if_same(instance)
    finally:
        remove_if_there(claim)


def give_back(instance: Instance, lock_dir: str) -> bool:
    """Remove one's own holding; return False if another process is at removing it.

    A link to the lock is as good a claim as a file with our name, and made in one step.
    """
    claim = _claim_of(instance, lock_dir)
    if not is_ours(instance):
        # What it says is the user's: nobody could judge whether the claimant lives.
        return take_away(instance, lock_dir)
    made = False
    try:
        os.link(instance.path, claim)
        made = True
    except FileNotFoundError:
        return False
    except FileExistsError:
        pass  # Another's; or ours, and an NFS server's answer got lost.
    except OSError as exc:
        if exc.errno not in _NO_LINKS:
            raise
        return take_away(instance, lock_dir)
    claimed = look(claim)
    if claimed is None or (claimed.stamp, claimed.data) != (instance.stamp, instance.data):
        # Ours was taken away just before: this may be a link to the next holder's lock.
        if made:
            remove_if_there(claim)
        return False
    # The link was made of this very instance, and nobody else can remove that now.
    remove_if_there(instance.path)
    remove_if_there(claim)
    return True


def is_ours(instance: Instance) -> bool:
    """Whether the holding says so itself that it is this process's."""
    process = this_process()
    return process is not None and instance.data.endswith(b"\n" + process)


def sweep(lock_dir: str) -> None:
    """Remove what processes left that died while they took or removed a lock."""
    for name in os.listdir(lock_dir):
        if not name.startswith(_PREFIX):
            continue
        path = os.path.join(lock_dir, name)
        left = look(path)
        if left is None or not is_dead(left.data):
            continue
        if name.endswith(_CLAIM):
            take_away(left, lock_dir)
        elif name.endswith(_ASIDE):
            remove_if_there(path)


def remove_if_there(path: str) -> None:
    """Remove a file, if it is there."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def _claim_of(instance: Instance, lock_dir: str) -> str:
    return os.path.join(lock_dir, f"{_PREFIX}{instance.token}{_CLAIM}")


def _remove_if_same(instance: Instance) -> bool:
    present = look(instance.path)
    if present is None or present.token != instance.token:
        return False
    remove_if_there(instance.path)
    return True


def _stat_and_read(path: str) -> tuple[os.stat_result, bytes]:
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    except PermissionError:
        return os.stat(path), b""
    try:
        found = os.fstat(descriptor)
        is_directory = stat.S_ISDIR(found.st_mode)
        return found, b"" if is_directory else os.read(descriptor, 1 << 20)
    finally:
        os.close(descriptor)


def _is_old(claim: Instance, lock_dir: str, max_s: float) -> bool:
    # By the clock of the file system: this host's may be another.
    probe = os.path.join(lock_dir, f"{_PREFIX}{secrets.token_hex(8)}{_ASIDE}")
    _write_new(probe, identity("probe"))
    try:
        return os.stat(probe).st_mtime - claim.modified > max_s
    finally:
        os.unlink(probe)


def _write_new(path: str, data: bytes) -> None:
    descriptor = os.open(path, _MAKE, 0o666)
    try:
        os.write(descriptor, data)
    finally:
        os.close(descriptor)
