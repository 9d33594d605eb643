"""A store that mounts another one at a prefix of a backing store's keys."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, BinaryIO, TypeVar

from antiphon.errors import (
    AuthorizationError,
    InvalidValue,
    KeyNotFound,
    NotConnected,
    VersionConflict,
)
from antiphon.storage.abstract_store import AbstractStore
from antiphon.storage.checks import checked_key, checked_select
from antiphon.storage.conditions import condition, honours_expect
from antiphon.storage.filling_mount import CacheStats, FillingMount
from antiphon.storage.freshness import MAX_STALENESS_S
from antiphon.storage.journal import Journal, Version, version_of
from antiphon.storage.journals import journals_of, prefixed, united
from antiphon.storage.layered_store import LayeredStore, closing_value, writable
from antiphon.storage.metadata import encode_conditions, matches
from antiphon.storage.own_writes import in_transaction_error, speaking_of
from antiphon.storage.value import Value, select_from

_T = TypeVar("_T")

#: The metadata of keys of which nothing else is asked.
_NOTHING: dict[str, Any] = {}


class MountedStore(LayeredStore):
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
            must be one that can hold a cache: memory, sqlite or Redis.
        max_staleness_s: with *fill*, the seconds by which a read served from
            the cache may be behind the backing store, at the very most.

    It emits nothing itself: the events are those of the two stores.  With
    *fill*, ``delete``, ``push``, ``query`` and ``transaction`` still see only
    the user's own keys in the mount store, and ``push`` is conditional: it
    raises ``VersionConflict`` if the backing store has changed the key since.

    Raises:
        InvalidValue: *fill* over a store that fills already.
    """

    def __init__(
        self,
        mount_point: str,
        mount_store: AbstractStore,
        backing_store: AbstractStore,
        *,
        fill: bool = False,
        max_staleness_s: float = MAX_STALENESS_S,
    ) -> None:
        super().__init__()
        checked_key(mount_point)
        self._filling: FillingMount | None = None
        if fill:
            for store in (mount_store, backing_store):
                if getattr(store, "_filling", None) is not None:
                    raise InvalidValue(
                        f"cannot fill over {store!r}, which is a cache itself (fill=True):"
                        " give the store behind it as backing store"
                    )
            self._filling = FillingMount(
                mount_point, mount_store, backing_store, max_staleness_s=max_staleness_s
            )
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

    def info(self) -> dict[str, Any]:
        return {**super().info(), "readonly": bool(self.mount_store.info().get("readonly", False))}

    def disconnect(self) -> None:
        """Stop using the two stores; they were given, and stay connected."""
        super().disconnect()

    # -- The cache -----------------------------------------------------------

    @property
    def filling(self) -> FillingMount:
        """The cache of a store made with ``fill=True``; for whoever keeps it right.

        Raises:
            InvalidValue: it was made without.
        """
        if self._filling is None:
            raise InvalidValue(f"{self!r} holds no cache: make it with fill=True")
        if not self.is_connected():
            raise NotConnected(f"{self!r} is not connected; call connect() first")
        return self._filling

    def cache_stats(self) -> CacheStats:
        """Return what the readers of this process met in the cache so far."""
        return self.filling.stats()

    # -- Reading -------------------------------------------------------------

    def get(self, key: str) -> Value:
        return self._read(key, lambda store, name: store.get(name), lambda cache: cache.get(key))

    def get_data(self, key: str) -> BinaryIO:
        return self._read(
            key, lambda store, name: store.get_data(name), lambda cache: cache.get(key).data
        )

    def get_data_range(
        self, key: str, start: int | None = None, end: int | None = None
    ) -> BinaryIO:
        # A range is served from the cache but fills nothing: who reads the
        # head of a large value should not have to wait for all of it.
        return self._read(
            key,
            lambda store, name: store.get_data_range(name, start, end),
            lambda cache: _if_any(cache.cached(key), lambda value: value.range(start, end)),
        )

    def get_metadata(self, key: str, select: Iterable[str] | None = None) -> dict[str, Any]:
        names = checked_select(select)
        return self._read(
            key,
            lambda store, name: store.get_metadata(name, names),
            lambda cache: _if_any(
                cache.cached(key), lambda value: select_from(value.metadata, names)
            ),
        )

    def exists(self, key: str) -> bool:
        if self._is_own(key):
            return True
        if self._is_cached(key) and self.filling.cached(key) is not None:
            return True
        return self.backing_store.exists(key)

    def _read(
        self,
        key: str,
        read: Callable[[AbstractStore, str], _T],
        read_cache: Callable[[FillingMount], _T | None],
    ) -> _T:
        if checked_key(key).startswith(self.mount_point):
            with contextlib.suppress(KeyError):
                return read(self.mount_store, self._short(key))
            if self._filling is not None:
                cached = read_cache(self.filling)
                if cached is not None:
                    return cached
        return read(self.backing_store, key)

    def _is_cached(self, key: str) -> bool:
        return self._filling is not None and key.startswith(self.mount_point)

    def query(
        self, select: Iterable[str] | None = None, **kwargs: Any
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield ``(key, metadata)`` of the keys whose metadata match all of *kwargs*.

        A key that is written, pushed or deleted meanwhile is in it once all the
        same: so the mount store's keys that match are remembered.
        """
        names = checked_select(select)
        return self._merged(lambda store: store.query(names, **kwargs), names, kwargs)

    def query_keys(self, **kwargs: Any) -> Iterator[str]:
        def search(store: AbstractStore) -> Iterable[tuple[str, dict[str, Any]]]:
            return ((key, _NOTHING) for key in store.query_keys(**kwargs))

        return (key for key, _ in self._merged(search, (), kwargs))

    def _merged(
        self,
        search: Callable[[AbstractStore], Iterable[tuple[str, dict[str, Any]]]],
        names: Iterable[str] | None,
        conditions: Mapping[str, Any],
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        told: set[str] = set()
        for short, metadata in search(self.mount_store):
            told.add(short)
            yield self.mount_point + short, metadata
        # Only now: what was pushed meanwhile is there.
        for key, metadata in search(self.backing_store):
            if not self._is_own(key):
                if not key.startswith(self.mount_point) or self._short(key) not in told:
                    yield key, metadata
            elif self._short(key) not in told:
                # It hides the backing store's value, whether it matches or not;
                # but it may have come after the mount store was searched.
                now = self._own_if_match(key, conditions)
                if now is not None:
                    yield key, select_from(now, names)

    def _own_if_match(self, key: str, conditions: Mapping[str, Any]) -> dict[str, Any] | None:
        try:
            metadata = self.mount_store.get_metadata(self._short(key))
        except (KeyError, AuthorizationError):
            return None
        return metadata if matches(metadata, encode_conditions(conditions)) else None

    def _is_own(self, key: str) -> bool:
        own = checked_key(key).startswith(self.mount_point)
        return own and self.mount_store.exists(self._short(key))

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
                still has the key.
        """
        name = self._name_on_top(checked_key(key))
        if self._filling is not None:
            self.filling.own.push(key)
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

    def _short(self, key: str) -> str:
        return key[len(self.mount_point) :]


def _if_any(value: Value | None, read: Callable[[Value], _T]) -> _T | None:
    return None if value is None else read(value)
