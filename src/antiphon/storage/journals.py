"""Which journals tell of the changes of a store, whatever it wraps."""

from __future__ import annotations

from antiphon.storage.journal import Journal


def journals_of(store: object) -> tuple[Journal, ...] | None:
    """Return the journals that together tell of every change of *store*.

    Usually that is the store itself.  A store that wraps others says it with a
    method ``journals()``: a joined store has those of all its stores.  A store
    that comes twice is in the result once.

    Args:
        store: a store, connected.

    Returns:
        The journals, of different ``store_id``; None if some change of *store*
        is in no journal, so that nobody can ask what was missed.
    """
    tell = getattr(store, "journals", None)
    if tell is not None:
        found: tuple[Journal, ...] | None = tell()
        return found
    if isinstance(store, Journal) and store.store_id is not None:
        return (store,)
    return None
