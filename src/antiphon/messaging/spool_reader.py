"""Reading events back from the segments of a spool."""

from __future__ import annotations

from pathlib import Path

from antiphon.messaging.spool_format import (
    MAX_CONTENT_BYTES,
    SEGMENT_HEAD,
    DamagedRecord,
    SpoolAddress,
    TornRecord,
    read_record,
)

#: Bytes that are read from disk at once.
CHUNK_BYTES = 1024 * 1024


class Reader:
    """A place in the spool, which moves on as it is read.

    Args:
        number: of the event that it is before.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self._path: Path | None = None
        self._offset = 0  # of what comes next
        self._next = 0  # number of the event that comes next there
        self._address: SpoolAddress | None = None  # that was told last there

    def place(self, path: Path, number: int, offset: int, address: SpoolAddress | None) -> None:
        """Be in the segment *path* before event *number*, which is at *offset*."""
        self._path, self._next, self._offset, self._address = path, number, offset, address

    def read(
        self, path: Path, first: int, end: int, max_events: int, max_bytes: int
    ) -> list[tuple[SpoolAddress, bytes]]:
        """Return the next events of the segment *path*; none if it ends here, cleanly.

        Args:
            path: of the segment that holds event ``number``.
            first: number of its first event.
            end: number of the event after its last.
            max_events: at most so many.
            max_bytes: about so many bytes of them; one event at least.

        Raises:
            TornRecord, DamagedRecord: what comes next cannot be read.
            OSError: the file cannot be.
        """
        if self._path != path:
            self.place(path, first, len(SEGMENT_HEAD), None)
        items: list[tuple[SpoolAddress, bytes]] = []
        size = 0
        data, at = self._chunk(path, CHUNK_BYTES), 0
        while self._next < end and len(items) < max_events and size < max_bytes and data:
            try:
                record = read_record(data, at)
            except TornRecord:
                if items:
                    break
                data, at = self._chunk(path, MAX_CONTENT_BYTES + CHUNK_BYTES), 0
                if not data:
                    break
                record = read_record(data, at)
            except DamagedRecord:
                if items:
                    break  # the next call tells
                raise
            self._offset += record.end - at
            at = record.end
            if record.address is not None:
                self._address = record.address
            elif self._take(record.envelope, items):
                size += len(items[-1][1])
        return items

    def _take(self, envelope: bytes | None, items: list[tuple[SpoolAddress, bytes]]) -> bool:
        if self._address is None or envelope is None:
            raise DamagedRecord("an event without an address before it")
        self._next += 1
        if self._next <= self.number:
            return False  # confirmed already
        self.number += 1
        items.append((self._address, envelope))
        return True

    def _chunk(self, path: Path, length: int) -> bytes:
        with path.open("rb", buffering=0) as file:
            file.seek(self._offset)
            return file.read(length)
