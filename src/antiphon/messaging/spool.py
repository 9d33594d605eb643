"""Events on disk, until the broker has confirmed them.

One ``write`` an event, so that what was appended survives the death of the
process at any point.  Events are numbered from 0 on, for the life of the
directory; a segment is named after its first one, and goes when its last is
confirmed.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from antiphon.errors import SpoolUnwritable
from antiphon.messaging.spool_directory import SpoolDirectory
from antiphon.messaging.spool_format import (
    SEGMENT_HEAD,
    DamagedRecord,
    SpoolAddress,
    TornRecord,
    address_record,
    event_record,
    read_record,
)
from antiphon.messaging.spool_reader import Reader

logger = logging.getLogger(__name__)

#: Bytes of a segment, unless the spool is small.
SEGMENT_BYTES = 8 * 1024 * 1024

#: Segments that a spool has at least when it is full, so that room comes in small steps.
_MIN_SEGMENTS = 8

_SUFFIX, _DAMAGED = ".events", ".damaged"


@dataclass(slots=True)
class Segment:
    """One file.

    Attributes:
        first: number of its first event.
        path: where it is.
        size: its bytes.
        is_damaged: whether some of it could not be read.
    """

    first: int
    path: Path
    size: int
    is_damaged: bool = False


class Spool:
    """The events of one bus on disk; used under the lock of its buffer.

    Args:
        path: directory; made if it is not there.
        system: of the bus.
        max_bytes: of all segments together.
        is_synced: whether each event is on the medium before ``append`` returns.

    Raises:
        SpoolInUse, SpoolUnusable: see ``SpoolDirectory``.

    Attributes:
        first: number of the oldest event that is not confirmed.
        end: number that the next event gets.
        bytes: of all segments.
        damaged: events that could not be read any more.
    """

    def __init__(
        self, path: str | os.PathLike[str], system: str, *, max_bytes: int, is_synced: bool = False
    ) -> None:
        self._directory = SpoolDirectory(path, system)
        self.path = self._directory.path
        self._max_bytes = max_bytes
        self._segment_bytes = min(SEGMENT_BYTES, max(max_bytes // _MIN_SEGMENTS, 4096))
        self._is_synced = is_synced
        self._segments: list[Segment] = []
        self._file: int | None = None  # of the last segment, once something was appended
        self._address: SpoolAddress | None = None  # that the last segment tells last
        self.bytes = self.damaged = 0
        try:
            self._find_segments()
        except OSError as exc:
            self._directory.close()
            raise self._unwritable("read", exc) from exc
        first = self._segments[0].first if self._segments else self._directory.confirmed
        self.end = max(self._end_of_last(), first)
        if self._segments and self._segments[-1].first == self.end:
            self._remove(self._segments.pop())
        self.first = min(max(self._directory.confirmed, first), self.end)
        self._reader = Reader(self.first)
        self.confirm(self.first)

    # -- Writing ---------------------------------------------------------------------

    def has_room(self, size: int) -> bool:
        """Return whether an event of *size* bytes keeps within the bound."""
        return self.bytes + size + 1024 <= self._max_bytes or self.first == self.end

    def append(self, address: SpoolAddress, envelope: bytes) -> None:
        """Write an event at the end.

        Raises:
            SpoolUnwritable: nothing was written.
        """
        record = event_record(envelope)
        try:
            if self._file is None or self._segments[-1].size >= self._segment_bytes:
                self._begin_segment(address, record)
            else:
                if address != self._address:
                    record = address_record(*address) + record
                self._write(self._file, record)
            if self._is_synced and self._file is not None:
                os.fdatasync(self._file)
        except OSError as exc:
            raise self._unwritable("written", exc) from exc
        self._address = address
        self.end += 1

    def _begin_segment(self, address: SpoolAddress, record: bytes) -> None:
        path = self.path / f"{self.end:020d}{_SUFFIX}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        number = os.open(path, flags, 0o600)
        segment = Segment(self.end, path, 0)
        self._segments.append(segment)
        try:
            self._write(number, SEGMENT_HEAD + address_record(*address) + record)
            if self._is_synced:
                self._directory.sync()
        except BaseException:
            self._segments.pop()
            self.bytes -= segment.size
            os.close(number)
            path.unlink()
            raise
        self._end_segment()
        self._file = number

    def _end_segment(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _write(self, number: int, data: bytes) -> None:
        segment = self._segments[-1]
        try:
            written = os.write(number, data)
            if written < len(data):  # the disk became full in the middle
                written += os.write(number, data[written:])
        except OSError:
            self._take_back(number, segment)
            raise
        segment.size += written
        self.bytes += written

    def _take_back(self, number: int, segment: Segment) -> None:
        try:
            os.ftruncate(number, segment.size)
        except OSError:
            # What is there of the record is torn; nothing may follow it.
            self._end_segment()

    # -- Reading back ------------------------------------------------------------------

    def mark(self) -> None:
        """Have ``read`` begin with the event that is appended next."""
        self._reader = Reader(self.end)
        if self._segments and self._file is not None:
            last = self._segments[-1]
            self._reader.place(last.path, self.end, last.size, self._address)

    def seek(self, number: int) -> None:
        """Have ``read`` begin with event *number*."""
        self._reader = Reader(number)

    def read(self, max_events: int, max_bytes: int) -> tuple[int, list[tuple[SpoolAddress, bytes]]]:
        """Return how many events are not there any more, and those that come after them.

        Args:
            max_events: at most so many.
            max_bytes: about so many bytes of events; one event at least.
        """
        skipped = 0
        while (number := self._reader.number) < self.end:
            segment, end = self._segment_of(number)
            try:
                items = self._reader.read(segment.path, segment.first, end, max_events, max_bytes)
            except (OSError, TornRecord, DamagedRecord) as exc:
                self._note_damage(segment, end - number, exc)
            else:
                if items:
                    return skipped, items
                # Its end, too early: what followed it was dropped, in an earlier life.
            if segment is self._segments[-1]:
                self._end_segment()
            skipped += end - number
            self.seek(end)
        return skipped, []

    def _segment_of(self, number: int) -> tuple[Segment, int]:
        ends = [segment.first for segment in self._segments[1:]] + [self.end]
        for segment, end in zip(self._segments, ends, strict=True):
            if number < end:
                return segment, end
        raise AssertionError(f"event {number} of {self.end} is in no segment")

    def _note_damage(self, segment: Segment, events: int, reason: Exception) -> None:
        segment.is_damaged = True
        self.damaged += events
        logger.error(
            "%d events in %s cannot be read and are not sent (%s); the file is set aside as %s%s",
            events,
            segment.path,
            reason,
            segment.path.stem,
            _DAMAGED,
        )

    # -- What is done with ---------------------------------------------------------------

    def confirm(self, number: int) -> None:
        """Take note that all events before *number* need not be kept."""
        self.first = number
        self._directory.confirmed = number
        while len(self._segments) > 1 and self._segments[1].first <= number:
            self._remove(self._segments.pop(0))
        if self._segments and self._file is None and number >= self.end:
            self._remove(self._segments.pop(0))

    def drop(self, number: int) -> int:
        """Give up the rest of the segment of event *number*; return the number that follows.

        No event from *number* on may have been given out.
        """
        segment, end = self._segment_of(number)
        if segment is self._segments[-1]:
            self._end_segment()
        if segment.first >= number:
            self._segments.remove(segment)
            self._remove(segment)
        self.seek(end)
        return end

    def close(self) -> None:
        """Give the directory back; what is not confirmed stays there.  Twice is fine."""
        if self._segments and self.first == self.end:
            for segment in self._segments:
                self._remove(segment)
        self.abandon()

    def abandon(self) -> None:
        """Let go of the files as they are: in a forked child they are the parent's."""
        self._end_segment()
        self._segments.clear()  # a late confirm must not touch what is another's by now
        self._directory.close()

    def _remove(self, segment: Segment) -> None:
        self.bytes -= segment.size
        with contextlib.suppress(
            OSError
        ):  # what stays is found at the next start, and is confirmed
            if segment.is_damaged:
                segment.path.rename(segment.path.with_suffix(_DAMAGED))
            else:
                segment.path.unlink()

    # -- Opening -------------------------------------------------------------------------

    def _find_segments(self) -> None:
        for path in sorted(self.path.glob(f"*{_SUFFIX}")):
            size = path.stat().st_size
            with path.open("rb") as file:
                head = file.read(len(SEGMENT_HEAD))
            if head != SEGMENT_HEAD or not path.stem.isdigit():
                if head != SEGMENT_HEAD[:size]:
                    logger.error("%s is no segment of a spool, and is set aside", path)
                    path.rename(path.with_suffix(_DAMAGED))
                else:  # the process died before it had written more
                    path.unlink()
                continue
            self._segments.append(Segment(int(path.stem), path, size))
            self.bytes += size

    def _end_of_last(self) -> int:
        if not self._segments:
            return 0
        segment = self._segments[-1]
        data = segment.path.read_bytes()
        number, offset = segment.first, len(SEGMENT_HEAD)
        try:
            while offset < len(data):
                record = read_record(data, offset)
                number += record.envelope is not None
                offset = record.end
        except TornRecord as exc:
            logger.info("%s ends in the middle: %s", segment.path, exc)
        except DamagedRecord as exc:
            logger.error(
                "%s is damaged from byte %d on (%s); a copy is set aside as %s%s",
                segment.path,
                offset,
                exc,
                segment.path.stem,
                _DAMAGED,
            )
            shutil.copyfile(segment.path, segment.path.with_suffix(_DAMAGED))
        if offset < len(data):
            os.truncate(segment.path, offset)
            self.bytes -= segment.size - offset
            segment.size = offset
        return number

    def _unwritable(self, what: str, exc: OSError) -> SpoolUnwritable:
        return SpoolUnwritable(
            exc.errno or 0,
            f"the spool {self.path} cannot be {what}: {exc.strerror or exc}; what it held is "
            "still there",
        )
