"""Sources that can be read once more: for writes that have to be tried again."""

from __future__ import annotations

import tempfile
from types import TracebackType
from typing import Any, Self

from antiphon.storage.changes import STAGE_ABOVE_BYTES
from antiphon.storage.utils import Readable


class Replayable:
    """A user's stream, which ``again()`` returns from its beginning each time.

    One that can seek is rewound to where it stood.  What is read of any other is
    kept: in memory up to 1 MiB, in a temporary file above.

    Args:
        source: the stream; it is not closed.
    """

    def __init__(self, source: Any) -> None:
        self._source = source
        self._start = _place_of(source)
        self._kept: Any = None
        self._used = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        exc_traceback: TracebackType | None,
    ) -> None:
        if self._kept is not None:
            self._kept.close()

    def again(self) -> Readable:
        """Return a stream over all that *source* has given and will give."""
        if not hasattr(self._source, "read"):
            return self._source  # type: ignore[no-any-return]  # the store refuses it
        if self._start is not None:
            if self._used:
                self._source.seek(self._start)
            self._used = True
            return self._source  # type: ignore[no-any-return]
        if self._kept is None:
            self._kept = tempfile.SpooledTemporaryFile(max_size=STAGE_ABOVE_BYTES)  # noqa: SIM115
        return _Replay(self._source, self._kept)


class _Replay:
    """Reads what was kept, then the source, which it keeps."""

    def __init__(self, source: Any, kept: Any) -> None:
        self._source = source
        self._kept = kept
        self._at = 0

    def read(self, size: int = -1, /) -> bytes:
        self._kept.seek(self._at)
        piece: bytes = self._kept.read(size)
        if not piece or size < 0:
            more = self._source.read(size)
            if not isinstance(more, bytes):
                return more  # type: ignore[no-any-return]  # the store refuses it
            self._kept.write(more)
            piece += more
        self._at += len(piece)
        return piece


def _place_of(source: Any) -> int | None:
    """Return where *source* stands; None if it cannot be taken back there."""
    try:
        return int(source.tell()) if source.seekable() else None
    except (AttributeError, OSError, ValueError, TypeError):
        return None
