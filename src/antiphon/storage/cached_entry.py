"""What a cache holds of one key, as its ledger hands it out."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any, BinaryIO

from antiphon.storage.journal import Version
from antiphon.storage.metadata import copied, decode


class CachedEntry:
    """An entry as the cache holds it; it never changes, so many readers may share it.

    Nothing is opened, copied or decoded before it is asked for: most reads of a
    cache want the bytes only.

    Args:
        source: the data, or for those that are not at hand ``open(start, end)``,
            which returns a stream over that part of them.
        size: bytes of the data.
        metadata: as ``normalise`` made them, or the text that ``encode`` made of them.
        created: seconds since the Unix epoch, or None if unknown.
        modified: likewise.
        version: version in the backing store; None if that store has none.
        checked: False if the entry is from before the last ``suspect()``: it is
            to be confirmed before it is served as fresh.  One without a version
            cannot be confirmed, only filled anew.

    Attributes:
        content: the data if they are at hand, else None.
    """

    __slots__ = (
        "_metadata",
        "_open",
        "checked",
        "content",
        "created",
        "modified",
        "size",
        "version",
    )

    def __init__(
        self,
        source: bytes | Callable[[int, int], BinaryIO],
        size: int,
        metadata: dict[str, Any] | str,
        created: float | None,
        modified: float | None,
        version: Version | None,
        checked: bool = True,
    ) -> None:
        self.content = source if isinstance(source, bytes) else None
        self._open = source
        self.size = size
        self._metadata = metadata
        self.created = created
        self.modified = modified
        self.version = version
        self.checked = checked

    def __repr__(self) -> str:
        return f"<CachedEntry of {self.size} bytes, version {self.version}>"

    @property
    def data(self) -> BinaryIO:
        """A new stream over all data, at the first byte."""
        return self.open(0, self.size)

    def open(self, start: int, end: int) -> BinaryIO:
        """Return a new stream over the bytes from *start* up to, not including, *end*."""
        source = self._open
        return BytesIO(source[start:end]) if isinstance(source, bytes) else source(start, end)

    @property
    def metadata(self) -> dict[str, Any]:
        """The metadata; a copy that belongs to the caller."""
        kept = self._metadata
        return decode(kept) if isinstance(kept, str) else copied(kept)
