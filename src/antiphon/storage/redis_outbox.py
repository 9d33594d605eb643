"""What the outbox keeps in a namespace of Redis (protocol: ``storage/outbox_ledger.py``)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from antiphon.storage.journal import Position
from antiphon.storage.outbox_ledger import Lease
from antiphon.storage.redis_client import RedisClient
from antiphon.storage.redis_layout import Layout
from antiphon.storage.redis_scripts import load_script
from antiphon.storage.redis_trust import parse_position, run_of

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
        self._run = ""
        self._is_restarted = False
        # What is said to be confirmed up to here was so before a restart.
        self._stale = (0, 0)
        client.on_connect.append(self._meet)
        self._meet(client.call)

    def _meet(self, call: Callable[..., Any]) -> None:
        run = run_of(call)
        self._is_restarted |= self._run not in ("", run)
        self._run = run

    def renew(self, lease: Lease) -> None:
        """Put *lease* in place of the one of its owner.

        A Redis that was restarted may have lost its last changes, and count on from
        before them: then what was confirmed was others.  Until the owner has
        confirmed more, the lease says that nothing is.
        """
        if self._is_restarted:
            self._is_restarted = False
            self._stale = (lease.epoch, lease.confirmed)
        confirmed = lease.confirmed if (lease.epoch, lease.confirmed) > self._stale else 0
        # With the run in which it holds: this call may be the first to meet another one.
        text = f"{lease.until_ns} {confirmed} {lease.epoch} {self._run}"
        self._client.call("HSET", self._leases, lease.owner.hex(), text)

    def leases(self) -> list[Lease]:
        """Return the leases of all owners, ended ones too."""
        words = self._client.call("HGETALL", self._leases)
        return [
            self._parsed(owner, text.decode())
            for owner, text in zip(words[::2], words[1::2], strict=True)
        ]

    def _parsed(self, owner: bytes, text: str) -> Lease:
        until_ns, confirmed, epoch, *run = text.split()
        is_known = run == [self._run]
        return Lease(
            bytes.fromhex(owner.decode()), int(until_ns), int(confirmed) * is_known, int(epoch)
        )

    def release(self, lease: Lease) -> None:
        """Forget *lease*, unless its owner has renewed it meanwhile."""
        self._client.run(_RELEASE, [self._leases], [lease.owner.hex(), lease.until_ns])

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
