"""Values that are newer than what their cache has heard of, which it must not keep.

Of what lies beyond a cache's position nobody says that it remains: a store that
loses its newest changes, of which none was heard of, is at that position still.
So an entry from beyond would seem fresh for as long as nobody writes its key
(docs/explanation/freshness.md, interleaving 16).
"""

from __future__ import annotations

from collections.abc import Callable

from antiphon.storage.journal import Journal, Version
from antiphon.storage.ledger import CacheLedger


def ahead_of(
    ledger: CacheLedger, journals: tuple[Journal, ...]
) -> Callable[[Version | None], bool]:
    """Return what says whether a version is ahead of where the cache is now.

    To be called before the source is asked: a position that is reached later may
    be of a history that does not have what the source gave.

    Versions of several journals cannot be compared, and a cache without a
    position shows nothing to be fresh; neither is ahead.

    Raises:
        StoreError: the cache cannot be read.
    """
    if len(journals) != 1:
        return _never
    store_id = journals[0].store_id
    reached = None if store_id is None else ledger.positions().get(store_id)
    if reached is None:
        return _never
    at = reached.version

    def is_ahead(version: Version | None) -> bool:
        # The same numbers with another id are of another history.
        return version is not None and version != at and version[:2] >= at[:2]

    return is_ahead


def _never(_: Version | None) -> bool:
    return False
