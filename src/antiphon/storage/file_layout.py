"""Where things are in the directory of a file store, and how files get there.

In the directory itself: the magic file, and of each key ``<name>.data`` (its
bytes, nothing else) and ``<name>.metadata`` (JSON).  Everything else is in
``.antiphon``.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
from collections.abc import Iterator

from antiphon.storage.file_names import DATA, KEY, METADATA, is_hashed
from antiphon.storage.file_record import Print, Source, Step

#: The directory of all that is not for people to look at.
HIDDEN = ".antiphon"

#: Seconds that a staged value waits for its commit; each written piece begins
#: them anew.  A transaction must not stay open longer.
STAGED_TTL_S = 3600.0

#: A file that was changed so long after its commit was changed by another
#: program; the two clocks may differ a little.
_FOREIGN_AFTER_NS = 10 * 10**9

#: What stat() says where there is no file, or a link to none.
NO_FILE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})

#: How files are opened for reading: a pipe in the place of one must not wait for a writer.
READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


class Layout:
    """The paths of one store.

    Args:
        root: the directory.
        magic_fname: name of the file that makes it a store.
    """

    def __init__(self, root: str, magic_fname: str) -> None:
        self.root = root
        self.magic = os.path.join(root, magic_fname)
        self.hidden = os.path.join(root, HIDDEN)
        self.new = os.path.join(self.hidden, "new")
        self.staged = os.path.join(self.hidden, "staged")
        self.identity = os.path.join(self.hidden, "identity.json")
        self.boot = os.path.join(self.hidden, "boot")
        self.mark = os.path.join(self.hidden, "mark")
        self.lock = os.path.join(self.hidden, "lock")
        self.cache = os.path.join(self.hidden, "cache.db")
        self._prefix = os.path.join(root, "")
        self._new_prefix = os.path.join(self.new, "")

    def data(self, name: str) -> str:
        return self._prefix + name + DATA

    def metadata(self, name: str) -> str:
        return self._prefix + name + METADATA

    def key(self, name: str) -> str:
        return self._prefix + name + KEY

    def log(self, generation: int) -> str:
        return os.path.join(self.hidden, f"log-{generation}")

    def snapshot(self, generation: int) -> str:
        return os.path.join(self.hidden, f"snapshot-{generation}")

    def staged_file(self, token: str) -> str:
        return os.path.join(self.staged, token)

    def new_data(self, step: Step) -> str:
        return self._new_prefix + step.new_file + DATA

    def new_metadata(self, step: Step) -> str:
        return self._new_prefix + step.new_file + METADATA

    def generations(self) -> list[int]:
        """Return the numbers of the logs that are there, lowest first."""
        names = (name.removeprefix("log-") for name in os.listdir(self.hidden) if "log-" in name)
        return sorted(int(number) for number in names if number.isdecimal())

    def make(self) -> None:
        """Make the directories that are missing."""
        for path in (self.hidden, self.new, self.staged):
            with contextlib.suppress(FileExistsError):
                os.mkdir(path)


def print_of(path: str | os.DirEntry[str]) -> Print | None:
    """Return the fingerprint of the file at *path*; None if there is none.

    A directory, a pipe or a link that leads nowhere is none.
    """
    try:
        found = os.stat(path) if isinstance(path, str) else path.stat()
    except OSError as exc:
        if exc.errno in NO_FILE:
            return None
        raise
    return print_from(found) if stat.S_ISREG(found.st_mode) else None


def print_from(found: os.stat_result) -> Print:
    return Print(found.st_size, found.st_ino, found.st_mtime_ns)


def content_of(path: str, most: int = -1) -> bytes | None:
    """Return what is in a file, *most* bytes of it; None if there is no file."""
    if print_of(path) is None:
        return None
    try:
        with open(path, "rb", opener=_opened) as stream:
            return stream.read(most)
    except FileNotFoundError:
        return None


def _opened(path: str, flags: int) -> int:
    return os.open(path, flags | READ)


def in_the_way(layout: Layout, name: str) -> str | None:
    """Return the directory that is where a file of *name* has to be; None if there is none."""
    for path in (layout.data(name), layout.metadata(name)):
        with contextlib.suppress(OSError):
            if stat.S_ISDIR(os.lstat(path).st_mode):
                return path
    return None


def write_new(path: str, content: bytes) -> Print:
    """Write a file that is not there yet; ``OSError`` leaves none."""
    fd = os.open(path, _NEW_FILE, 0o666)
    try:
        written = os.write(fd, content)
        while written < len(content):
            written += os.write(fd, content[written:])
        found = os.fstat(fd)
    except BaseException:
        remove(path)
        raise
    finally:
        os.close(fd)
    return print_from(found)


def remove(path: str) -> None:
    """Remove a file if it is there."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        os.unlink(path)


def replace_file(path: str, content: bytes, *, durable: bool = True) -> None:
    """Replace the file at *path* in one step."""
    aside = f"{path}.new"
    remove(aside)
    write_new(aside, content)
    if durable:
        sync(aside)
    os.rename(aside, path)
    if durable:
        sync(os.path.dirname(path))


def sync(path: str) -> None:
    """Wait until a file, or the names in a directory, are on the disk."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


# -- Carrying commits out ----------------------------------------------------


def place(layout: Layout, step: Step, *, new_metadata: bool) -> None:
    """Put the files of a step in place just after it was decided."""
    entry = step.entry
    if entry is None:
        _remove_key(layout, step.name)
        return
    if step.source is Source.INLINE:
        os.rename(layout.new_data(step), layout.data(step.name))
    elif step.source is Source.STAGED:
        os.rename(layout.staged_file(step.data.decode()), layout.data(step.name))
    if new_metadata:
        os.rename(layout.new_metadata(step), layout.metadata(step.name))


def _remove_key(layout: Layout, name: str) -> None:
    # Metadata first: a key is there while they are.
    remove(layout.metadata(name))
    remove(layout.data(name))
    if is_hashed(name):
        remove(layout.key(name))


def carry_out(layout: Layout, step: Step) -> None:
    """Put the files of a step in place although its process died somewhere in it."""
    entry = step.entry
    if not step.final or step.source is Source.FOUND:
        return
    if entry is None:
        _remove_key(layout, step.name)
        return
    if step.source is Source.STAGED:
        staged = layout.staged_file(step.data.decode())
        if os.path.exists(staged):
            os.rename(staged, layout.data(step.name))
    elif step.source is Source.INLINE:
        _settle(layout.data(step.name), layout.new_data(step), step.data, entry.data)
    if entry.text is not None:
        text = entry.text.encode()
        _settle(layout.metadata(step.name), layout.new_metadata(step), text, entry.metadata)


def _settle(path: str, new: str, content: bytes, wanted: Print) -> None:
    if print_of(path) == wanted:
        return
    if print_of(new) != wanted:
        remove(new)
        write_new(new, content)
        os.utime(new, ns=(wanted.mtime_ns, wanted.mtime_ns))
    os.rename(new, path)


class Verifier:
    """Makes files say what the log says, after a power cut may have spoiled any.

    Args:
        layout: where they are.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._last: dict[str, Step] = {}
        self._data: dict[str, Step] = {}

    def add(self, step: Step) -> None:
        """Take up the next step of the log."""
        if not step.final:
            return
        if step.source is Source.FOUND:
            # What other programs wrote is what there is.
            self._last.pop(step.name, None)
            self._data.pop(step.name, None)
            return
        self._last[step.name] = step
        if step.entry is None:
            self._data.pop(step.name, None)
        elif step.source is not Source.KEPT:
            self._data[step.name] = step

    def finish(self) -> int:
        """Compare, and write what differs; return how many files did."""
        return sum(self._verify(name, step) for name, step in self._last.items())

    def _verify(self, name: str, step: Step) -> int:
        layout, entry = self._layout, step.entry
        written = step.journal.time_ns
        if entry is None:
            paths = (layout.metadata(name), layout.data(name))
            left = [path for path in paths if _is_ours(path, written)]
            for path in left:
                remove(path)
            return len(left)
        repaired = 0
        made = self._data.get(name)
        if made is not None and made.source is Source.STAGED:
            carry_out(layout, made)
        elif made is not None:
            repaired += self._compare(layout.data(name), made.data, entry.data, written)
        if entry.text is not None:
            text = entry.text.encode()
            repaired += self._compare(layout.metadata(name), text, entry.metadata, written)
        return repaired

    def _compare(self, path: str, content: bytes, wanted: Print, written: int) -> bool:
        present = content_of(path, len(content) + 1)
        if present == content or (present is not None and not _is_ours(path, written)):
            return False
        aside = os.path.join(self._layout.new, "verified")
        remove(aside)
        write_new(aside, content)
        os.utime(aside, ns=(wanted.mtime_ns, wanted.mtime_ns))
        os.rename(aside, path)
        return True


def _is_ours(path: str, written_ns: int) -> bool:
    found = print_of(path)
    return found is not None and found.mtime_ns <= written_ns + _FOREIGN_AFTER_NS


# -- Orphans -----------------------------------------------------------------


def collect(layout: Layout) -> None:
    """Remove what processes that died have left; under the lock, with all settled."""
    for path in _files_in(layout.new):
        remove(path)
    oldest = time.time() - STAGED_TTL_S
    for path in _files_in(layout.staged):
        with contextlib.suppress(FileNotFoundError):
            if os.stat(path).st_mtime < oldest:
                os.unlink(path)


def _files_in(directory: str) -> Iterator[str]:
    with os.scandir(directory) as files:
        for each in files:
            yield each.path
