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
        prefix: keys that begin with it are told of, and noted with their version.
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
        """Void what *changes* make stale, in one step; or everything.

        Another mount may share the medium, and the position speaks of its
        entries, too: so keys that do not begin with the prefix are voided as
        well.  Nothing is noted of these, or told.

        Raises:
            StoreError: the cache cannot be written; some may be voided.
        """
        wanted = coalesced(
            (change.key, self._version_of(change.position), change.sent_ns)
            for change in changes
            if change.key.startswith(self._prefix)
        )
        others = dict.fromkeys(
            change.key for change in changes if not change.key.startswith(self._prefix)
        )
        done = list(wanted.values())
        if done or others:
            done = self._void_keys(done, list(others))
        if drops_all:
            self._void_all()
        return done

    def _version_of(self, position: Position | None) -> Version | None:
        return position.version if position is not None and self._has_versions else None

    def _void_keys(self, wanted: list[Applied], others: list[str]) -> list[Applied]:
        changes = sum(one.changes for one in wanted)
        if self._are_too_many(others):
            self._ledger.void_prefix(common_prefix(others), None)
            others = []
        if self._are_too_many(wanted):
            done = [self._void_prefix(wanted, changes)]
            self._void(others)
        else:
            drops = self._void(others, wanted)
            done = [
                one._replace(dropped=int(dropped))
                for one, dropped in zip(wanted, drops, strict=True)
            ]
        self.counts.applied += changes
        self.counts.coalesced += changes - len(wanted)
        self.counts.dropped += sum(one.dropped for one in done)
        return done

    def _are_too_many(self, keys: Sequence[object]) -> bool:
        return len(keys) > PREFIX_ABOVE and len(keys) > self._ledger.usage().entries

    def _void(self, others: Sequence[str], wanted: Sequence[Applied] = ()) -> list[bool]:
        """Void single keys; for each of *wanted* whether an entry was dropped."""
        voided: list[tuple[str, Version | None]] = [(one.key, one.version) for one in wanted]
        # Without a version nothing is noted, which would take room from one's own notes.
        voided += ((key, None) for key in others)
        if len(voided) == 1:
            drops = [self._ledger.void(*voided[0])]
        else:
            drops = self._ledger.void_many(voided) if voided else []
        return drops[: len(wanted)]

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
