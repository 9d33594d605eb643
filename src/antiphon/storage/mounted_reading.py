"""How a mounted store reads: the mount store first, then the cache, then the source."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, BinaryIO, TypeVar

from antiphon.errors import AuthorizationError, InvalidFreshness, InvalidValue, NotConnected
from antiphon.storage.abstract_store import AbstractStore
from antiphon.storage.checks import checked_key, checked_select
from antiphon.storage.filling_mount import FillingMount
from antiphon.storage.freshness_modes import Demand, demand_of
from antiphon.storage.journal import Position, Version
from antiphon.storage.layered_store import LayeredStore
from antiphon.storage.metadata import encode_conditions, matches
from antiphon.storage.quick_reads import QuickRead
from antiphon.storage.value import Value, select_from

_T = TypeVar("_T")

#: The metadata of keys of which nothing else is asked.
_NOTHING: dict[str, Any] = {}


class MountedReading(LayeredStore):
    """The reading half of ``MountedStore``."""

    mount_point: str
    mount_store: AbstractStore
    backing_store: AbstractStore
    _filling: FillingMount | None
    #: The quick way to a hit, while the store is connected and there is one.
    _quick: QuickRead | None = None

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

    # -- Reading -------------------------------------------------------------

    # With ``fill``, each of these takes what it needs beyond the cache's mode:
    # ``at_least``, a position, or the version that a write returned, of which
    # and of everything before it the value must tell; and ``max_age_s``, the
    # seconds that it may be behind (0: the head is asked for during the read).
    # What the cache cannot show in time is read from the backing store.

    def get(
        self,
        key: str,
        *,
        at_least: Position | Version | None = None,
        max_age_s: float | None = None,
    ) -> Value:
        """Return the value of *key*; with ``fill``, its ``freshness`` says what it is worth.

        Args:
            key: the key.
            at_least: with ``fill``, the value must hold every change up to this
                position: a ``Position``, or the ``Version`` that a write to the
                backing store returned, where that keeps one journal.  The read
                waits for the cache a quarter of a second at most, and then asks
                the backing store.
            max_age_s: with ``fill``, seconds by which it may be behind, in place
                of those of the mode; 0 asks the backing store during the read.

        Raises:
            KeyNotFound: neither store has it.
            StoreUnavailable: the backing store is needed and cannot be reached;
                at once, where another read has just found that out.
            InvalidFreshness: *at_least* is of another store, or one of the two
                makes no sense.
        """
        quick = self._quick
        if quick is not None and at_least is None is max_age_s:
            value = quick(key)
            if value is not None:
                return value
        demand = demand_of(at_least, max_age_s)
        filling = self._filling_of(checked_key(key), demand)
        if filling is not None:
            own = filling.own.value(key)
            return filling.get(key, demand) if own is None else own
        return self._read(key, lambda store, name: store.get(name))

    def get_data(
        self,
        key: str,
        *,
        at_least: Position | Version | None = None,
        max_age_s: float | None = None,
    ) -> BinaryIO:
        if self._filling is not None:
            return self.get(key, at_least=at_least, max_age_s=max_age_s).data
        self._filling_of(checked_key(key), demand_of(at_least, max_age_s))
        return self._read(key, lambda store, name: store.get_data(name))

    def get_data_range(
        self,
        key: str,
        start: int | None = None,
        end: int | None = None,
        *,
        at_least: Position | Version | None = None,
        max_age_s: float | None = None,
    ) -> BinaryIO:
        demand = demand_of(at_least, max_age_s)
        filling = self._filling_of(checked_key(key), demand)
        if filling is None:
            return self._read(key, lambda store, name: store.get_data_range(name, start, end))
        with contextlib.suppress(KeyError):
            return self.mount_store.get_data_range(self._short(key), start, end)
        # A range is served from the cache but fills nothing: who reads the
        # head of a large value should not have to wait for all of it.
        value = filling.cached(key, demand)
        if value is not None:
            return value.range(start, end)
        return filling.source(lambda: self.backing_store.get_data_range(key, start, end))

    def get_metadata(
        self,
        key: str,
        select: Iterable[str] | None = None,
        *,
        at_least: Position | Version | None = None,
        max_age_s: float | None = None,
    ) -> dict[str, Any]:
        quick = self._quick
        if quick is not None and at_least is None is max_age_s:
            value = quick(key)
            if value is not None:
                return _selected(value, select)
        names = checked_select(select)
        demand = demand_of(at_least, max_age_s)
        filling = self._filling_of(checked_key(key), demand)
        if filling is None:
            return self._read(key, lambda store, name: store.get_metadata(name, names))
        if self.mount_store.exists(self._short(key)):
            # It may be deleted in between; what the others have counts then.
            with contextlib.suppress(KeyError):
                return self.mount_store.get_metadata(self._short(key), names)
        value = filling.cached(key, demand)
        if value is not None:
            return _selected(value, names)
        return filling.source(lambda: self.backing_store.get_metadata(key, names))

    def exists(
        self,
        key: str,
        *,
        at_least: Position | Version | None = None,
        max_age_s: float | None = None,
    ) -> bool:
        demand = demand_of(at_least, max_age_s)
        if self._is_own(key):
            return True
        filling = self._filling_of(key, demand)
        if filling is None:
            return self.backing_store.exists(key)
        return filling.cached(key, demand) is not None or filling.source(
            lambda: self.backing_store.exists(key)
        )

    def _read(self, key: str, read: Callable[[AbstractStore, str], _T]) -> _T:
        """Read without a cache: the mount store, and then the backing store."""
        if key.startswith(self.mount_point):
            with contextlib.suppress(KeyError):
                return read(self.mount_store, self._short(key))
        return read(self.backing_store, key)

    def _filling_of(self, key: str, demand: Demand | None) -> FillingMount | None:
        """Return the cache that *key* would be in; None if there is none."""
        if self._filling is None:
            if demand is not None:
                raise InvalidFreshness(
                    f"{self!r} holds no cache (fill=True), so a read of it is never behind:"
                    " leave out at_least and max_age_s"
                )
            return None
        return self.filling if key.startswith(self.mount_point) else None

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

    def _short(self, key: str) -> str:
        return key[len(self.mount_point) :]


def _selected(value: Value, names: Iterable[str] | None) -> dict[str, Any]:
    return value.metadata if names is None else select_from(value.metadata, names)
