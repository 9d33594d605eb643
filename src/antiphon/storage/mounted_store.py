"""A store that mounts another one at a prefix of a backing store's keys."""

from __future__ import annotations

import contextlib
from typing import Any

from antiphon.errors import InvalidValue, KeyNotFound, VersionConflict
from antiphon.schemes import mask_url
from antiphon.storage.abstract_store import AbstractStore
from antiphon.storage.cache_options import CacheOptions
from antiphon.storage.cache_stats import CacheStats
from antiphon.storage.checks import checked_key
from antiphon.storage.conditions import condition, honours_expect
from antiphon.storage.filling_mount import FillingMount
from antiphon.storage.freshness_modes import FreshnessMode, FreshnessReport, mode_of
from antiphon.storage.journal import Journal, Version, version_of
from antiphon.storage.journals import journals_of, prefixed, united
from antiphon.storage.layered_store import closing_value, writable
from antiphon.storage.mounted_reading import MountedReading
from antiphon.storage.pushing import in_transaction_error, speaking_of
from antiphon.storage.quick_reads import quick_read


class MountedStore(MountedReading):
    """A store whose writes go to one store, before what another one has.

    Keys that begin with the mount point are looked for in the mount store
    first, under what follows the mount point, and then in the backing store
    under the whole key.  Only they can be written, and only into the mount
    store; ``push`` moves one to the backing store.

    Args:
        mount_point: prefix of the keys that can be written.
        mount_store: takes the writes.
        backing_store: is read where the mount store has nothing.
        fill: keep what is read from the backing store below the mount point, as
            a cache that a ``CacheInvalidator`` keeps right.  The mount store
            must be one that can hold a cache: memory, sqlite, files or Redis.
        freshness: with *fill*, how fresh a read has to be: ``"strict"``, where
            each read asks the backing store whether the cache is at its head;
            ``bounded(seconds)``, where a read is at the very most so far behind;
            or ``"available"``, which serves what there is and says what it is
            worth (``value.freshness``).  None is ``bounded(3)``.
        max_staleness_s: with *fill*, the seconds alone.
        max_bytes: with *fill*, bytes of data that the cache may hold; what was
            not read lately is dropped first.
        max_entries: with *fill*, entries that it may hold.

    It emits nothing itself: the events are those of the two stores.  With
    *fill*, ``delete``, ``push``, ``query`` and ``transaction`` still see only
    the user's own keys in the mount store, and ``push`` is conditional: it
    raises ``VersionConflict`` if the backing store has changed the key since.

    Raises:
        InvalidValue: what is given as a store is none; *fill* over a store that
            fills already, or that is the mount store itself; or what only a
            cache can have without *fill*.
        InvalidFreshness: *freshness* is no mode.
        ValueError: a bound is no integer, or below 1.
    """

    def __init__(
        self,
        mount_point: str,
        mount_store: AbstractStore,
        backing_store: AbstractStore,
        *,
        fill: bool = False,
        freshness: str | FreshnessMode | None = None,
        max_staleness_s: float | None = None,
        max_bytes: int | None = None,
        max_entries: int | None = None,
    ) -> None:
        super().__init__()
        checked_key(mount_point)
        _check_stores(mount_store, backing_store, fill)
        options = CacheOptions(mode_of(freshness, max_staleness_s), max_bytes, max_entries)
        self._filling: FillingMount | None = None
        if fill:
            self._filling = FillingMount(mount_point, mount_store, backing_store, options=options)
        elif options != CacheOptions():
            raise InvalidValue("freshness and bounds are those of a cache: give fill=True as well")
        self.mount_point = mount_point
        self.mount_store = mount_store
        self.backing_store = backing_store
        self.stores = [mount_store, backing_store]

    def __repr__(self) -> str:
        return f"<MountedStore of {self.mount_store!r} at {self.mount_point!r}>"

    # -- Connecting ----------------------------------------------------------

    def connect(self, credentials: Any = None) -> None:
        """Connect those of the two stores that are not connected yet."""
        for store in self.stores:
            if not store.is_connected():
                store.connect(credentials)
        if self._filling is not None:
            self._filling.open()
        super().connect(credentials)
        if self._filling is not None:
            self._quick = quick_read(self._filling)

    def info(self) -> dict[str, Any]:
        return {**super().info(), "readonly": bool(self.mount_store.info().get("readonly", False))}

    def disconnect(self) -> None:
        """Stop using the two stores; they were given, and stay connected."""
        self._quick = None
        super().disconnect()

    # -- The cache -----------------------------------------------------------

    def cache_stats(self) -> CacheStats:
        """Return what the readers of this process met in the cache so far."""
        return self.filling.stats()

    def freshness(self) -> FreshnessReport:
        """Return how fresh what is served from the cache now is, and how that is known.

        It asks the backing store if a read would have to.
        """
        return self.filling.report()

    def wait_applied(self, seen: int, timeout_s: float) -> int:
        """Sleep until an invalidator of this process has applied changes to the cache.

        For those who read when something has changed: they are woken by the thread
        that applied it, sooner than a listener of ``CacheInvalidatedEvent`` is called.
        Which keys changed it does not tell.

        Args:
            seen: what an earlier call returned; 0 for the first, which then may
                return at once.
            timeout_s: seconds to wait at most.

        Returns:
            How often changes were applied so far; not above *seen* if the time was up.
        """
        return self.filling.freshness.wait_moved(seen, timeout_s)

    def journals(self) -> tuple[Journal, ...] | None:
        """Return those of both stores, with the keys that they have here; None with ``fill``.

        What a cache serves may be older than what its source's journal tells.
        """
        mounted = journals_of(self.mount_store)
        if self._filling is not None or mounted is None:
            return None
        return united(prefixed(mounted, self.mount_point), journals_of(self.backing_store))

    # -- Writing -------------------------------------------------------------

    def _top(self) -> AbstractStore:
        return writable(self.mount_store)

    def _name_on_top(self, key: str) -> str:
        if not key.startswith(self.mount_point):
            raise KeyNotFound(
                f"{key!r:.200} cannot be written: only keys that begin with"
                f" {self.mount_point!r} can, and the rest is read from {self.backing_store!r}"
            )
        return self._short(key)

    def _get_below(self, key: str) -> Any:
        return self.backing_store.get(key)

    def _begin_write(self, key: str) -> None:
        if self._filling is not None:
            self.filling.own.begin(key)

    def _end_write(self, key: str) -> None:
        if self._filling is not None:
            self.filling.own.written(key)

    def delete(self, key: str, *, expect: Version | None = None) -> Version | None:
        """Delete *key* from the mount store; what the backing store has shows again.

        Raises:
            KeyNotFound: the mount store has no such key.
            VersionConflict: it has another version there, and was not deleted.
        """
        name = self._name_on_top(checked_key(key))
        if expect is not None:
            name, expect = self._prepare(key, expect)
        with speaking_of(key, self.mount_store):
            version = self._top().delete(name, **condition(expect))
        if self._filling is not None:
            self.filling.own.end(key)
        return version

    def transaction(self, notes: str = "") -> contextlib.AbstractContextManager[Any]:
        """Return a transaction of the mount store."""
        return self._top().transaction(notes)

    def push(self, key: str) -> None:
        """Move *key* from the mount store to the backing store.

        It is set there before it is deleted here, so what interrupts it loses
        nothing: at worst both have the key, and it can be pushed again.  What is
        written to the mount store meanwhile stays there.

        Raises:
            KeyNotFound: the mount store has no such key.
            VersionConflict: with ``fill``, the backing store has changed the
                key since the user's write began; both values stay where they are.
            TransactionError: the mount store has a transaction open, whose
                rollback would not take back what the backing store got.
            StoreError: the backing store could not be written; the mount store
                still has the key.  With ``fill``, after ``StoreUnavailable``
                the value may have arrived, also if somebody has changed it
                since: the next push, or the next ``connect``, finds out.
        """
        name = self._name_on_top(checked_key(key))
        if self._filling is not None:
            self.filling.push(key)
            return
        if getattr(self.mount_store, "in_transaction", False):
            raise in_transaction_error(key, self.backing_store)
        with speaking_of(key, self.mount_store):
            value = self.mount_store.get(name)
        with closing_value(value):
            writable(self.backing_store).set(key, value)
        pushed = version_of(value) if honours_expect(self.mount_store) else None
        # Conflict: the user wrote the key again while we pushed, and that stays.
        with contextlib.suppress(VersionConflict):
            self._top().delete(name, **condition(pushed))


def _check_stores(mount_store: object, backing_store: object, fill: bool) -> None:
    for name, store in (("mount_store", mount_store), ("backing_store", backing_store)):
        if not hasattr(store, "is_connected"):
            given = mask_url(store) if isinstance(store, str) else store
            raise InvalidValue(
                f"{name} is {given!r:.200}, which is no store; open_store(url) makes one"
            )
        if fill and getattr(store, "_filling", None) is not None:
            raise InvalidValue(
                f"cannot fill over {store!r}, which is a cache itself (fill=True):"
                " give the store behind it as backing store"
            )
    if fill and mount_store is backing_store:
        raise InvalidValue(
            f"{mount_store!r} cannot hold the cache of its own source; give it another store,"
            " such as open_store('memory:')"
        )
