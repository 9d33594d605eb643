"""A store in a directory: of each key a file of data and one of metadata."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO, Protocol

from antiphon.errors import (
    IncompatibleStore,
    InvalidURL,
    NotConnected,
    StoreError,
    StoreUnavailable,
)
from antiphon.events.api import EventManager
from antiphon.schemes import mask_url
from antiphon.storage.backend_store import BackendStore
from antiphon.storage.changes import Change, Committed, Record, Staged, StoreIdentity
from antiphon.storage.directory_lock import LOCK_TIMEOUT_S, DirectoryLock
from antiphon.storage.file_commit import Committer
from antiphon.storage.file_errors import mapped, mapping, unreadable
from antiphon.storage.file_identity import MAGIC
from antiphon.storage.file_layout import READ, Layout
from antiphon.storage.file_medium import Medium
from antiphon.storage.file_names import file_name
from antiphon.storage.file_outbox import FileOutboxLedger
from antiphon.storage.file_reading import held, open_data, record_of
from antiphon.storage.file_rescan import all_steps, key_steps
from antiphon.storage.file_value import OpenFile
from antiphon.storage.journal import JournalEntry, Position
from antiphon.storage.ledger import CacheLedger
from antiphon.storage.metadata import decode, encode_conditions
from antiphon.storage.opening import url_flag, url_parameters, url_path
from antiphon.storage.outbox_ledger import OutboxLedger
from antiphon.storage.sqlite_store import SqliteStore

#: What Encore called the error of a path that is no store.
FileSystemStoreError = StoreError

#: The file that makes a directory a store, unless it is told to be another.
MAGIC_FNAME = ".FSStore"

#: Journal entries that are kept, unless the store was told otherwise: 3 MB in memory.
JOURNAL_LENGTH = 10_000

#: Attempts at reading a key that others change, before they are made to wait.
_ATTEMPTS = 3


class HeldLock(Protocol):
    """The lock of a directory, as ``DirectoryLock`` is one."""

    def held(self) -> contextlib.AbstractContextManager[bool]:
        """Hold it for a block, which gets whether another holder lost it by force."""

    def close(self) -> None:
        """Let go of what belongs to this object."""


def init_shared_store(path: str | os.PathLike[str], magic_fname: str = MAGIC_FNAME) -> None:
    """Make a directory a store, keeping what is in it; the directory itself too, if need be.

    Args:
        path: the directory.
        magic_fname: name of the file in it that says so.

    Raises:
        ReadOnlyStore, StoreUnavailable, StoreFull: it cannot be made.
    """
    magic = os.path.join(os.fspath(path), magic_fname)
    try:
        os.makedirs(path, exist_ok=True)
        with contextlib.suppress(FileExistsError), open(magic, "xb") as stream:
            stream.write(MAGIC)
    except OSError as exc:
        raise mapped(exc, f"cannot make {magic}") from exc


class _Parts:
    """What a connected store works with."""

    def __init__(self, medium: Medium, lock: HeldLock, store: FileSystemStore) -> None:
        self.medium = medium
        self.layout = medium.layout
        self.lock = lock
        self.committer = Committer(medium, store)
        self.cache: SqliteStore | None = None

    def close(self) -> None:
        # First, since it waits for the thread that is writing: a descriptor must
        # not be closed, and be another file's, while something is written to it.
        self.lock.close()
        self.medium.close()
        if self.cache is not None:
            self.cache.disconnect()


class FileSystemStore(BackendStore):
    """A store in a directory, shared by any number of processes.

    Each key has two files, ``<name>.data`` with exactly the bytes and
    ``<name>.metadata`` with JSON.  A directory of Encore's is opened as it is.

    Args:
        path: the directory.
        magic_fname: name of the file that makes it a store; see ``init_shared_store``.
        origin: readable name that its events are routed by.
        durable: whether a commit that returned survives a power cut; False is
            quicker, and a power cut may take the last commits with it.
        timeout_s: seconds to wait for another process that is writing.
        journal_length: journal entries to keep.

    Raises:
        StoreUnavailable: there is no such directory.
        IncompatibleStore: it is no store.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        magic_fname: str = MAGIC_FNAME,
        *,
        origin: str | None = None,
        durable: bool = True,
        timeout_s: float = LOCK_TIMEOUT_S,
        journal_length: int = JOURNAL_LENGTH,
    ) -> None:
        if journal_length < 1:
            raise ValueError(f"journal_length is {journal_length}; it must be at least 1")
        self.path = os.fspath(path)
        self._magic_fname = magic_fname
        self._durable = durable
        self._timeout_s = timeout_s
        self._journal_length = journal_length
        self._parts: _Parts | None = None
        self._check_directory()
        super().__init__(origin=origin)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.path}>"

    def info(self) -> dict[str, Any]:
        return {**super().info(), "path": self.path}

    # -- Connecting ----------------------------------------------------------

    def _check_directory(self) -> None:
        if not os.path.isdir(self.path):
            if os.path.exists(self.path):
                raise StoreUnavailable(
                    f"{self.path} is not a directory, as a store of files has to be; name another"
                    " path"
                )
            raise StoreUnavailable(
                f"{self.path} does not exist; init_shared_store(path) makes a directory for a store"
            )
        if not os.path.exists(os.path.join(self.path, self._magic_fname)):
            raise IncompatibleStore(
                f"{self.path} is no store, since it has no file {self._magic_fname!r};"
                " init_shared_store(path) makes it one"
            )

    def _open_medium(self, credentials: Any) -> StoreIdentity:
        self._check_directory()
        # Absolute: the program may go to another directory.
        layout = Layout(os.path.abspath(self.path), self._magic_fname)
        with contextlib.ExitStack() as undo, mapping(f"cannot open the store in {self.path}"):
            layout.make()
            lock = self._make_lock(layout.lock)
            undo.callback(lock.close)
            medium = Medium(
                layout, lock.held, durable=self._durable, journal_length=self._journal_length
            )
            undo.callback(medium.close)
            identity = medium.open()
            undo.pop_all()
        self._parts = _Parts(medium, lock, self)
        return identity

    def _make_lock(self, path: str) -> HeldLock:
        """Return the lock of the directory; *path* is where it may be."""
        return DirectoryLock(path, self._timeout_s)

    def _close_medium(self) -> None:
        parts, self._parts = self._parts, None
        if parts is not None:
            parts.close()

    def _claim(self, system: str) -> str | None:
        with mapping(f"cannot record the system of {self!r}"):
            return self._connected_parts().medium.claim(system)

    def _connected_parts(self) -> _Parts:
        parts = self._parts
        if parts is None:
            raise NotConnected(f"{self!r} is not connected; call connect() first")
        return parts

    # -- Reading -------------------------------------------------------------

    def _read(self, key: str) -> Record | None:
        parts = self._connected_parts()
        entry = parts.medium.index.entries.get(key)
        for _ in range(_ATTEMPTS):
            name = file_name(key) if entry is None else entry.name
            # Opened before the index is brought up to date: then the file that
            # has the number in the index cannot be of a later or earlier version.
            fd = open_data(parts.layout.data(name))
            data = None
            try:
                entry = parts.medium.refresh().entries.get(key)
                if entry is not None and entry.name == name and entry.text is not None:
                    data = held(fd, entry)
            finally:
                if fd >= 0 and not isinstance(data, OpenFile):
                    os.close(fd)
            if entry is None:
                return None
            if data is not None:
                return record_of(entry, data)
        return self._read_at_rest(parts, key)

    def _read_at_rest(self, parts: _Parts, key: str) -> Record | None:
        """Read *key* while nobody writes; take up what another program did to it."""
        layout = parts.layout
        with mapping(f"cannot read {key!r:.80} in {self!r}"), parts.medium.locked() as index:
            if key in index.entries:
                self._take_up(parts.medium, key_steps(layout, index, key))
            entry = index.entries.get(key)
            if entry is None:
                return None
            if entry.text is None:
                raise unreadable(key, layout.metadata(entry.name))
            fd = open_data(layout.data(entry.name))
        return record_of(entry, OpenFile(fd) if fd >= 0 else b"")

    def _read_metadata(self, key: str) -> dict[str, Any] | None:
        entry = self._connected_parts().medium.refresh().entries.get(key)
        if entry is None:
            return None
        if entry.text is None:
            record = self._read_at_rest(self._connected_parts(), key)
            return None if record is None else record.metadata
        return decode(entry.text)

    def _exists(self, key: str) -> bool:
        return key in self._connected_parts().medium.refresh().entries

    def _keys(self) -> Iterator[str]:
        with self._connected_parts().medium.reading() as index:
            return iter(list(index.entries))

    def _query(self, conditions: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
        encoded = encode_conditions(conditions)
        with self._connected_parts().medium.reading() as index:
            return index.decoded(index.matching(encoded))

    # -- Writing -------------------------------------------------------------

    def _commit(self, changes: Sequence[Change]) -> list[Committed]:
        return self._connected_parts().committer.commit(changes)

    def _stage(self, chunks: Iterable[bytes]) -> Staged:
        return self._connected_parts().committer.stage(chunks)

    def _open_staged(self, staged: Staged, start: int, end: int) -> BinaryIO:
        path = self._connected_parts().layout.staged_file(staged.token)
        with mapping(f"cannot read {path}"):
            return OpenFile(os.open(path, READ)).open(start, end)

    def _discard(self, staged: Staged) -> None:
        self._connected_parts().committer.discard(staged)

    def rescan(self) -> int:
        """Take up what other programs, or people, did to the files; return how many keys changed.

        A key is there when its metadata file is.  Each change is journalled
        without event id and owner, and emits nothing.  Files are compared by
        size and time; all are looked at, and nobody writes meanwhile.

        Raises:
            StoreUnavailable: the directory cannot be read, or its lock not be had.
        """
        self._check_connected()
        parts = self._connected_parts()
        with mapping(f"cannot look at the files of {self!r}"), parts.medium.locked() as index:
            steps = all_steps(parts.layout, index)
            self._take_up(parts.medium, steps)
        self._watch.tell()
        return len(steps)

    @staticmethod
    def _take_up(medium: Medium, steps: list[Any]) -> None:
        if steps:
            medium.advance(steps, medium.append(steps))

    # -- The journal ---------------------------------------------------------

    def _head(self) -> Position:
        assert self.store_id is not None  # noqa: S101 - connected
        return self._connected_parts().medium.refresh().position(self.store_id)

    def _since(self, position: Position) -> Iterable[JournalEntry]:
        assert self.store_id is not None  # noqa: S101 - connected
        with self._connected_parts().medium.reading() as index:
            return index.since(position, self.store_id, self)

    def cache_ledger(self) -> CacheLedger:
        """Return the ledger of the cache entries beside this store's own keys.

        They are in a sqlite database in the hidden directory.
        """
        parts = self._connected_parts()
        with self._connecting:
            if parts.cache is None:
                cache = SqliteStore(
                    parts.layout.cache, index=None, durable=self._durable, timeout_s=self._timeout_s
                )
                cache.event_manager = EventManager()
                cache.connect()
                parts.cache = cache
            return parts.cache.cache_ledger()

    def outbox_ledger(self) -> OutboxLedger:
        """Return the ledger of the events of this directory."""
        return FileOutboxLedger(self._connected_parts().medium)


_PARAMETERS: dict[str, Callable[[str], Any]] = {
    "magic_fname": str,
    "origin": str,
    "durable": url_flag,
    "timeout_s": float,
    "journal_length": int,
    "create": url_flag,
}


def from_url(url: str, **options: Any) -> FileSystemStore:
    """Return the store of ``file:///path``, not yet connected.

    Args:
        url: ``file:///absolute/path`` or ``file:relative/path``; its
            parameters are those of ``FileSystemStore``, and ``create``: whether
            a directory that is missing or empty is made a store (yes).
        **options: likewise; they win over those in the URL.

    Raises:
        InvalidURL: a part of the URL makes no sense.
        StoreUnavailable, IncompatibleStore: there is no store.
    """
    path = url_path(url)
    arguments = url_parameters(url, _PARAMETERS, options)
    if arguments.pop("create", True) and (not os.path.exists(path) or _is_empty(path)):
        init_shared_store(path, arguments.get("magic_fname", MAGIC_FNAME))
    try:
        return FileSystemStore(path, **arguments)
    except ValueError as exc:
        if isinstance(exc, (InvalidURL, IncompatibleStore)):
            raise
        raise InvalidURL(f"'{mask_url(url)}': {exc}") from exc


def _is_empty(path: str) -> bool:
    return os.path.isdir(path) and not os.listdir(path)
