"""What all parts of the suite start from: values, versions and the second handle."""

from __future__ import annotations

import io
from typing import Any
from uuid import UUID

import pytest

from antiphon.storage.journal import Position, Version
from antiphon.storage.ledger import CachedEntry, CacheLedger, Fill

#: The store whose changes are applied.
STORE_ID = UUID(int=7)

#: Another one.
OTHER_STORE_ID = UUID(int=8)


def version(sequence: int, epoch: int = 1, history: int = 0) -> Version:
    """Return a version whose entry id is made from its numbers and that of a history."""
    entry_id = sequence.to_bytes(4, "big") + epoch.to_bytes(3, "big") + bytes([history])
    return Version(epoch, sequence, entry_id)


def position(sequence: int, epoch: int = 1, store_id: UUID = STORE_ID) -> Position:
    """Return the position of a store whose entry id is made from its numbers."""
    return Position(store_id, *version(sequence, epoch))


def value(data: bytes = b"data", sequence: int | None = 1, **metadata: Any) -> Fill:
    """Return a value as a backing store would give it."""
    return fill_of(data, None if sequence is None else version(sequence), **metadata)


def fill_of(data: bytes, at: Version | None, **metadata: Any) -> Fill:
    """Return a value of any version."""
    return Fill(io.BytesIO(data), metadata, 1.0, 2.0, at)


def read(entry: CachedEntry | None) -> bytes | None:
    """Return the bytes of *entry*, or None."""
    if entry is None:
        return None
    with entry.data as stream:
        return stream.read()


def found(ledger: CacheLedger, key: str) -> tuple[bytes, bool] | None:
    """Return the bytes of the entry of *key* and whether it is checked; None if there is none."""
    entry = ledger.lookup(key).entry
    data = read(entry)
    return None if entry is None or data is None else (data, entry.checked)


class LedgerParts:
    """Fixtures of all parts."""

    @pytest.fixture
    def other(self, ledger: CacheLedger) -> CacheLedger:
        """A second handle on the same medium."""
        return ledger
