"""What a cache tells its own process; none of it travels."""

from __future__ import annotations

from antiphon.storage.events import StoreKeyEvent
from antiphon.storage.journal import Version


class CacheEvent(StoreKeyEvent):
    """Base of the events of caches; *source* is the mounted store."""

    travels = False


class CacheInvalidatedEvent(CacheEvent):
    """A change of the backing store was applied to the cache.

    Attributes:
        key: the key that changed.
        version: its new version; None where the backing store has none.
        dropped: whether the cache held an entry of it.
        changes: how many changes of the key were applied at once.
        latency_s: seconds from the first change's event to its being applied
            here, by the wall clocks of the two machines; None when it was found
            in the journal and not heard of.
    """

    version: Version | None
    dropped: bool
    changes: int
    latency_s: float | None


class CachePrefixInvalidatedEvent(CacheEvent):
    """More changes came at once than the cache has entries: all below a prefix were dropped.

    Attributes:
        key: the prefix; ``""`` for all keys.
        dropped: how many entries that were.
        changes: how many changes were applied by that.
        latency_s: as for ``CacheInvalidatedEvent``.
    """

    dropped: int
    changes: int
    latency_s: float | None


class CacheConflictEvent(CacheEvent):
    """The backing store changed a key that the user wrote here and has not pushed.

    The user's value is kept (P6).  ``push`` will raise ``VersionConflict``.

    Attributes:
        key: the key.
        base: the version that the user's write began from.
        version: the version that the backing store has now.
    """

    base: Version | None
    version: Version | None


class CacheTrustEvent(CacheEvent):
    """The cache is vouched for again (*trusted* is true), or no longer.

    Attributes:
        trusted: whether entries are served without asking the backing store at each read.
        why: why it is not vouched for; empty if it is.
    """

    trusted: bool
    why: str
