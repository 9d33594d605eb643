"""Pushing the user's own keys to the source, also when the process dies meanwhile.

A push takes several steps, and the process may die between any two of them:

1. a note is written: which version of the user's value goes, what the source
   is to have, and the random id that the entry in its journal will have;
2. the value is set at the source, if that still has the base;
3. the cached entry is dropped and the user's value deleted, if it still is the
   one that was sent; else it begins from what has arrived;
4. the note is removed.

Who finds a note looks for the id at the source: at the key, or in the journal
if somebody has changed the key since.  If it is there, steps 3 and 4 are done;
if not, nothing has happened, and the user's value stays as it was.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import time
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from antiphon.errors import (
    KeyNotFound,
    PositionLost,
    StoreError,
    StoreUnavailable,
    TransactionError,
    VersionConflict,
)
from antiphon.storage.abstract_store import AbstractStore
from antiphon.storage.conditions import condition
from antiphon.storage.journal import (
    Journal,
    PledgedVersion,
    Position,
    Version,
    new_entry_id,
    version_of,
)
from antiphon.storage.layered_store import closing_value
from antiphon.storage.metadata import encode
from antiphon.storage.own_writes import OwnWrites
from antiphon.storage.push_note import PushNote, Try
from antiphon.storage.utils import BUFFER_BYTES, BufferIteratorIO, buffer_iterator
from antiphon.storage.value import Value

logger = logging.getLogger(__name__)

#: Seconds for which the note of a push that has not arrived is kept: it may be
#: another process's, at work just now, or be on its way still.
PUSH_NOTE_S = 600.0

#: How often a push begins anew when it finds that an earlier one had arrived.
_ROUNDS = 10


class _Arrival(NamedTuple):
    """A try that arrived at the source, where it made *version*."""

    tried: Try
    version: Version | None


class Pushing:
    """Moves own keys of one cache to its backing store.

    Args:
        own: the own keys.
    """

    def __init__(self, own: OwnWrites) -> None:
        self._own = own

    def recover(self) -> None:
        """Finish the pushes that arrived and were cut off; forget those that did not.

        Where the source cannot be reached that is left to the next time.
        """
        own = self._own
        try:
            for key in [key for key in own.ledger.pushes() if key.startswith(own.mount_point)]:
                with own.being_pushed(key):
                    self._settle(key)
        except StoreError as exc:
            logger.warning("pushes that were cut off are not settled yet: %s", exc)

    def push(self, key: str) -> None:
        """Move the user's own *key* to the backing store, if that still has its base.

        Raises:
            KeyNotFound: there is no such own key.
            VersionConflict: the backing store has another version; both stay.
            StoreUnavailable: whether it arrived is open: both may have it now,
                and the next push, or the next connect, finds out.
            TransactionError: a transaction is open.
        """
        own = self._own
        for store in (own.mount_store, own.backing_store):
            if getattr(store, "in_transaction", False):
                raise in_transaction_error(key, own.backing_store)
        with own.being_pushed(key):
            for _ in range(_ROUNDS):
                has_arrived, earlier = self._settle(key)
                if has_arrived and not own.mount_store.exists(own.short(key)):
                    return
                if self._is_pushed(key, earlier):
                    return
        raise StoreUnavailable(
            f"{key!r:.200} is written again as fast as it is pushed; the last value is not pushed"
        )

    def _is_pushed(self, key: str, earlier: PushNote | None) -> bool:
        """Push *key*; False if it has to begin anew: something happened to it meanwhile."""
        own = self._own
        with speaking_of(key, own.mount_store):
            value = own.mount_store.get(own.short(key))
        with closing_value(value):
            base, is_arrived = self._base(key)
            # Whoever finishes a push takes the value away, and then its base: so
            # the base is that of this value if the value is still there now.
            now = self._own_version(key)
            if now is None:
                return True  # another process has pushed it meanwhile
            if is_arrived or now != version_of(value):
                return False
            note = self._note(key, base, now, earlier)
            try:
                version = self._send(key, value, note)
            except StoreUnavailable:
                raise  # with the note left: it may have arrived
            except VersionConflict:
                return self._is_done_already(key, note)
            except Exception:
                self._forget(key, note)
                raise
        self._finish(key, note, _Arrival(note.tries[-1], version))
        return True

    def _base(self, key: str) -> tuple[Version | None, bool]:
        """Return what the source is to have; and whether that is a push of the key itself."""
        own = self._own
        base = own.ledger.base(key)
        if base is not None or not own.journals:
            return base, False
        # Written before there was a cache: whatever is there is replaced.
        base = own.source_version(key)
        note = own.push_note(key)
        is_own = note is not None and base is not None and note.tried(base.entry_id) is not None
        return base, is_own

    def _own_version(self, key: str) -> Version | None:
        """Return the version of the user's value; None if it is gone."""
        own = self._own
        try:
            value = own.mount_store.get(own.short(key))
        except KeyError:
            return None
        with closing_value(value):
            return version_of(value)

    def _note(
        self, key: str, base: Version | None, version: Version, earlier: PushNote | None
    ) -> PushNote:
        own = self._own
        heads = tuple(journal.head() for journal in own.journals)
        new = PushNote(base, (Try(new_entry_id(), version),), heads, time.time_ns())
        note = new.after(earlier)
        own.ledger.note_push(key, note.encode())
        return note

    def _send(self, key: str, value: Value, note: PushNote) -> Version | None:
        expect = note.base
        if expect is not None:
            expect = PledgedVersion.of(expect, note.tries[-1].entry_id)
        return self._own.backing_store.set(key, value, **condition(expect))

    def _is_done_already(self, key: str, note: PushNote) -> bool:
        """Take up a conflict: False if it is with an earlier push of ours, which is finished.

        Raises:
            VersionConflict: it is with a change by others.
        """
        own = self._own
        arrival = self._arrival(key, note)
        if arrival is not None:
            self._finish(key, note, arrival)
            return not own.mount_store.exists(own.short(key))
        self._forget(key, note)
        if not own.mount_store.exists(own.short(key)):
            return True  # another process has pushed it meanwhile
        raise VersionConflict(
            f"cannot push {key!r:.200}: {own.backing_store!r} has changed it since your write"
            " began; both values stay: read it there, then delete your value, or set it there"
        )

    # -- What has arrived ----------------------------------------------------

    def _settle(self, key: str) -> tuple[bool, PushNote | None]:
        """Finish an earlier push of *key* if it arrived.

        Returns:
            Whether it arrived; and its note, if it did not and may still.
        """
        note = self._own.push_note(key)
        if note is None:
            return False, None
        arrival = self._arrival(key, note)
        if arrival is not None:
            logger.info("the push of %r had arrived, and is finished now", key)
            self._finish(key, note, arrival)
            return True, None
        if abs(time.time_ns() - note.begun_ns) > PUSH_NOTE_S * 1e9:
            self._forget(key, note)
            return False, None
        return False, note

    def _arrival(self, key: str, note: PushNote) -> _Arrival | None:
        """Return which of the tries in *note* has arrived; None if none has, as far as is known."""
        try:
            value = self._own.backing_store.get(key)
        except KeyError:
            return self._arrival_in_journals(note)
        with closing_value(value):
            version = version_of(value)
            tried = None if version is None else note.tried(version.entry_id)
            if tried is not None:
                return _Arrival(tried, version)
            if version is not None and version == note.base:
                return None
            # The id does not go with the write through every store; the value does.
            if self._is_own_value(key, value, note):
                return _Arrival(note.tries[-1], version)
        return self._arrival_in_journals(note)

    def _arrival_in_journals(self, note: PushNote) -> _Arrival | None:
        """Look for a try that somebody has replaced since."""
        heads = {head.store_id: head for head in note.heads}
        for journal in self._own.journals:
            head = None if journal.store_id is None else heads.get(journal.store_id)
            arrival = None if head is None else _found_after(journal, head, note)
            if arrival is not None:
                return arrival
        return None

    def _is_own_value(self, key: str, value: Value, note: PushNote) -> bool:
        own = self._own
        try:
            mine = own.mount_store.get(own.short(key))
        except KeyError:
            return False
        return version_of(mine) == note.own and _are_equal(mine, value)

    # -- Ending --------------------------------------------------------------

    def _finish(self, key: str, note: PushNote, arrival: _Arrival) -> None:
        """Do what is to be done once a push has arrived; doing it twice is fine."""
        own = self._own
        # The cached entry is older than what was pushed.
        own.ledger.void(key, None)
        try:
            own.mount_store.delete(own.short(key), **condition(arrival.tried.own))
        except KeyError:
            own.end(key)
        except VersionConflict:
            if not own.mount_store.exists(own.short(key)):
                own.end(key)
            elif own.ledger.base(key) == note.base:
                # The user wrote the key again after that: it stays, and begins
                # from what has arrived, unless it began anew since.
                own.ledger.set_base(key, arrival.version)
        else:
            own.end(key)
        self._forget(key, note)

    def _forget(self, key: str, note: PushNote) -> None:
        # Not that of another process, which began meanwhile.
        if self._own.ledger.pushes().get(key) == note.encode():
            self._own.ledger.note_push(key, None)


def _found_after(journal: Journal, head: Position, note: PushNote) -> _Arrival | None:
    try:
        for entry in journal.since(head):
            tried = note.tried(entry.version.entry_id)
            if tried is not None:
                return _Arrival(tried, entry.version)
    except PositionLost as exc:
        logger.info("whether a push arrived the journal does not tell any more: %s", exc)
    return None


def in_transaction_error(key: str, backing_store: object) -> TransactionError:
    """Return the error of a push of *key* inside a transaction."""
    return TransactionError(
        f"cannot push {key!r:.200} inside a transaction: what is written to"
        f" {backing_store!r} would not be rolled back; push after it"
    )


@contextlib.contextmanager
def speaking_of(key: str, mount_store: AbstractStore) -> Iterator[None]:
    """Name the whole *key* in the error of one that the mount store has not."""
    # The mount store knows the end of the key only.
    try:
        yield
    except KeyError as exc:
        raise KeyNotFound(
            f"no key {key!r:.200} in the mount store {mount_store!r}; what only the backing"
            " store has can neither be deleted nor pushed"
        ) from exc


def _are_equal(one: Value, other: Value) -> bool:
    """Return whether two values have the same data and metadata."""
    with closing_value(one), closing_value(other):
        if one.size != other.size or encode(one.metadata) != encode(other.metadata):
            return False
        # In blocks of one length: a stream may give less than it is asked for.
        pieces = itertools.zip_longest(_blocks(one.data), _blocks(other.data))
        return all(mine == theirs for mine, theirs in pieces)


def _blocks(stream: BinaryIO) -> Iterator[bytes]:
    source = BufferIteratorIO(buffer_iterator(stream))
    return iter(lambda: source.read(BUFFER_BYTES), b"")
