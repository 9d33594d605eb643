"""What a row of a sqlite store says of itself, and the value made of it.

The *stamp* is one field with the version and the times of a row, so that a
``get`` reads three fields of one row.  A row has one if this package wrote all
of it: index columns are right, metadata are our text, data are bytes and all
there.  Rows that other programs wrote, and large values, have none (the
triggers see to that); what there is to know of them stands in ``T.versions``.
"""

from __future__ import annotations

import struct
from typing import Any

from antiphon.storage.journal import ENTRY_ID_BYTES, Version
from antiphon.storage.metadata import copied, decode
from antiphon.storage.stored_value import HeldValue

# Epoch, sequence and entry id of the version, then created and modified.
_STAMP = struct.Struct(f">QQ{ENTRY_ID_BYTES}sdd")


def stamp_of(version: Version, created: float, modified: float) -> bytes:
    """Return the stamp of a row; times in seconds since the Unix epoch, UTC."""
    return _STAMP.pack(*version, created, modified)


def read_stamp(stamp: bytes) -> tuple[Version, float, float]:
    """Return version, ``created`` and ``modified`` of what ``stamp_of`` made."""
    epoch, sequence, entry_id, created, modified = _STAMP.unpack(stamp)
    return Version(epoch, sequence, entry_id), created, modified


def as_seconds(moment: object) -> float:
    """Return a time that stands in a row; 0 for what is none."""
    if type(moment) is float:
        return moment
    return float(moment) if isinstance(moment, (int, float)) else 0.0


class StampedValue(HeldValue):
    """A value of a row that has a stamp; its text is read when it is asked for.

    Args:
        data: the data.
        text: the metadata, as ``encode`` wrote them.
        stamp: as ``stamp_of`` made it.
    """

    # In the class, so that making a value sets only what is known of it.
    _known: dict[str, Any] | None = None

    def __init__(self, data: bytes, text: str, stamp: bytes) -> None:
        self._data = data
        self._text = text
        self._stamp = stamp

    @property
    def created(self) -> float:  # type: ignore[override]
        """When the key was created, in seconds since the Unix epoch, UTC."""
        return read_stamp(self._stamp)[1]

    @property
    def modified(self) -> float:  # type: ignore[override]
        """When it was last changed, likewise."""
        return read_stamp(self._stamp)[2]

    @property
    def version(self) -> Version:  # type: ignore[override]
        """The version of the key."""
        return read_stamp(self._stamp)[0]

    @property
    def metadata(self) -> dict[str, Any]:
        """A copy of the metadata."""
        known = self._known
        if known is None:
            # Most ask once: what was just decoded is as good as a copy.
            self._known = {}
            return decode(self._text)
        if not known:
            known = self._known = decode(self._text)
        return copied(known)
