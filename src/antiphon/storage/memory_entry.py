"""One key of a memory store, and the value that is handed out of it."""

from __future__ import annotations

from typing import Any

from antiphon.storage.journal import Version
from antiphon.storage.metadata import copied, is_flat
from antiphon.storage.stored_value import HeldValue

#: One key at one version; replaced, never changed: data, metadata, whether these
#: are flat (nothing in them can be changed, so that ``dict`` copies them),
#: created, modified, version.  A plain tuple, which Python makes and takes apart
#: several times as fast as a named one.
Entry = tuple[bytes, dict[str, Any], bool, float, float, Version]


def entry_of(
    data: bytes, metadata: dict[str, Any], created: float, modified: float, version: Version
) -> Entry:
    """Return the entry of what is the store's own from now on."""
    return data, metadata, is_flat(metadata), created, modified, version


def metadata_of(entry: Entry) -> dict[str, Any]:
    """Return a deep copy of the metadata."""
    return dict(entry[1]) if entry[2] else copied(entry[1])


class EntryValue(HeldValue):
    """A value of an entry; what is asked for is looked up then.

    Args:
        entry: the entry.
    """

    def __init__(self, entry: Entry) -> None:
        self._entry = entry
        self._data = entry[0]

    @property
    def created(self) -> float:  # type: ignore[override]
        """When the key was created, in seconds since the Unix epoch, UTC."""
        return self._entry[3]

    @property
    def modified(self) -> float:  # type: ignore[override]
        """When it was last changed, likewise."""
        return self._entry[4]

    @property
    def version(self) -> Version:  # type: ignore[override]
        """The version of the key."""
        return self._entry[5]

    @property
    def metadata(self) -> dict[str, Any]:
        """A copy of the metadata."""
        _, metadata, flat, _, _, _ = self._entry
        return dict(metadata) if flat else copied(metadata)
