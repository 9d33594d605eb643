"""Where the writers write: each backend, with stores that are seeded and thrown away."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

from antiphon.errors import StoreUnavailable
from antiphon.events.api import BaseEventManager, EventManager
from antiphon.storage.filesystem_store import FileSystemStore, init_shared_store
from antiphon.storage.locking_filesystem_store import LockingFileSystemStore
from antiphon.storage.redis_store import RedisStore
from antiphon.storage.sqlite_store import SqliteStore
from tests.chaos.crashes.work import SEED

#: Seconds in which a Redis has to answer.
_START_TIMEOUT_S = 10.0


class Medium(ABC):
    """One backend.

    Args:
        folder: where its files may lie; nobody else's.
    """

    #: Whether a server is killed while its client commits over HTTP.
    is_served = False

    #: Whether what is committed may be more than one change.
    has_transactions = True

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
    has_transactions = False


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


class RedisServers(Medium):
    """Redis servers, each with one store, a log of its own and a socket."""

    def store(self, name: str) -> Any:
        return RedisStore(f"unix://{self._path(name, 'socket')}?namespace=n", connect_timeout_s=1)

    def open(self, name: str, manager: BaseEventManager | None = None) -> Any:
        with contextlib.suppress(StoreUnavailable):
            return super().open(name, manager)
        self._start(name)
        return super().open(name, manager)

    def become(self, name: str) -> NoReturn:
        """Be the server of a store, in place of this process."""
        command = [*self._command(name), "--daemonize", "no"]
        os.execvp(command[0], command)

    def shut_down(self, name: str) -> None:
        """End a server, if there is one."""
        # It does not answer that.
        with contextlib.suppress(OSError), self._connection(name) as connection:
            connection.sendall(b"SHUTDOWN NOSAVE\r\n")
            connection.recv(1)

    def wait(self, name: str) -> None:
        """Wait until the server takes connections."""
        deadline = time.monotonic() + _START_TIMEOUT_S
        while True:
            with contextlib.suppress(OSError), self._connection(name) as connection:
                connection.sendall(b"PING\r\n")
                if connection.recv(100) == b"+PONG\r\n":
                    return
            if time.monotonic() > deadline:
                raise TimeoutError(f"no Redis for {name} within {_START_TIMEOUT_S:g} s")
            time.sleep(0.005)

    def remove(self, name: str) -> None:
        self.shut_down(name)
        shutil.rmtree(self._folder / name, ignore_errors=True)

    def _prepare(self, name: str) -> None:
        self.wait(name)

    def prepare_folder(self, name: str) -> None:
        """Make the folder of a server."""
        super()._prepare(name)

    def _start(self, name: str) -> None:
        subprocess.run([*self._command(name), "--daemonize", "yes"], check=True)
        self.wait(name)

    def _command(self, name: str) -> list[str]:
        options = {
            "port": "0",
            "unixsocket": self._path(name, "socket"),
            "dir": self._path(name),
            "logfile": self._path(name, "log"),
            "save": "",
            "appendonly": "yes",
            "appendfsync": "always",
        }
        return ["redis-server", *(word for key in options for word in (f"--{key}", options[key]))]

    def _path(self, *names: str) -> str:
        return str(self._folder.joinpath(*names))

    @contextlib.contextmanager
    def _connection(self, name: str) -> Iterator[socket.socket]:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_START_TIMEOUT_S)
            connection.connect(self._path(name, "socket"))
            yield connection


def medium_of(kind: str, folder: Path, redis_url: str | None = None) -> Medium:
    """Return the backend called *kind*, one of ``MEDIA``."""
    if kind == "redis":
        if redis_url is None or not urlsplit(redis_url).path.strip("/"):
            raise ValueError("redis needs the URL of a database")
        return RedisNamespaces(folder, redis_url)
    return _KINDS[kind](folder)


_KINDS: dict[str, Callable[[Path], Medium]] = {
    "sqlite": Sqlite,
    "files": Files,
    "locking": LockingFiles,
    "http": ServedSqlite,
    "redis-server": RedisServers,
}

#: The names of all backends; of the last one it is the server that is killed.
MEDIA = ("sqlite", "files", "locking", "http", "redis", "redis-server")
