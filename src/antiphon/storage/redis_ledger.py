"""Cache entries in Redis, right for all processes that share them.

Each method is one script call (``redis_scripts``), so the rules of
``storage/ledger.py`` hold between processes.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from antiphon.errors import InvalidValue, StoreError, StoreFull
from antiphon.storage import metadata as metadata_codec
from antiphon.storage.changes import Staged
from antiphon.storage.journal import Version
from antiphon.storage.ledger import (
    NOTE_TTL_S,
    NOTES_KEPT,
    PREFIX_NOTES_KEPT,
    RESERVATION_TTL_S,
    CachedEntry,
    Fill,
    Lookup,
    Reservation,
    Usage,
)
from antiphon.storage.redis_client import RedisClient
from antiphon.storage.redis_layout import CHUNK_BYTES, INLINE_BYTES, NO_GENERATION, Header, Layout
from antiphon.storage.redis_reading import pages
from antiphon.storage.redis_scripts import load_script
from antiphon.storage.redis_trust import PAGE, RedisTrust
from antiphon.storage.redis_values import Values
from antiphon.storage.redis_wire import pack_command

logger = logging.getLogger(__name__)

_READ_BYTES = 256 * 1024

#: The command for what an entry has, packed once; for a key's length and name.
_ASKING = pack_command("HMGET", "\0", "h", "m", "d", "c").replace(b"$1\r\n\0", b"$%d\r\n%b")

_RESERVE = load_script("reserve", "ledger")
_FILL = load_script("fill", "ledger")
_CONFIRM = load_script("confirm", "ledger")
_VOID = load_script("void", "ledger")
_VOID_PREFIX = load_script("void_prefix", "ledger")
_EVICT = load_script("evict", "ledger")


@dataclass(frozen=True, slots=True)
class _Taken:
    """A value that was read from its source: in memory, or staged if it is large."""

    data: bytes
    staged: Staged | None
    size: int


class RedisLedger(RedisTrust):
    """The cache ledger of one namespace.

    Args:
        client: the connections.
        layout: the names of the keys.
        values: where large values are staged.
    """

    def __init__(self, client: RedisClient, layout: Layout, values: Values) -> None:
        super().__init__(client, layout, values.grace_s)
        self._values = values
        self._asking_state = pack_command("HMGET", self._state, "beat", "doubt", "suspected")

    # -- Entries -------------------------------------------------------------

    def lookup(self, key: str) -> Lookup:
        """Return the cached entry of *key* and the present beat, in one round trip."""
        name = self._layout.cached(key)
        # The state comes first: an entry is then never older than what its beat vouches
        # for, and an answer between two is that of the moment of the first.
        (beat, doubt, suspected), stored = self._client.calls_packed(
            [self._asking_state, _ASKING % (len(name), name)]
        )
        entry = None
        if stored[0] is not None:
            checked = int(stored[3] or 0) >= int(suspected or 0)
            entry = self._entry(key, *stored[:3], checked=checked)
        return Lookup(entry, None if beat is None or doubt is not None else int(beat))

    def _entry(
        self, key: str, header_text: bytes, text: bytes, inline: bytes | None, *, checked: bool
    ) -> CachedEntry:
        header = Header.parse(header_text)
        return CachedEntry(
            # What is staged was given back without its data.
            (inline or b"")
            if header.generation == NO_GENERATION
            else self._values.opener(key, header, None),
            header.size,
            text.decode(),
            header.created,
            header.modified,
            header.version,
            checked,
        )

    def reserve(self, key: str) -> Reservation:
        """Note that a read of *key* from the backing store begins now."""
        reservation = Reservation(key, os.urandom(16))
        name = self._layout.reservation(reservation.token)
        try:
            self._client.run(_RESERVE, [self._state, name], [int(RESERVATION_TTL_S)])
        except StoreFull as exc:
            # Reading must go on: without the note in Redis the fill is not kept.
            logger.warning("nothing more is cached: %s", exc)
        return reservation

    def release(self, reservation: Reservation) -> None:
        """Give a reservation back unused."""
        self._client.call("UNLINK", self._layout.reservation(reservation.token))

    def fill(self, reservation: Reservation, value: Fill) -> CachedEntry | None:
        """Keep *value* if the rules and Redis' memory allow it, and return it as cached."""
        try:
            with value.data as stream:
                taken = self._take_in(stream)
            text = metadata_codec.encode(metadata_codec.normalise(value.metadata))
        except (StoreFull, InvalidValue) as exc:
            logger.warning("the value of %r is not cached: %s", reservation.key, exc)
            self.release(reservation)
            return None
        except BaseException:
            # The source's error is the one to hear of; the reservation ends by itself.
            with contextlib.suppress(StoreError):
                self.release(reservation)
            raise
        return self._keep(reservation, value, taken, text)

    def _take_in(self, stream: Any) -> _Taken:
        held: list[bytes] = []
        size = 0
        while size <= INLINE_BYTES and (piece := stream.read(_READ_BYTES)):
            held.append(piece)
            size += len(piece)
        if size <= INLINE_BYTES:
            return _Taken(b"".join(held), None, size)

        def pieces() -> Iterable[bytes]:
            yield from held
            held.clear()
            while piece := stream.read(_READ_BYTES):
                yield piece

        staged = self._values.stage(pieces())
        return _Taken(b"", staged, staged.size)

    def _keep(
        self, reservation: Reservation, value: Fill, taken: _Taken, text: str
    ) -> CachedEntry | None:
        key, staged = reservation.key, taken.staged
        where = (NO_GENERATION, 0) if staged is None else (staged.token, CHUNK_BYTES)
        header = Header(value.version, value.created, value.modified, taken.size, *where)
        keys = self._names_of(reservation)
        header_text = str(header).encode()
        args = [
            self._layout.prefix,
            key.encode(),
            header_text,
            text,
            taken.data,
            self._values.grace_s,
        ]
        is_kept = False
        try:
            is_kept = bool(self._client.run(_FILL, keys, args))
        except StoreFull as exc:
            logger.warning("the value of %r is not cached: %s", key, exc)
        if not is_kept:
            if staged is not None:
                self._values.discard(staged.token)
            return None
        return self._entry(key, header_text, text.encode(), taken.data, checked=True)

    def _names_of(self, reservation: Reservation) -> list[bytes]:
        """Return the keys in Redis that decide about a reservation."""
        return [
            self._state,
            self._layout.reservation(reservation.token),
            self._keys,
            self._layout.cached(reservation.key),
            self._notes[0],
            self._prefix_notes[0],
            self._lengths,
        ]

    def confirm(self, reservation: Reservation, version: Version | None) -> CachedEntry | None:
        """Note that the backing store was found to have *version* after *reservation*."""
        key = reservation.key
        noted = "-" if version is None else str(version)
        args = [self._layout.prefix, key.encode(), noted, self._values.grace_s]
        # Asked again after a lost answer it finds the reservation used up: then nothing
        # is confirmed, and the caller reads the value itself.
        stored = self._client.run(_CONFIRM, self._names_of(reservation), args)
        return None if stored is None else self._entry(key, *stored[:3], checked=True)

    def keys(self) -> Iterable[str]:
        """Yield the keys that have a cached entry."""
        return (key.decode() for page in pages(self._client, self._keys) for key in page)

    # -- Invalidation --------------------------------------------------------

    def void(self, key: str, version: Version | None) -> bool:
        """Invalidate one key; whether an entry was dropped.  Works without memory, too."""
        return self.void_many([(key, version)])[0]

    def void_many(self, changes: Sequence[tuple[str, Version | None]]) -> list[bool]:
        """Invalidate many keys, in the order given; for each whether an entry was dropped.

        A thousand are one call; between these others get a turn.
        """
        keys = [self._state, self._keys, *self._notes]
        fixed = [self._layout.prefix, int(NOTE_TTL_S), NOTES_KEPT, self._values.grace_s]
        dropped: list[bool] = []
        for page in _batched(changes, PAGE):
            words = (
                word
                for key, version in page
                for word in (key.encode(), b"-" if version is None else str(version).encode())
            )
            dropped += map(bool, self._client.run(_VOID, keys, [*fixed, *words]))
        return dropped

    def void_prefix(self, prefix: str, version: Version | None) -> int:
        """Invalidate all keys with *prefix*; how many entries were dropped."""
        keys = [self._state, self._keys, *self._prefix_notes, self._lengths]
        args = [
            self._layout.prefix,
            int(NOTE_TTL_S),
            PREFIX_NOTES_KEPT,
            self._values.grace_s,
            prefix.encode(),
            "-" if version is None else str(version),
        ]
        dropped = 0
        after = b""
        count: int
        while True:
            count, last = self._client.run(_VOID_PREFIX, keys, [*args, after, PAGE])
            dropped += count
            if last is None:
                return dropped
            after = b"(" + last

    # -- Room ----------------------------------------------------------------

    def evict(self, keys: Iterable[str]) -> int:
        """Drop the entries of *keys*, noting nothing; how many there were."""
        fixed = [self._layout.prefix, self._values.grace_s]
        return sum(
            self._client.run(
                _EVICT, [self._state, self._keys], [*fixed, *(key.encode() for key in page)]
            )
            for page in _batched(keys, PAGE)
        )

    def sizes(self) -> Iterator[tuple[str, int]]:
        """Yield key and size of each entry, page by page."""
        for page in pages(self._client, self._keys):
            keys = [key.decode() for key in page]
            asked = [pack_command("HGET", self._layout.cached(key), "h") for key in keys]
            for key, header in zip(keys, self._client.calls_packed(asked), strict=True):
                if header is not None:
                    yield key, Header.parse(header).size

    def usage(self) -> Usage:
        """Return the room taken, also by what other processes filled."""
        entries, size = self._client.calls([("ZCARD", self._keys), ("HGET", self._state, "bytes")])
        return Usage(entries, max(0, int(size or 0)))


def _batched(items: Iterable[Any], count: int) -> Iterator[list[Any]]:
    """Yield *items* in lists of *count*."""
    remaining = iter(items)
    while some := list(islice(remaining, count)):
        yield some
