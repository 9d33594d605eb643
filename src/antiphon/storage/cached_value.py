"""A value as a cache serves it."""

from __future__ import annotations

from io import BytesIO
from typing import Any, BinaryIO

from antiphon.storage.cached_entry import CachedEntry
from antiphon.storage.freshness_modes import FreshnessReport
from antiphon.storage.freshness_questions import Question, report_of
from antiphon.storage.value import Value


class CachedValue(Value):
    """A value served from the cache; ``version`` is that of the backing store.

    Args:
        entry: what the ledger holds.
        shown: the question whose answer says how fresh it is.
        at: when it was served, on the reader's own clock.
    """

    # In the class, so that making a value sets only what is known of it.
    _stream: BinaryIO | None = None

    def __init__(self, entry: CachedEntry, shown: Question, at: float) -> None:
        self._entry = entry
        self._shown = shown
        self._at = at

    @property
    def data(self) -> BinaryIO:
        """The stream of the bytes: one and the same at every access."""
        stream = self._stream
        if stream is None:
            content = self._entry.content
            stream = self._stream = self._entry.data if content is None else BytesIO(content)
        return stream

    @property
    def metadata(self) -> dict[str, Any]:
        """The metadata; a copy that belongs to the caller."""
        return self._entry.metadata

    @property
    def size(self) -> int:  # type: ignore[override]
        """Bytes of data."""
        return self._entry.size

    @property
    def created(self) -> float | None:  # type: ignore[override]
        """When the key was created, in seconds since the Unix epoch; None if unknown."""
        return self._entry.created

    @property
    def modified(self) -> float | None:  # type: ignore[override]
        """When it was last changed, likewise."""
        return self._entry.modified

    @property
    def version(self) -> Any:  # type: ignore[override]
        """The version of the key in the backing store; None if that has none."""
        return self._entry.version

    @property
    def freshness(self) -> FreshnessReport:  # type: ignore[override]
        """How fresh the value was when it was served, and how that is known."""
        return report_of(self._shown, self._at)

    def range(self, start: int | None = None, end: int | None = None) -> BinaryIO:
        """Return a new stream of ``data[start:end]``, counted as in Python slices."""
        first, after, _ = slice(start, end).indices(self._entry.size)
        return self._entry.open(first, max(first, after))


class UnsureValue(CachedValue):
    """A value that could not be shown to be fresh, and is served all the same.

    Args:
        why: why it could not.
    """

    def __init__(self, entry: CachedEntry, shown: Question, at: float, why: str) -> None:
        super().__init__(entry, shown, at)
        self._why = why

    @property
    def freshness(self) -> FreshnessReport:  # type: ignore[override]
        """What is known of how fresh the value was when it was served."""
        return report_of(self._shown, self._at, doubt=self._why)
