"""The user's own keys of a filled mount: what they began from, and pushing them.

They stay in the mount store's key space, apart from the cache entries, so no
invalidation can reach them (DESIGN section 8, P6).
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from typing import BinaryIO

from antiphon.errors import KeyNotFound, TransactionError, VersionConflict
from antiphon.storage.abstract_store import AbstractStore
from antiphon.storage.conditions import condition
from antiphon.storage.journal import ABSENT, Version, version_of
from antiphon.storage.layered_store import closing_value
from antiphon.storage.ledger import CacheLedger
from antiphon.storage.metadata import encode
from antiphon.storage.utils import BUFFER_BYTES, BufferIteratorIO, buffer_iterator
from antiphon.storage.value import Value


class OwnWrites:
    """The user's own writes to one cache.

    Args:
        mount_point: prefix of the keys that are cached.
        mount_store: holds the user's own keys; connected.
        backing_store: where they are pushed to.
        ledger: the cache of the mount store.
        has_journal: whether the values of the backing store have versions.
    """

    def __init__(
        self,
        mount_point: str,
        mount_store: AbstractStore,
        backing_store: AbstractStore,
        *,
        ledger: CacheLedger,
        has_journal: bool,
    ) -> None:
        self.mount_point = mount_point
        self.mount_store = mount_store
        self.backing_store = backing_store
        self.ledger = ledger
        self._has_journal = has_journal
        self._pushing: set[str] = set()

    def short(self, key: str) -> str:
        """Return the key of *key* in the mount store."""
        return key[len(self.mount_point) :]

    def look(self, key: str) -> tuple[Version | None, bool]:
        """Return the base of the user's unpushed write of *key*, and whether there is one."""
        if key in self._pushing or not self.mount_store.exists(self.short(key)):
            return None, False
        return self.ledger.base(key), True

    def begin(self, key: str) -> None:
        """Note which version of the backing store an own write of *key* begins from.

        To be called before the write: a crash between leaves a note of a key
        that is not there, which the next write replaces.
        """
        if self.mount_store.exists(self.short(key)):
            return
        if self._in_transaction() and self.ledger.base(key) is not None:
            return  # it may be rolled back, and then that is the base again
        self.ledger.set_base(key, self._backing_version(key))

    def _in_transaction(self) -> bool:
        return bool(getattr(self.mount_store, "in_transaction", False))

    def end(self, key: str) -> None:
        """Forget the note of a write that was deleted."""
        if not self._in_transaction() and not self.mount_store.exists(self.short(key)):
            self.ledger.set_base(key, None)

    def _backing_version(self, key: str) -> Version | None:
        cached = self.ledger.lookup(key).entry
        if cached is not None:
            cached.data.close()
            if cached.version is not None:
                # What the user saw, or could have seen: push finds out whether
                # the backing store has moved on since.
                return cached.version
        if not self._has_journal:
            return None
        try:
            return version_of(self.backing_store.get(key))
        except KeyError:
            return ABSENT

    def push(self, key: str) -> None:
        """Move the user's own *key* to the backing store, if that still has its base."""
        if self._in_transaction():
            raise in_transaction_error(key, self.backing_store)
        short = self.short(key)
        with speaking_of(key, self.mount_store):
            value = self.mount_store.get(short)
        base = self.ledger.base(key)
        pushed = version_of(value)
        self._pushing.add(key)
        try:
            with closing_value(value):
                self._send(key, value, base)
            # The cached entry is older than what was just pushed.
            self.ledger.void(key, None)
            self._forget_own(key, short, pushed)
        finally:
            self._pushing.discard(key)

    def _send(self, key: str, value: Value, base: Version | None) -> None:
        try:
            self.backing_store.set(key, value, **condition(base))
        except VersionConflict:
            # A push that was cut off may have brought it there: then it is done.
            try:
                arrived = self.backing_store.get(key)
            except KeyError:
                arrived = None
            if arrived is None or not _are_equal(self.mount_store.get(self.short(key)), arrived):
                raise

    def _forget_own(self, key: str, short: str, pushed: Version | None) -> None:
        try:
            if pushed is None:
                self.mount_store.delete(short)
            else:
                self.mount_store.delete(short, expect=pushed)
        except VersionConflict:
            # The user wrote the key again while we pushed: that write stays,
            # and begins from what the backing store has now.
            self.ledger.set_base(key, version_of(self.backing_store.get(key)))
        else:
            self.end(key)


def in_transaction_error(key: str, backing_store: object) -> TransactionError:
    """Return the error of a push of *key* inside a transaction of the mount store."""
    return TransactionError(
        f"cannot push {key!r:.200} inside a transaction: what is written to"
        f" {backing_store!r} would not be rolled back; push after it"
    )


@contextlib.contextmanager
def speaking_of(key: str, mount_store: AbstractStore) -> Iterator[None]:
    """Name the whole *key* in the error of one that the mount store has not."""
    # The mount store knows the end of the key only.
    try:
        yield
    except KeyError as exc:
        raise KeyNotFound(
            f"no key {key!r:.200} in the mount store {mount_store!r}; what only the backing"
            " store has can neither be deleted nor pushed"
        ) from exc


def _are_equal(one: Value, other: Value) -> bool:
    """Return whether two values have the same data and metadata."""
    with closing_value(one), closing_value(other):
        if one.size != other.size or encode(one.metadata) != encode(other.metadata):
            return False
        # In blocks of one length: a stream may give less than it is asked for.
        pieces = itertools.zip_longest(_blocks(one.data), _blocks(other.data))
        return all(mine == theirs for mine, theirs in pieces)


def _blocks(stream: BinaryIO) -> Iterator[bytes]:
    source = BufferIteratorIO(buffer_iterator(stream))
    return iter(lambda: source.read(BUFFER_BYTES), b"")
