"""Values too large for a record: staged in chunks, read back a chunk at a time."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable
from typing import BinaryIO

from antiphon.errors import StoreError
from antiphon.storage.changes import Staged
from antiphon.storage.redis_calls import PackedCall, ScriptCall
from antiphon.storage.redis_client import RedisClient
from antiphon.storage.redis_layout import CHUNK_BYTES, NO_GENERATION, Header, Layout
from antiphon.storage.redis_scripts import load_script
from antiphon.storage.redis_wire import pack_command
from antiphon.storage.streams import open_pieces, rechunked

#: Seconds that a value stays readable after it was replaced; each piece that an
#: open reader takes begins them anew.
GRACE_S = 120

#: Seconds after which a staged value that nobody committed is gone; begun anew
#: with each piece that is staged.  A transaction must not stay open longer.
STAGED_TTL_S = 3600

#: Chunks sent in one round trip while staging: what is held in memory.
_CHUNKS_A_TRIP = 4

#: Seconds after which a staged value is removed although a crash tore its time to live from it.
_TORN_TTL_S = 3600

#: How many of these are removed when something is staged, and when a store is opened.
_SWEEP = 10
_SWEEP_ON_OPENING = 1000

_ENLIST = load_script("enlist")
_STAGE = load_script("stage")
_DISCARD = load_script("discard")
_KEEP = load_script("keep")


class Values:
    """The large values of one namespace.

    Args:
        client: the connections.
        layout: the names of the keys.
        grace_s, staged_ttl_s: see the module.
    """

    def __init__(
        self,
        client: RedisClient,
        layout: Layout,
        *,
        grace_s: int = GRACE_S,
        staged_ttl_s: int = STAGED_TTL_S,
    ) -> None:
        self.grace_s = grace_s
        self._client = client
        self._layout = layout
        self._staged_ttl_s = staged_ttl_s
        self._staging_key = layout.name("staging")

    # -- Writing -------------------------------------------------------------

    def stage(self, chunks: Iterable[bytes]) -> Staged:
        """Put a value aside; on any error nothing of it stays.

        Args:
            chunks: its bytes, in pieces of any size.
        """
        token = os.urandom(8).hex()
        size = sent = 0
        trip: list[bytes] = []
        try:
            for chunk in rechunked(chunks, CHUNK_BYTES):
                trip.append(chunk)
                size += len(chunk)
                if len(trip) == _CHUNKS_A_TRIP:
                    self._send(token, sent, trip)
                    sent += len(trip)
                    trip.clear()
            self._send(token, sent, trip)
        except BaseException:
            self._give_up(token)
            raise
        return Staged(token, size)

    def staging(self, token: str, data: bytes) -> list[ScriptCall | bytes]:
        """Return the calls that put *data* aside in one step, under a token of the caller's."""
        starts = range(0, len(data), CHUNK_BYTES)
        chunks = [data[start : start + CHUNK_BYTES] for start in starts]
        return self._staging(token, 0, chunks)

    def _staging(self, token: str, first: int, chunks: list[bytes]) -> list[ScriptCall | bytes]:
        name = self._layout.generation(token)
        fields = [word for number, chunk in enumerate(chunks, first) for word in (number, chunk)]
        # Sent again after a broken connection, they write the same.  The chunks are not given
        # to a script, which would copy them twice.
        return [
            self._enlisting(token, _SWEEP),
            pack_command("HSET", name, *fields),
            (_STAGE, [name, self._staging_key], [token, self._staged_ttl_s]),
        ]

    def _enlisting(self, token: str, count: int) -> ScriptCall:
        seconds = self._staged_ttl_s + _TORN_TTL_S
        keys = [self._staging_key, self._layout.generation(token)]
        return _ENLIST, keys, [self._layout.prefix, token, seconds, count]

    def sweep(self) -> None:
        """Remove what a crash left of stagings, once their time is over."""
        self._client.run(*self._enlisting("", _SWEEP_ON_OPENING))

    def stage_at_once(self, token: str, data: bytes) -> None:
        """Do what ``staging`` returns."""
        self._client.run_all(lambda is_repetition: self.staging(token, data))

    def _send(self, token: str, first: int, chunks: list[bytes]) -> None:
        if chunks:
            self._client.run_all(lambda is_repetition: self._staging(token, first, chunks))

    def _give_up(self, token: str) -> None:
        try:
            self.discard(token)
        except StoreError:
            # Whatever stopped the staging is what the caller must hear of; the
            # chunks go by themselves when their time is over.
            return

    def discard(self, token: str) -> None:
        """Remove what was staged, if it was not committed."""
        keys = [self._layout.generation(token), self._staging_key]
        self._client.run(_DISCARD, keys, [token])

    # -- Reading -------------------------------------------------------------

    def opener(
        self, key: str, header: Header, inline: bytes | None
    ) -> Callable[[int, int], BinaryIO]:
        """Return the ``open(start, end)`` of a value."""
        if header.generation == NO_GENERATION:
            data = inline or b""
            return lambda start, end: io.BytesIO(data[start:end])
        gone = (
            f"the value of {key!r:.200} at version {header.version} was replaced more than"
            f" {self.grace_s} s ago and is gone: get the key again"
        )
        return self._opener(header.generation, header.chunk_bytes, self.grace_s, gone)

    def open_staged(self, staged: Staged, start: int, end: int) -> BinaryIO:
        """Return a stream over bytes *start* to *end* of a value that was put aside."""
        gone = f"the staged data are gone: they wait {self._staged_ttl_s} s for their commit"
        return self._opener(staged.token, CHUNK_BYTES, self._staged_ttl_s, gone)(start, end)

    def _opener(
        self, generation: str, chunk_bytes: int, keep_s: int, gone: str
    ) -> Callable[[int, int], BinaryIO]:
        name = self._layout.generation(generation)

        keep = PackedCall((_KEEP, [name], [keep_s]))

        def load(number: int) -> bytes:
            # A script that returned the chunk would copy it twice.
            ask = pack_command("HGET", name, number)
            chunk: bytes | None = self._client.run_all(lambda is_repetition: [keep, ask])[1]
            if chunk is None:
                raise StoreError(gone)
            return chunk

        return lambda start, end: open_pieces(_Chunks(load, chunk_bytes).fetch, start, end)


class _Chunks:
    """Gives one stream its pieces, holding one chunk at a time."""

    def __init__(self, load: Callable[[int], bytes], chunk_bytes: int) -> None:
        self._load = load
        self._chunk_bytes = chunk_bytes
        self._held = -1
        self._chunk = b""

    def fetch(self, offset: int, size: int) -> bytes:
        """Return some of the *size* bytes at *offset*, those of one chunk."""
        number, begin = divmod(offset, self._chunk_bytes)
        if self._held != number:
            self._chunk = self._load(number)
            self._held = number
        return self._chunk[begin : begin + size]
