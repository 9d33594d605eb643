"""What may have been meant by a text that is no URL of a store."""

from __future__ import annotations

import contextlib
import os
from urllib.parse import quote

from antiphon.schemes import scheme_of

#: Ends of the names of files that hold a sqlite database.
_SQLITE_ENDS = (".db", ".db3", ".sqlite", ".sqlite3")

#: What sqlite's files begin with.
_SQLITE_START = b"SQLite format 3\0"


def store_hint(url: str) -> str | None:
    """Return a sentence on what may have been meant by *url*; None if there is no telling."""
    scheme = scheme_of(url)
    if scheme in ("http", "https"):
        return (
            f"write dynamic+{scheme}://… for Antiphon's store server, or one with its protocol,"
            f" and static+{scheme}://… for an index and files"
        )
    if scheme in ("amqp", "amqps"):
        return "that is where events travel: open_bus() opens it"
    is_drive = len(scheme) == 1 and url[2:3] in ("\\", "/")
    if not is_drive and (scheme or not _is_path(url)):
        return None
    return f"for the {_kind(url)} of that name write '{_url_of(url, is_drive)}'"


def _is_path(text: str) -> bool:
    return (
        text.startswith(("/", "./", "../", "~", "\\"))
        or text.endswith(("/", *_SQLITE_ENDS))
        or (bool(text) and os.path.exists(text))
    )


def is_sqlite(path: str) -> bool:
    """Whether *path* is, by its name or by what is there, that of a sqlite file."""
    return path.endswith(_SQLITE_ENDS) or os.path.isfile(path)


def is_database(path: str) -> bool:
    """Whether the file at *path* is called like a sqlite file, or begins like one."""
    if path.endswith(_SQLITE_ENDS):
        return True
    with contextlib.suppress(OSError), open(path, "rb") as file:
        return file.read(len(_SQLITE_START)) == _SQLITE_START
    return False


def _kind(path: str) -> str:
    return "sqlite file" if is_sqlite(path) else "directory"


def _url_of(path: str, is_drive: bool) -> str:
    scheme = "sqlite" if is_sqlite(path) else "file"
    plain = quote(os.path.expanduser(path).replace("\\", "/"), safe="/:~")
    if is_drive:
        return f"{scheme}:///{plain}"
    return f"{scheme}://{plain}" if plain.startswith("/") else f"{scheme}:{plain}"
