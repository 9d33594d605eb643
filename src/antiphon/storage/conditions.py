"""Whether the conditions of writes, ``expect=``, hold in a store."""

from __future__ import annotations

from typing import Any

from antiphon.errors import StoreError
from antiphon.storage.journal import Version


def honours_expect(store: object) -> bool:
    """Return whether writes to *store* may be conditional.

    A store says so itself by an attribute of this name; else those with a
    journal have versions.  Ask when it is connected: some know only then.
    """
    own = getattr(store, "honours_expect", None)
    if isinstance(own, bool):
        return own
    # As ``isinstance(store, Journal)`` asks, which takes ten times as long.
    return getattr(store, "store_id", None) is not None and hasattr(store, "since")


def condition(expect: Version | None) -> dict[str, Any]:
    """Return *expect* as keyword argument; none at all for None.

    Stores that were written for Encore know no such argument.
    """
    return {} if expect is None else {"expect": expect}


def check_honours(store: object, expect: Version | None) -> None:
    """Raise ``StoreError`` if *expect* is a condition and *store* takes none."""
    if expect is not None and not honours_expect(store):
        raise StoreError(
            f"{store!r} has no versions, so no write to it can be conditional; leave out expect="
        )
