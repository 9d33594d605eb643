"""Archives by URL."""

from __future__ import annotations

from typing import Any

from antiphon.archive.event_store import EventStore
from antiphon.schemes import SchemeRegistry

#: The archives by scheme; other distributions add theirs as entry points.
archives = SchemeRegistry(
    "archive",
    "antiphon.archives",
    {"sqlite": "antiphon.archive.sqlite_archive:from_url"},
)


def open_archive(url: str, **options: Any) -> EventStore:
    """Return the archive that *url* names, open.

    Args:
        url: ``sqlite:///absolute/path.db`` or ``sqlite:relative.db``, or what
            another distribution has added; with ``?read_only=1`` nothing can be
            written, and ``?timeout_s=5`` says how long to wait for others' locks.
        **options: parameters of the archive, which win over those in the URL.

    Raises:
        UnknownScheme: there is no archive for the scheme; the message lists them.
        InvalidURL: a part of the URL makes no sense.
        ArchiveUnusable: there is none to read, or the file is something else.
    """
    store: EventStore = archives.load(url)(url, **options)
    return store
