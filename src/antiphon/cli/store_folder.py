"""A plain folder of files, as one end of a copy."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import stat
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

from antiphon.errors import InvalidKey, KeyNotFound, StoreFull, StoreUnavailable, VersionConflict
from antiphon.storage.abstract_store import AbstractStore
from antiphon.storage.changes import missing
from antiphon.storage.journal import Version
from antiphon.storage.streams import checked_chunks
from antiphon.storage.utils import BUFFER_BYTES
from antiphon.storage.value import Value, split_value

#: What the names of files begin with that are being written.
_TEMPORARY = ".antiphon-"

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

#: Also of names that no file can have.
_NO_SUCH_FILE = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP)


class Folder(AbstractStore):
    """A folder: the keys are the files' paths, with slashes; metadata are not kept.

    A file is there whole or not at all, whenever the process ends.

    Args:
        path: of the folder.
        makes: whether it is made if it is not there.
    """

    #: For copies: nothing is lost that was ever here.
    keeps_metadata = False

    def __init__(self, path: str, *, makes: bool = False) -> None:
        super().__init__()
        self.path = path
        self._makes = makes

    def __repr__(self) -> str:
        return f"<folder {self.path}>"

    def connect(self, credentials: Any = None) -> None:
        """Make the folder, if that is meant, and remove what killed processes left there."""
        if self._makes:
            os.makedirs(self.path, exist_ok=True)
        if not os.path.isdir(self.path):
            state = "is no folder" if os.path.exists(self.path) else "does not exist"
            raise StoreUnavailable(f"{self.path} {state}")
        if self._makes:
            self._tidy()
        super().connect(credentials)

    # -- Reading -------------------------------------------------------------

    def query_keys(self, **kwargs: Any) -> Iterator[str]:
        """Yield the paths of all files; nothing has metadata, so conditions match none."""
        if kwargs:
            return
        for where, folders, files in os.walk(self.path, onerror=self._unreadable):
            folders.sort()
            for name in sorted(files):
                path = os.path.join(where, name)
                if not name.startswith(_TEMPORARY) and os.path.isfile(path):
                    yield os.path.relpath(path, self.path).replace(os.sep, "/")

    def query(
        self, select: Iterable[str] | None = None, **kwargs: Any
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the paths, with no metadata."""
        return ((key, {}) for key in self.query_keys(**kwargs))

    def get(self, key: str) -> Value:
        """Return the file at *key*."""
        path = self._path(key)
        try:
            told = os.stat(path)
        except (OSError, UnicodeEncodeError) as exc:
            if isinstance(exc, OSError) and exc.errno not in _NO_SUCH_FILE:
                raise
            raise missing(key, self) from None
        if not stat.S_ISREG(told.st_mode):
            raise missing(key, self)
        return _FileValue(path, told, missing(key, self))

    # -- Writing -------------------------------------------------------------

    def set(
        self,
        key: str,
        value: Any,
        buffer_size: int = BUFFER_BYTES,
        *,
        expect: Version | None = None,
    ) -> Version | None:
        """Write a file; *expect* may be ``ABSENT``.

        Raises:
            InvalidKey: no file can be called so, or a folder of that name is in the way.
            VersionConflict: it is there.
            StoreFull: the disk is full; the file is what it was.
        """
        path = self._path(key)
        with self._mapping(key), self._temporary() as (file, temporary):
            for piece in checked_chunks(key, split_value(value)[0], buffer_size):
                file.write(piece)
            file.flush()
            os.makedirs(os.path.dirname(path), exist_ok=True)
            if expect is None:
                os.replace(temporary, path)
            else:
                _move_new(temporary, path, key, self)
        return None

    def _path(self, key: str) -> str:
        parts = key.split("/")
        if not {"", ".", ".."}.isdisjoint(parts) or "\0" in key or parts[-1].startswith(_TEMPORARY):
            raise InvalidKey(f"no file below {self.path} can be called {key!r:.80}")
        return os.path.join(self.path, *parts)

    @contextlib.contextmanager
    def _temporary(self) -> Iterator[tuple[BinaryIO, str]]:
        file, path = self._begin_file()
        try:
            with file:
                yield file, path
        finally:
            with contextlib.suppress(OSError):
                os.unlink(path)

    def _begin_file(self) -> tuple[BinaryIO, str]:
        while True:
            path = os.path.join(self.path, _TEMPORARY + secrets.token_hex(8))
            file = open(path, "xb")  # noqa: SIM115 - the caller closes it
            fcntl.flock(file, fcntl.LOCK_EX)
            if os.fstat(file.fileno()).st_nlink:
                return file, path
            # Before it was locked, another process took it for a dead one's, and removed it.
            file.close()

    @contextlib.contextmanager
    def _mapping(self, key: str) -> Iterator[None]:
        try:
            yield
        except (NotADirectoryError, IsADirectoryError, FileExistsError) as exc:
            raise InvalidKey(
                f"{key!r:.80} cannot be a file in {self.path}: {exc.filename} is in the way"
            ) from exc
        except (OSError, UnicodeEncodeError) as exc:
            if isinstance(exc, UnicodeEncodeError) or exc.errno == errno.ENAMETOOLONG:
                raise InvalidKey(f"no file can be called {key!r:.80}: {exc}") from exc
            if exc.errno in _NO_ROOM:
                raise StoreFull(f"{self.path} has no room for {key!r:.80}: {exc}") from exc
            raise

    def _unreadable(self, error: OSError) -> None:
        # A folder below may go while one walks, and its files with it.
        if error.errno not in _NO_SUCH_FILE or error.filename == self.path:
            raise error

    def _tidy(self) -> None:
        for name in os.listdir(self.path):
            if name.startswith(_TEMPORARY):
                path = os.path.join(self.path, name)
                with contextlib.suppress(OSError), open(path, "rb") as file:
                    # Whoever writes it holds the lock as long as he lives.
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    os.unlink(path)


class _FileValue(Value):
    """A file; opened when its data are asked for, which raises *gone* if it is not there then."""

    def __init__(self, path: str, told: os.stat_result, gone: KeyNotFound) -> None:
        self._path = path
        self._gone = gone
        self._file: BinaryIO | None = None
        self.size = told.st_size
        self.modified = told.st_mtime

    @property
    def data(self) -> BinaryIO:
        if self._file is None:
            try:
                self._file = open(self._path, "rb")  # noqa: SIM115 - the reader closes it
            except (FileNotFoundError, NotADirectoryError):
                raise self._gone from None
        return self._file

    @property
    def metadata(self) -> dict[str, Any]:
        return {}


def _move_new(temporary: str, path: str, key: str, store: object) -> None:
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise VersionConflict(f"{key!r:.80} is in {store!r} already") from None
    except OSError as exc:
        if exc.errno not in (errno.EPERM, errno.ENOTSUP, errno.EMLINK):
            raise
        # A disk without links: the name is taken first, and empty for a moment.
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:
            raise VersionConflict(f"{key!r:.80} is in {store!r} already") from None
        os.replace(temporary, path)
