"""What a store hands out, and takes in: data and metadata of one key."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO

from antiphon.errors import AuthorizationError, InvalidValue
from antiphon.storage.checks import checked_select
from antiphon.storage.journal import Version
from antiphon.storage.utils import BUFFER_BYTES, Readable, buffer_iterator

if TYPE_CHECKING:
    from antiphon.storage.freshness_modes import FreshnessReport


class Value:
    """The data and metadata of one key, read only when asked for.

    Unpacks as the tuple ``(data, metadata)`` with a ``DeprecationWarning``, for
    programs of Encore's first days.

    Attributes:
        size: bytes of data; None if unknown.
        created: when the key was created, in seconds since the Unix epoch, UTC.
        modified: when it was last changed, likewise.
        version: version of the key, where the store has versions.
        freshness: of what was read through a cache: how fresh it is, and how
            that is known; else None.
    """

    size: int | None = None
    created: float | None = None
    modified: float | None = None
    version: Version | None = None
    freshness: FreshnessReport | None = None

    @property
    def data(self) -> BinaryIO:
        """The stream of the bytes: one and the same at every access."""
        raise NotImplementedError

    @property
    def metadata(self) -> dict[str, Any]:
        """The metadata; a copy that belongs to the caller."""
        raise NotImplementedError

    @property
    def permissions(self) -> dict[str, set[str]]:
        """The permissions of the key, for its owners.

        Raises:
            AuthorizationError: the user does not own the key.
        """
        raise AuthorizationError("the user does not own the key, and may not see its permissions")

    def range(self, start: int | None = None, end: int | None = None) -> BinaryIO:
        """Return a new stream of ``data[start:end]``, counted as in Python slices."""
        raise NotImplementedError

    def iterdata(
        self, buffer_size: int = BUFFER_BYTES, progress: Callable[..., object] | None = None
    ) -> Iterator[bytes]:
        """Yield the data in pieces of up to *buffer_size* bytes; see ``buffer_iterator``."""
        return buffer_iterator(self.data, buffer_size, progress)

    def __repr__(self) -> str:
        size = "size unknown" if self.size is None else f"{self.size} bytes"
        version = "" if self.version is None else f", version {self.version}"
        return f"<{type(self).__name__} of {size}{version}>"

    def __enter__(self) -> BinaryIO:
        return self.data

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.data.close()

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> Any:
        if index not in (0, 1):
            raise IndexError(index)
        warnings.warn(
            "a value is no tuple any more: use its attributes data and metadata",
            DeprecationWarning,
            stacklevel=2,
        )
        return self.data if index == 0 else self.metadata


def split_value(value: Any) -> tuple[Readable, Mapping[str, Any]]:
    """Return data and metadata of a ``Value``, of one's like, or of a 2-tuple."""
    if isinstance(value, tuple):
        if len(value) == 2:
            return value
    elif hasattr(value, "data") and hasattr(value, "metadata"):
        return value.data, value.metadata
    raise InvalidValue(
        f"cannot store {value!r:.80}: a value has data and metadata, as StringValue(b'…', {{…}})"
        " has, or is the tuple (stream, metadata)"
    )


def metadata_of(value: Any) -> Mapping[str, Any]:
    """Return the metadata of what ``split_value`` takes; open no stream."""
    metadata = getattr(value, "metadata", None)
    return split_value(value)[1] if metadata is None else metadata


def select_from(metadata: Mapping[str, Any], select: Iterable[str] | None) -> dict[str, Any]:
    """Return the entries of *metadata* named in *select* (None: all), missing ones left out."""
    names = checked_select(select)
    if names is None:
        return dict(metadata)
    return {name: metadata[name] for name in names if name in metadata}
