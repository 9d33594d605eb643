"""An archive of events: save, search, follow, purge.

``open_archive(url)`` opens one; docs/reference/archive.md tells all of it.
"""

from antiphon.archive.event import Event
from antiphon.archive.event_store import EventStore
from antiphon.archive.exchange import Imported, export_lines, import_lines
from antiphon.archive.opening import open_archive
from antiphon.archive.replay import Replayed, replay
from antiphon.archive.retention import Retention
from antiphon.archive.searching import ArchiveStats, Portion
from antiphon.archive.tail import CAUGHT_UP, Tail, tail
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
    InvalidLine,
    InvalidRetention,
    InvalidSearch,
    MatchTooSlow,
)

__all__ = [
    "CAUGHT_UP",
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
    "Imported",
    "InvalidEvent",
    "InvalidLine",
    "InvalidRetention",
    "InvalidSearch",
    "MatchTooSlow",
    "Portion",
    "Replayed",
    "Retention",
    "Tail",
    "export_lines",
    "import_lines",
    "open_archive",
    "replay",
    "tail",
]
