"""The user's own keys of a filled mount: what they began from, and what conflicts with them.

They stay in the mount store's key space, apart from the cache entries, so no
invalidation can reach them (DESIGN section 8, P6).  How they get to the source
is in ``pushing``.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from antiphon.storage.abstract_store import AbstractStore
from antiphon.storage.forking import Forked
from antiphon.storage.freshness_modes import FreshnessReport
from antiphon.storage.journal import ABSENT, Journal, Version, version_of
from antiphon.storage.layered_store import closing_value
from antiphon.storage.ledger import CacheLedger
from antiphon.storage.push_note import PushNote
from antiphon.storage.value import Value

#: What is told of what the user wrote.
_OWN = FreshnessReport("fresh", 0.0, "it is the user's own, and not pushed yet")


class Conflict(NamedTuple):
    """A key that the user wrote, and the source has changed since.

    Attributes:
        key: the key.
        base: the version that the user's write began from; None if unknown.
        version: the one that the source has now; ``ABSENT`` if none.
    """

    key: str
    base: Version | None
    version: Version | None


#: No write has begun.
_NOTHING: tuple[str | None, Version | None] = (None, None)


class _Begun(threading.local):
    """The write that a thread has begun last, and its base."""

    write = _NOTHING


class OwnWrites(Forked):
    """The user's own writes to one cache.

    Args:
        mount_point: prefix of the keys that are cached.
        mount_store: holds the user's own keys; connected.
        backing_store: where they are pushed to.
        ledger: the cache of the mount store.
        journals: of the backing store; empty if its values have no versions.
    """

    def __init__(
        self,
        mount_point: str,
        mount_store: AbstractStore,
        backing_store: AbstractStore,
        *,
        ledger: CacheLedger,
        journals: Sequence[Journal],
    ) -> None:
        self.mount_point = mount_point
        self.mount_store = mount_store
        self.backing_store = backing_store
        self.ledger = ledger
        self.journals = tuple(journals)
        self._begun = _Begun()
        self._lock = threading.Lock()
        self._pushing: dict[str, int] = {}
        self._get = getattr(mount_store, "get_if_any", None)
        self._renew_in_children("_lock")

    def short(self, key: str) -> str:
        """Return the key of *key* in the mount store."""
        return key[len(self.mount_point) :]

    def value(self, key: str) -> Value | None:
        """Return what the user wrote under *key* and has not pushed; None if nothing."""
        short = key[len(self.mount_point) :]
        if self._get is not None:
            value: Value | None = self._get(short)
        else:
            try:
                value = self.mount_store.get(short)
            except KeyError:
                value = None
        if isinstance(value, Value):
            value.freshness = _OWN
        return value

    # -- Writing -------------------------------------------------------------

    def begin(self, key: str) -> None:
        """Note which version of the backing store an own write of *key* begins from.

        To be called before the write: a crash between leaves a note of a key
        that is not there, which the next write replaces.
        """
        if self.mount_store.exists(self.short(key)):
            return
        if self._in_transaction() and self.ledger.base(key) is not None:
            return  # it may be rolled back, and then that is the base again
        base = self._backing_version(key)
        self.ledger.set_base(key, base)
        self._begun.write = (key, base)

    def written(self, key: str) -> None:
        """Note the base again if another process, which ended an earlier write, forgot it."""
        (begun, base), self._begun.write = self._begun.write, _NOTHING
        if begun == key and base is not None and self.ledger.base(key) is None:
            self.ledger.set_base(key, base)

    def end(self, key: str) -> None:
        """Forget the base of a write that was deleted."""
        if self._in_transaction() or self.mount_store.exists(self.short(key)):
            return
        base = self.ledger.base(key)
        if base is None:
            return
        self.ledger.set_base(key, None)
        if self.mount_store.exists(self.short(key)) and self.ledger.base(key) is None:
            # Another process wrote it in between: from this base, or a later
            # one, for which this one is a conflict at worst.
            self.ledger.set_base(key, base)

    def _in_transaction(self) -> bool:
        return bool(getattr(self.mount_store, "in_transaction", False))

    def _backing_version(self, key: str) -> Version | None:
        cached = self.ledger.lookup(key).entry
        if cached is not None:
            cached.data.close()
            if cached.version is not None:
                # What the user saw, or could have seen: push finds out whether
                # the backing store has moved on since.
                return cached.version
        return self.source_version(key) if self.journals else None

    def source_version(self, key: str) -> Version | None:
        """Return the version that *key* has in the backing store; ``ABSENT`` if it is not there."""
        try:
            value = self.backing_store.get(key)
        except KeyError:
            return ABSENT
        with closing_value(value):
            return version_of(value)

    # -- Pushes under way ----------------------------------------------------

    def push_note(self, key: str) -> PushNote | None:
        """Return the note of a push of *key* that is not over, of whichever process."""
        raw = self.ledger.pushes().get(key)
        return None if raw is None else PushNote.decode(raw)

    @contextlib.contextmanager
    def being_pushed(self, key: str) -> Iterator[None]:
        """Note that this process pushes *key*, as long as the block runs."""
        with self._lock:
            self._pushing[key] = self._pushing.get(key, 0) + 1
        try:
            yield
        finally:
            with self._lock:
                self._pushing[key] -= 1
                if not self._pushing[key]:
                    del self._pushing[key]

    # -- Conflicts -----------------------------------------------------------

    def look(self, key: str) -> tuple[Version | None, bool]:
        """Return the base of the user's unpushed write of *key*, and whether there is one."""
        if key in self._pushing or not self.mount_store.exists(self.short(key)):
            return None, False
        return self.ledger.base(key), True

    def conflict_at(self, key: str, version: Version | None) -> Conflict | None:
        """Return the conflict if *version* of the source is none that the user's write goes with.

        None too if the user wrote no such key, or if the change is a push of
        it, of whichever process.
        """
        base, is_own = self.look(key)
        if not is_own:
            return None
        if version is None and self.journals:
            # Versions of several stores are told by none of their journals alone.
            version = self.source_version(key)
        if base == version:
            return None
        note = self.push_note(key)
        if note is not None and version is not None and note.tried(version.entry_id) is not None:
            return None
        return Conflict(key, base, version)

    def conflicts(self) -> Iterator[Conflict]:
        """Yield the own keys that the source has changed since, also while nobody looked.

        Each own key is asked for at the source.

        Raises:
            StoreError: the source or the mount store cannot be read.
        """
        if not self.journals:
            return
        for short in list(self.mount_store.query_keys()):
            key = self.mount_point + short
            base = self.ledger.base(key)
            if base is None:
                continue  # it was there before there was a cache
            found = self.conflict_at(key, self.source_version(key))
            # Read again: it may have been pushed while the source was asked.
            if found is not None and self.ledger.base(key) == base:
                yield found
