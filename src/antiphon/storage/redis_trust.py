"""How far and how sure a cache in Redis is, and what it notes of the user's own writes.

The half of ``redis_ledger`` that is not about entries.  A Redis that was
restarted may have lost invalidations: its entries are suspected before anybody
reads them, and who counted on them is told.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from uuid import UUID

from antiphon.errors import PositionLost
from antiphon.storage.journal import Position, Version
from antiphon.storage.redis_client import RedisClient
from antiphon.storage.redis_layout import Layout
from antiphon.storage.redis_scripts import load_script

#: Number of the layout of cache entries; those of another one are dropped.
_LAYOUT = 2

#: Entries that one script call drops; a few milliseconds of Redis' time.
PAGE = 1000

_ADVANCE = load_script("advance", "ledger")
_BEAT = load_script("beat", "ledger")
_DOUBT = load_script("doubt", "ledger")
_SUSPECT = load_script("suspect", "ledger")
_RESTART = load_script("restart", "ledger")


class RedisTrust:
    """Positions, beats and doubt of the cache in one namespace, and its user's writes.

    Args:
        client: the connections.
        layout: the names of the keys.
        grace_s: seconds that dropped data stay for those who read them.
    """

    def __init__(self, client: RedisClient, layout: Layout, grace_s: int) -> None:
        self._client = client
        self._layout = layout
        self._grace_s = grace_s
        self._state = layout.name("cache:state")
        self._keys = layout.name("cache:keys")
        self._notes = [layout.name("cache:notes"), layout.name("cache:noted")]
        self._prefix_notes = [layout.name("cache:pnotes"), layout.name("cache:pnoted")]
        self._lengths = layout.name("cache:lengths")
        self._bases = layout.name("cache:base")
        self._pushes = layout.name("cache:pushes")
        #: Run of the server that the caller's position was read from; see restart.lua.
        self._run: str | None = None
        client.on_connect.append(self._meet)
        self._meet(client.call)

    # -- A server that was restarted -----------------------------------------

    def _meet(self, call: Callable[..., Any]) -> None:
        """Have all entries suspected if the server is not the one that they were kept in."""
        run = run_of(call)
        keys = [self._state, self._keys]
        args = [self._layout.prefix, _LAYOUT, run, PAGE, self._grace_s]
        while not call("EVAL", _RESTART.source, len(keys), *keys, *args):
            pass
        if self._run is None:
            self._run = f"{_LAYOUT}/{run}"

    def _check_run(self, answer: Any) -> None:
        """Raise unless the position is still counted in the run that the caller knows."""
        if isinstance(answer, int):
            return
        self._run = answer.decode()
        if not self._run:
            # Redis is the same, and has lost the state of the cache: that is noted anew,
            # so that it is noticed when it happens again.
            self._run = None
            self._meet(self._client.call)
        raise PositionLost(
            f"Redis at {self._client.address} was restarted or emptied, and may have lost"
            " invalidations:"
            " read position() again, and repair from there"
        )

    # -- How far -------------------------------------------------------------

    def position(self) -> Position | None:
        """Return how far invalidations were applied, if it is of one store."""
        found = self.positions()
        return next(iter(found.values())) if len(found) == 1 else None

    def positions(self) -> dict[UUID, Position]:
        """Return how far invalidations of each store were applied."""
        return self._positions(b"p:")

    def _positions(self, kind: bytes) -> dict[UUID, Position]:
        words = self._client.call("HGETALL", self._state)
        found = (
            parse_position(text.decode())
            for field, text in zip(words[::2], words[1::2], strict=True)
            if field.startswith(kind)
        )
        return {position.store_id: position for position in found}

    def advance(self, position: Position | None) -> None:
        """Note that all invalidations up to *position* were applied; None forgets everything.

        Raises:
            PositionLost: Redis was restarted, and may have lost invalidations
                that the caller applied; nothing was noted.
        """
        keys = [self._state, *self._notes, *self._prefix_notes, self._lengths]
        args = [self._run or ""]
        args += ["", ""] if position is None else [str(position), str(position.store_id)]
        self._check_run(self._client.run(_ADVANCE, keys, args))

    def verified(self) -> dict[UUID, Position]:
        """Return up to where the journal of each store itself was read."""
        return self._positions(b"v:")

    def verify(self, position: Position) -> None:
        """Note that the journal showed *position*."""
        self._client.call("HSET", self._state, f"v:{position.store_id}", str(position))

    # -- How sure ------------------------------------------------------------

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

    def suspect(self) -> None:
        """Make all entries unchecked, and end all reservations.  Works without memory, too."""
        self._client.run(_SUSPECT, [self._state], [])

    # -- The user's own writes -----------------------------------------------

    def base(self, key: str) -> Version | None:
        """Return the backing version that the user's own write of *key* began from."""
        text = self._client.call("HGET", self._bases, key.encode())
        return None if text is None else Version.parse(text.decode())

    def set_base(self, key: str, version: Version | None) -> None:
        """Note it; None takes it back."""
        if version is None:
            self._client.call("HDEL", self._bases, key.encode())
        else:
            self._client.call("HSET", self._bases, key.encode(), str(version))

    def note_push(self, key: str, note: bytes | None) -> None:
        """Note that a push of *key* begins, or with None that it is over."""
        if note is None:
            self._client.call("HDEL", self._pushes, key.encode())
        else:
            self._client.call("HSET", self._pushes, key.encode(), bytes(note))

    def pushes(self) -> dict[str, bytes]:
        """Return the notes of the pushes that have begun and are not over."""
        words = self._client.call("HGETALL", self._pushes)
        return {key.decode(): note for key, note in zip(words[::2], words[1::2], strict=True)}


def run_of(call: Callable[..., Any]) -> str:
    """Return what tells one run of a server from another; asked of *call*, a new connection's."""
    info = call("INFO", "server").decode(errors="replace")
    found = re.search(r"^run_id:(\w+)", info, re.MULTILINE)
    return found.group(1) if found else ""


def parse_position(text: str) -> Position:
    """Return the position that ``str()`` wrote."""
    store_id, _, version = text.partition("@")
    return Position(UUID(store_id), *Version.parse(version))
