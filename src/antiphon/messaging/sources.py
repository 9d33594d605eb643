"""Which object of this process an arriving event's source is."""

from __future__ import annotations

import threading
import weakref
from uuid import UUID

from antiphon.wire.source import RemoteSource


class Sources:
    """The stores that are open on a bus, found by their ``store_id``; held weakly."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._refs: dict[UUID, list[weakref.ref[object]]] = {}

    def add(self, source: object) -> None:
        """Let events of *source*'s store, from any process, have it as their source.

        A source without ``store_id``, or that allows no weak references, is ignored.
        Of several objects with one id the newest is used.
        """
        store_id = getattr(source, "store_id", None)
        if not isinstance(store_id, UUID):
            return
        try:
            ref = weakref.ref(source)
        except TypeError:
            return
        with self._lock:
            # A new list each time: resolve() reads without the lock.
            kept = [
                one
                for one in self._refs.get(store_id, [])
                if (held := one()) is not None and held is not source
            ]
            self._refs[store_id] = [*kept, ref]

    def remove(self, source: object) -> None:
        """Forget *source*; one that was never added is no error."""
        with self._lock:
            for store_id, refs in tuple(self._refs.items()):
                kept = [one for one in refs if (held := one()) is not None and held is not source]
                if kept:
                    self._refs[store_id] = kept
                else:
                    del self._refs[store_id]

    def resolve(self, kind: str, origin: str | None, store_id: UUID | None) -> object:
        """Return the local object with *store_id*, else a ``RemoteSource`` of the three."""
        if store_id is not None and (refs := self._refs.get(store_id)) is not None:
            for ref in reversed(refs):
                if (source := ref()) is not None:
                    return source
        return RemoteSource(kind, origin, store_id)
