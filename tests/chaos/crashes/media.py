"""Where the writers write: each backend, with stores that are seeded and thrown away."""

from __future__ import annotations

import itertools
import shutil
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from antiphon.events.api import BaseEventManager, EventManager
from antiphon.storage.filesystem_store import FileSystemStore, init_shared_store
from antiphon.storage.locking_filesystem_store import LockingFileSystemStore
from antiphon.storage.redis_store import RedisStore
from antiphon.storage.sqlite_store import SqliteStore
from tests.chaos.crashes.work import SEED


class Medium(ABC):
    """One backend.

    Args:
        folder: where its files may lie; nobody else's.
    """

    #: Whether the writer that is killed is a server, and its client commits.
    is_served = False

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = itertools.count()

    def new_name(self) -> str:
        """Return the name of a store that is not there yet."""
        return f"store{next(self._numbers)}"

    def make(self, name: str) -> None:
        """Make the store of that name, with what ``SEED`` writes."""
        self._prepare(name)
        store = self.open(name)
        SEED.do(store)
        store.disconnect()

    @abstractmethod
    def store(self, name: str) -> Any:
        """Return a store object for that name, not connected."""

    @abstractmethod
    def remove(self, name: str) -> None:
        """Throw a store away."""

    def open(self, name: str, manager: BaseEventManager | None = None) -> Any:
        """Return the store of that name, connected."""
        store = self.store(name)
        store.event_manager = manager or EventManager()
        store.connect()
        return store

    def _prepare(self, name: str) -> None:
        """Make what has to be there before a store can be connected."""
        folder = self._folder / name
        folder.mkdir()


class _Folders(Medium):
    """Stores in a folder of their own each."""

    def remove(self, name: str) -> None:
        shutil.rmtree(self._folder / name)


class Sqlite(_Folders):
    """A sqlite database."""

    def store(self, name: str) -> Any:
        return SqliteStore(self._folder / name / "store.db")


class ServedSqlite(Sqlite):
    """A sqlite database behind an HTTP server."""

    is_served = True


class Files(_Folders):
    """Plain files."""

    def store(self, name: str) -> Any:
        return FileSystemStore(self._folder / name)

    def _prepare(self, name: str) -> None:
        init_shared_store(self._folder / name)


class LockingFiles(Files):
    """Plain files on a shared disk."""

    def store(self, name: str) -> Any:
        return LockingFileSystemStore(self._folder / name)


class RedisNamespaces(Medium):
    """Namespaces of a Redis.

    Args:
        folder: not used.
        url: of a database that nobody else uses.
    """

    def __init__(self, folder: Path, url: str) -> None:
        super().__init__(folder)
        self._url = url

    def store(self, name: str) -> Any:
        return RedisStore(self._url, namespace=name)

    def remove(self, name: str) -> None:
        # The database is thrown away as a whole.
        return

    def _prepare(self, name: str) -> None:
        return


def medium_of(kind: str, folder: Path, redis_url: str | None = None) -> Medium:
    """Return the backend called *kind*, one of ``MEDIA``."""
    if kind == "redis":
        if redis_url is None or not urlsplit(redis_url).path.strip("/"):
            raise ValueError("redis needs the URL of a database")
        return RedisNamespaces(folder, redis_url)
    return _FOLDERS[kind](folder)


_FOLDERS = {"sqlite": Sqlite, "files": Files, "locking": LockingFiles, "http": ServedSqlite}

#: The names of all backends.
MEDIA = (*_FOLDERS, "redis")
