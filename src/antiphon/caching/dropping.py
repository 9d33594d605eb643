"""Drops from a cache what changed: key by key, or all below a prefix at once."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from antiphon.caching.changes import Applied, Heard, coalesced, common_prefix
from antiphon.storage.journal import Position, Version
from antiphon.storage.ledger import CacheLedger

logger = logging.getLogger(__name__)

#: Keys above which everything under their common prefix is dropped instead, if
#: the cache holds fewer entries.  Below it costs little to note each version,
#: which a drop by prefix cannot: it would keep older values of unchanged keys out.
PREFIX_ABOVE = 10_000


@dataclass(slots=True)
class ApplierCounts:
    """What an applier did so far."""

    applied: int = 0
    coalesced: int = 0
    dropped: int = 0
    prefixes: int = 0
    repairs: int = 0
    rebuilds: int = 0
    foreign: int = 0


class Dropping:
    """Voids the keys of one cache.  Not thread-safe.

    Args:
        ledger: of the cache.
        prefix: only keys that begin with it are cached.
        counts: are counted on.
        has_versions: whether versions can be compared, all being of one store.
    """

    def __init__(
        self, ledger: CacheLedger, prefix: str, counts: ApplierCounts, *, has_versions: bool
    ) -> None:
        self.counts = counts
        self._ledger = ledger
        self._prefix = prefix
        self._has_versions = has_versions

    def drop(self, changes: Sequence[Heard], *, drops_all: bool = False) -> list[Applied]:
        """Void what *changes* make stale, in one transaction; or everything.

        Raises:
            StoreError: the cache cannot be written; some may be voided.
        """
        wanted = coalesced(
            (change.key, self._version_of(change.position), change.sent_ns)
            for change in changes
            if change.key.startswith(self._prefix)
        )
        done = list(wanted.values())
        if done:
            done = self._void_keys(done)
        if drops_all:
            self._void_all()
        return done

    def _version_of(self, position: Position | None) -> Version | None:
        return position.version if position is not None and self._has_versions else None

    def _void_keys(self, wanted: list[Applied]) -> list[Applied]:
        changes = sum(one.changes for one in wanted)
        if len(wanted) == 1:
            ((key, version, *_),) = wanted
            done = [wanted[0]._replace(dropped=int(self._ledger.void(key, version)))]
        elif len(wanted) > PREFIX_ABOVE and len(wanted) > self._ledger.usage().entries:
            done = [self._void_prefix(wanted, changes)]
        else:
            drops = self._ledger.void_many([(one.key, one.version) for one in wanted])
            done = [
                one._replace(dropped=int(dropped))
                for one, dropped in zip(wanted, drops, strict=True)
            ]
        self.counts.applied += changes
        self.counts.coalesced += changes - len(wanted)
        self.counts.dropped += sum(one.dropped for one in done)
        return done

    def _void_prefix(self, wanted: list[Applied], changes: int) -> Applied:
        prefix = common_prefix(one.key for one in wanted)
        logger.info("%d changes at once: all that begins with %r is dropped", changes, prefix)
        self.counts.prefixes += 1
        # Without a version, as below.
        dropped = self._ledger.void_prefix(prefix, None)
        covered = {one.key: one.version for one in wanted}
        return Applied(prefix, None, dropped, changes, wanted[0].sent_ns, covered)

    def _void_all(self) -> None:
        # Without a version: a noted one would keep every older value of every
        # key out of the cache, although only one key changed.
        self.counts.applied += 1
        self.counts.dropped += self._ledger.void_prefix("", None)
