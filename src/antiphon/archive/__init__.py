"""An archive of events: save, search, follow, purge.

``open_archive(url)`` opens one; docs/reference/archive.md tells all of it.
"""

from antiphon.archive.event import Event
from antiphon.archive.event_store import EventStore
from antiphon.archive.opening import open_archive
from antiphon.archive.searching import ArchiveStats, Portion
from antiphon.errors import (
    ArchiveBusy,
    ArchiveClosed,
    ArchiveFull,
    ArchiveUnusable,
    EventNotFound,
    EventReadException,
    EventStoreException,
    EventWriteException,
    InvalidEvent,
    InvalidSearch,
    MatchTooSlow,
)

__all__ = [
    "ArchiveBusy",
    "ArchiveClosed",
    "ArchiveFull",
    "ArchiveStats",
    "ArchiveUnusable",
    "Event",
    "EventNotFound",
    "EventReadException",
    "EventStore",
    "EventStoreException",
    "EventWriteException",
    "InvalidEvent",
    "InvalidSearch",
    "MatchTooSlow",
    "Portion",
    "open_archive",
]
