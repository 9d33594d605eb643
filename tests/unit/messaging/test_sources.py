"""Finding the local object that an arriving event's source is."""

from __future__ import annotations

import gc
from uuid import UUID

from antiphon.messaging.sources import Sources
from antiphon.wire.source import RemoteSource

ONE, TWO = UUID(int=1), UUID(int=2)


class Store:
    """A source with an identity; equal to all others, as nothing forbids."""

    def __init__(self, store_id: object) -> None:
        self.store_id = store_id

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Store)

    __hash__ = None  # type: ignore[assignment]


def test_local_object() -> None:
    """A store that is open here is the source itself."""
    sources, store = Sources(), Store(ONE)
    sources.add(Store(TWO))
    sources.add(store)

    assert store is sources.resolve("Store", "o", ONE)


def test_remote_source() -> None:
    """One that is not open here is told by kind, origin and id."""
    assert RemoteSource("Store", "o", ONE) == Sources().resolve("Store", "o", ONE)


def test_removed() -> None:
    """A store that was closed is remote again; closing one twice is harmless."""
    sources, store = Sources(), Store(ONE)
    sources.add(store)

    sources.remove(store)
    sources.remove(store)

    assert RemoteSource("Store", None, ONE) == sources.resolve("Store", None, ONE)
    assert {} == sources._refs


def test_newest_of_several() -> None:
    """Of two objects on one store the newest is taken, then the other again."""
    sources, first, second = Sources(), Store(ONE), Store(ONE)
    sources.add(first)
    sources.add(second)

    assert second is sources.resolve("Store", None, ONE)
    sources.remove(second)
    assert first is sources.resolve("Store", None, ONE)


def test_held_weakly() -> None:
    """A store that nobody else holds is not kept alive."""
    sources = Sources()
    sources.add(Store(ONE))
    gc.collect()

    assert RemoteSource("Store", None, ONE) == sources.resolve("Store", None, ONE)


def test_without_identity() -> None:
    """What has no store id, or allows no weak references, is ignored."""
    sources = Sources()

    sources.add(object())
    sources.add(Store("text"))
    sources.add(RemoteSource("Store", None, ONE))
    sources.remove(object())

    assert {} == sources._refs
