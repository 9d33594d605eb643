"""What the outbox keeps in a namespace of Redis (protocol: ``storage/outbox_ledger.py``)."""

from __future__ import annotations

from antiphon.storage.journal import Position
from antiphon.storage.outbox_ledger import Lease
from antiphon.storage.redis_client import RedisClient
from antiphon.storage.redis_layout import Layout
from antiphon.storage.redis_scripts import load_script
from antiphon.storage.redis_trust import parse_position

_RELEASE = load_script("release")
_SWEEP_TO = load_script("sweep_to")


class RedisOutbox:
    """Leases, and how far the journal was swept.

    Args:
        client: the connections.
        layout: the names of the keys.
    """

    def __init__(self, client: RedisClient, layout: Layout) -> None:
        self._client = client
        self._leases = layout.name("outbox:leases")
        self._outbox = layout.name("outbox")

    def renew(self, lease: Lease) -> None:
        """Put *lease* in place of the one of its owner."""
        self._client.call("HSET", self._leases, lease.owner.hex(), _text(lease))

    def leases(self) -> list[Lease]:
        """Return the leases of all owners, ended ones too."""
        words = self._client.call("HGETALL", self._leases)
        return [
            Lease(bytes.fromhex(owner.decode()), *map(int, text.split()))
            for owner, text in zip(words[::2], words[1::2], strict=True)
        ]

    def release(self, lease: Lease) -> None:
        """Forget *lease*, unless its owner has renewed it meanwhile."""
        self._client.run(_RELEASE, [self._leases], [lease.owner.hex(), _text(lease)])

    def swept(self) -> Position | None:
        """Return up to where every event is known to be out; None before the first time."""
        text = self._client.call("HGET", self._outbox, "swept")
        return None if text is None else parse_position(text.decode())

    def sweep_to(self, expected: Position | None, position: Position) -> bool:
        """Put *position* in place of *expected*; return False if it is not that."""
        # Asked again after a lost answer it may find its own position and say False: then the
        # sweeper reads it, and goes on from there.
        args = ["" if expected is None else str(expected), str(position)]
        return bool(self._client.run(_SWEEP_TO, [self._outbox], args))

    def shield(self) -> None:
        """Note, for good, that the keys of this store are nobody's to publish in clear."""
        self._client.call("HSET", self._outbox, "shielded", "1")

    def is_shielded(self) -> bool:
        """Return whether that was noted."""
        return bool(self._client.call("HEXISTS", self._outbox, "shielded"))


def _text(lease: Lease) -> str:
    return f"{lease.until_ns} {lease.confirmed} {lease.epoch}"
