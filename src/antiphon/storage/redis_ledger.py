"""Cache entries in Redis, right for all processes that share them.

Each method is one script call (``redis_scripts``), so the rules of
``storage/ledger.py`` hold between processes.  A Redis that was restarted may
have lost invalidations: its entries are dropped before anybody reads them.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from antiphon.errors import InvalidValue, PositionLost, StoreError, StoreFull
from antiphon.storage import metadata as metadata_codec
from antiphon.storage.changes import Staged
from antiphon.storage.journal import Position, Version
from antiphon.storage.ledger import (
    NOTE_TTL_S,
    RESERVATION_TTL_S,
    CachedEntry,
    Fill,
    Lookup,
    Reservation,
)
from antiphon.storage.redis_client import RedisClient
from antiphon.storage.redis_layout import CHUNK_BYTES, INLINE_BYTES, NO_GENERATION, Header, Layout
from antiphon.storage.redis_reading import pages
from antiphon.storage.redis_scripts import load_script
from antiphon.storage.redis_values import Values

logger = logging.getLogger(__name__)

#: Entries that one script call drops; a few milliseconds of Redis' time.
_PAGE = 1000

_READ_BYTES = 256 * 1024

_RESERVE = load_script("reserve", "ledger")
_FILL = load_script("fill", "ledger")
_VOID = load_script("void", "ledger")
_VOID_PREFIX = load_script("void_prefix", "ledger")
_ADVANCE = load_script("advance", "ledger")
_BEAT = load_script("beat", "ledger")
_DOUBT = load_script("doubt", "ledger")
_RESTART = load_script("restart", "ledger")


@dataclass(frozen=True, slots=True)
class _Taken:
    """A value that was read from its source: in memory, or staged if it is large."""

    data: bytes
    staged: Staged | None
    size: int


class RedisLedger:
    """The cache ledger of one namespace.

    Args:
        client: the connections.
        layout: the names of the keys.
        values: where large values are staged.
    """

    def __init__(self, client: RedisClient, layout: Layout, values: Values) -> None:
        self._client = client
        self._layout = layout
        self._values = values
        self._state = layout.name("cache:state")
        self._keys = layout.name("cache:keys")
        self._lengths = layout.name("cache:lengths")
        #: Run of the server that the caller's position was read from; see restart.lua.
        self._run: str | None = None
        client.on_connect.append(self._meet)
        self._meet(client.call)

    # -- A server that was restarted -----------------------------------------

    def _meet(self, call: Callable[..., Any]) -> None:
        """Have all entries dropped if the server is not the one that they were kept in."""
        info = call("INFO", "server").decode(errors="replace")
        found = re.search(r"^run_id:(\w+)", info, re.MULTILINE)
        run = found.group(1) if found else ""
        keys = [self._state, self._keys, self._note(b"p", "")]
        args = [self._layout.prefix, run, int(NOTE_TTL_S), _PAGE, self._values.grace_s]
        while not call("EVAL", _RESTART.source, len(keys), *keys, *args):
            pass
        if self._run is None:
            self._run = run

    def _check_run(self, answer: Any) -> None:
        """Raise unless the position is still counted in the run that the caller knows."""
        if isinstance(answer, int):
            return
        self._run = answer.decode()
        raise PositionLost(
            f"Redis at {self._client.address} was restarted, and its cache emptied:"
            " read position() again, and repair from there"
        )

    # -- Names ---------------------------------------------------------------

    def _note(self, kind: bytes, name: str) -> bytes:
        return self._layout.prefix + b"cache:" + kind + b":" + name.encode()

    # -- Entries -------------------------------------------------------------

    def lookup(self, key: str) -> Lookup:
        """Return the cached entry of *key* and the present beat, in one round trip."""
        # The beat comes first: an entry is then never older than what it vouches for.
        (beat, doubt), stored = self._client.calls(
            [
                ("HMGET", self._state, "beat", "doubt"),
                ("HMGET", self._layout.cached(key), "h", "m", "d"),
            ]
        )
        entry = None if stored[0] is None else self._entry(key, *stored)
        return Lookup(entry, None if beat is None or doubt is not None else int(beat))

    def _entry(
        self, key: str, header_text: bytes, text: bytes, inline: bytes | None
    ) -> CachedEntry:
        header = Header.parse(header_text)
        return CachedEntry(
            self._values.opener(key, header, inline)(0, header.size),
            header.size,
            metadata_codec.decode(text.decode()),
            header.created,
            header.modified,
            header.version,
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
        layout = self._layout
        keys = [
            self._state,
            layout.reservation(reservation.token),
            self._keys,
            layout.cached(key),
            self._note(b"n", key),
            self._lengths,
        ]
        header_text = str(header).encode()
        args = [layout.prefix, key.encode(), header_text, text, taken.data, self._values.grace_s]
        is_kept = False
        try:
            is_kept = bool(self._client.run(_FILL, keys, args))
        except StoreFull as exc:
            logger.warning("the value of %r is not cached: %s", key, exc)
        if not is_kept:
            if staged is not None:
                self._values.discard(staged.token)
            return None
        return self._entry(key, header_text, text.encode(), taken.data)

    def keys(self) -> Iterable[str]:
        """Yield the keys that have a cached entry."""
        return (key.decode() for page in pages(self._client, self._keys) for key in page)

    # -- Invalidation --------------------------------------------------------

    def void(self, key: str, version: Version | None) -> bool:
        """Invalidate one key; whether an entry was dropped.  Works without memory, too."""
        keys = [self._state, self._keys, self._layout.cached(key), self._note(b"n", key)]
        noted = "-" if version is None else str(version)
        args = [key.encode(), noted, int(NOTE_TTL_S), self._values.grace_s]
        return bool(self._client.run(_VOID, keys, args))

    def void_prefix(self, prefix: str, version: Version | None) -> int:
        """Invalidate all keys with *prefix*; how many entries were dropped."""
        keys = [self._state, self._keys, self._lengths, self._note(b"p", prefix)]
        noted = "-" if version is None else str(version)
        args = [self._layout.prefix, prefix.encode(), noted, int(NOTE_TTL_S), self._values.grace_s]
        dropped = 0
        after = b""
        count: int
        while True:
            count, last = self._client.run(_VOID_PREFIX, keys, [*args, after, _PAGE])
            dropped += count
            if last is None:
                return dropped
            after = b"(" + last

    # -- How far, and how sure -----------------------------------------------

    def position(self) -> Position | None:
        """Return how far invalidations were applied."""
        text = self._client.call("HGET", self._state, "position")
        if text is None:
            return None
        store_id, _, version = text.decode().partition("@")
        return Position(UUID(store_id), *Version.parse(version))

    def advance(self, position: Position | None) -> None:
        """Note that all invalidations up to *position* were applied; None forgets it.

        Raises:
            PositionLost: Redis was restarted, and may have lost invalidations
                that the caller applied; nothing was noted.
        """
        args = [self._run or "", "" if position is None else str(position)]
        self._check_run(self._client.run(_ADVANCE, [self._state], args))

    def beat(self) -> None:
        """Vouch for the cache: count the beat up.

        Raises:
            PositionLost: as for ``advance``; the cache is in doubt.
        """
        # Not repeated: the second would come later than what the caller vouches for.
        self._check_run(self._client.run(_BEAT, [self._state], [self._run or ""], retry=False))

    def doubt(self) -> None:
        """Stop vouching."""
        self._client.run(_DOUBT, [self._state], [])

    # -- The user's own writes -----------------------------------------------

    def base(self, key: str) -> Version | None:
        """Return the backing version that the user's own write of *key* began from."""
        text = self._client.call("HGET", self._layout.name("cache:base"), key.encode())
        return None if text is None else Version.parse(text.decode())

    def set_base(self, key: str, version: Version | None) -> None:
        """Note it; None takes it back."""
        name = self._layout.name("cache:base")
        if version is None:
            self._client.call("HDEL", name, key.encode())
        else:
            self._client.call("HSET", name, key.encode(), str(version))
