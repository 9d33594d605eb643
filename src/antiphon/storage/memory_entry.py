"""One key of a memory store, and the value that is handed out of it."""

from __future__ import annotations

from typing import Any, NamedTuple

from antiphon.storage.journal import Version
from antiphon.storage.metadata import copied, is_flat
from antiphon.storage.stored_value import HeldValue


class Entry(NamedTuple):
    """One key at one version; replaced, never changed.

    Attributes:
        data: the data.
        metadata: the metadata, which nobody else has.
        is_flat: whether nothing in them can be changed, so that ``dict`` copies them.
        created, modified: seconds since the Unix epoch, UTC.
        version: the journal entry that last changed the key.
    """

    data: bytes
    metadata: dict[str, Any]
    is_flat: bool
    created: float
    modified: float
    version: Version

    @classmethod
    def of(
        cls,
        data: bytes,
        metadata: dict[str, Any],
        created: float,
        modified: float,
        version: Version,
    ) -> Entry:
        """Return the entry of what is now the store's own."""
        return cls(data, metadata, is_flat(metadata), created, modified, version)

    def copy_metadata(self) -> dict[str, Any]:
        """Return a deep copy of the metadata."""
        return dict(self.metadata) if self.is_flat else copied(self.metadata)


class EntryValue(HeldValue):
    """A value of an entry; making one costs little, and what is asked for is looked up then.

    Args:
        entry: the entry.
    """

    def __init__(self, entry: Entry) -> None:
        self._entry = entry
        self._data = entry[0]

    @property
    def created(self) -> float:  # type: ignore[override]
        """When the key was created, in seconds since the Unix epoch, UTC."""
        return self._entry.created

    @property
    def modified(self) -> float:  # type: ignore[override]
        """When it was last changed, likewise."""
        return self._entry.modified

    @property
    def version(self) -> Version:  # type: ignore[override]
        """The version of the key."""
        return self._entry.version

    @property
    def metadata(self) -> dict[str, Any]:
        """A copy of the metadata."""
        _, metadata, flat, _, _, _ = self._entry
        return dict(metadata) if flat else copied(metadata)
