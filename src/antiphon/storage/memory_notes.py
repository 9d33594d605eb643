"""The last invalidations of keys and prefixes, in memory (rule 3 of ``storage/ledger.py``).

They are bounded by time and by number, and small: one of a key of 20 characters
takes 200 bytes (``benchmarks/caches/ledgers.py``), most of them the key and the dictionary.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

from antiphon.storage.journal import Version
from antiphon.storage.ledger import NOTE_TTL_S, NOTES_KEPT, PREFIX_NOTES_KEPT

#: Notes between two looks for those that have outlived their time.
_SWEEP_EVERY = 1024

#: Seconds for which notes of one time share the number that says until when.
_TICK_S = 1.0

# Epoch and sequence of the invalidation, and until when it is remembered.  Not
# a Version: its id decides nothing here, and takes room.
_Note = tuple[int, int, float]


class Notes:
    """The last invalidation of each name, the newest *kept* of them, for ``NOTE_TTL_S``.

    Not thread-safe: the ledger's lock is held around each call.

    Args:
        clock: seconds that never go back.
        kept: names that are remembered; up to a tenth more may be for a while.
    """

    def __init__(self, clock: Callable[[], float], kept: int = NOTES_KEPT) -> None:
        self._clock = clock
        self._kept = kept
        self._trim_above = kept + kept // 10
        # In the order of their time, for a note that is renewed goes to the end.
        self._notes: dict[str, _Note] = {}
        self._until = float("-inf")
        self._until_sweep = _SWEEP_EVERY

    def __len__(self) -> int:
        return len(self._notes)

    def add(self, name: str, version: Version | None) -> None:
        """Note an invalidation; one of an unknown version renews what is known."""
        notes = self._notes
        old = notes.pop(name, None)
        if version is not None and (old is None or old[:2] < version[:2]):
            notes[name] = (version[0], version[1], self._next_until())
        elif old is not None:
            notes[name] = (old[0], old[1], self._next_until())
        self._until_sweep -= 1
        if self._until_sweep <= 0 or len(notes) > self._trim_above:
            self._sweep()

    def _next_until(self) -> float:
        until = self._clock() + NOTE_TTL_S
        if until - self._until >= _TICK_S:
            self._until = until
        # Up to a tick too early, and one number for all notes of that tick.
        return self._until

    def _sweep(self) -> None:
        self._until_sweep = _SWEEP_EVERY
        notes = self._notes
        too_many = max(0, len(notes) - self._kept) if len(notes) > self._trim_above else 0
        now = self._clock()
        oldest = next(iter(notes.values()), None)
        # Making the dictionary anew for a few of them would take longer than they are worth.
        if too_many or (oldest is not None and oldest[2] + NOTE_TTL_S / 10 <= now):
            newest = islice(notes.items(), too_many, None)
            self._notes = {name: note for name, note in newest if note[2] > now}

    def clear(self) -> None:
        """Forget all of them."""
        self._notes.clear()

    def of(self, name: str) -> Version | None:
        """Return what is noted of *name* itself; its id is left out."""
        note = self._notes.get(name)
        return None if note is None else Version(note[0], note[1], b"")


class PrefixNotes(Notes):
    """Notes of prefixes, found by what begins with them."""

    def __init__(self, clock: Callable[[], float], kept: int = PREFIX_NOTES_KEPT) -> None:
        super().__init__(clock, kept)
        self._lengths: frozenset[int] = frozenset()

    def add(self, name: str, version: Version | None) -> None:
        """Note an invalidation of all keys that begin with *name*."""
        super().add(name, version)
        self._lengths = frozenset(map(len, self._notes))

    def of_key(self, key: str) -> Version | None:
        """Return the latest version noted of a prefix of *key*."""
        found: _Note | None = None
        for length in self._lengths:
            note = self._notes.get(key[:length]) if length <= len(key) else None
            if note is not None and (found is None or found[:2] < note[:2]):
                found = note
        return None if found is None else Version(found[0], found[1], b"")
