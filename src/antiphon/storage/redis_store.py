"""A store in Redis, right when many processes write at once.

One commit is one round trip, and data, metadata, index and journal change in
one step (``redis_scripts``: ``prepare.lua``, ``apply.lua``).  Where what lies,
and what a power cut may take, is in ``docs/reference/redis.md``.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, BinaryIO

from antiphon.errors import AuthorizationError, IncompatibleStore, NotConnected, StoreError
from antiphon.storage.backend_store import BackendStore
from antiphon.storage.changes import Change, Committed, Record, Staged, StoreIdentity
from antiphon.storage.journal import JournalEntry, Position, Version
from antiphon.storage.ledger import CacheLedger
from antiphon.storage.outbox_ledger import OutboxLedger
from antiphon.storage.portions import Portion
from antiphon.storage.redis_client import RedisClient
from antiphon.storage.redis_commit import Committer
from antiphon.storage.redis_layout import FORMAT, Layout
from antiphon.storage.redis_ledger import RedisLedger
from antiphon.storage.redis_outbox import RedisOutbox
from antiphon.storage.redis_reading import Reader
from antiphon.storage.redis_scripts import load_script
from antiphon.storage.redis_url import RedisAddress, check_options, parse_url
from antiphon.storage.redis_values import GRACE_S, Values
from antiphon.storage.redis_waiting import Waiter

logger = logging.getLogger(__name__)

#: Journal entries that are kept, unless the store was told otherwise.
JOURNAL_LENGTH = 100_000

#: What ``multiset`` and its like commit at once.  Redis does nothing else meanwhile, which is
#: 10 to 20 ms; a machine that is busy takes some times as long.
PORTION = Portion(changes=1000, entries=4000, size=1 << 20)

#: What one transaction may have: what takes Redis half a second, on a machine that is busy some
#: times that.  After five it refuses to work for anybody.
MOST = Portion(changes=20_000, entries=80_000, size=16 << 20)

_OPEN = load_script("open")


class RedisStore(BackendStore):
    """A key-value store in one namespace of a Redis.

    Args:
        url: ``redis://[user:password@]host[:port][/database]?namespace=name``,
            ``rediss:`` for TLS, ``unix:///path?namespace=name`` for a socket.
            What follows may stand there, too (``&timeout_s=5``); arguments win.
        namespace: name of the store; all its keys in Redis begin with
            ``{namespace}:``, so one store is one hash slot.
        origin: readable name that events are routed by; the namespace if None.
        journal_length: journal entries to keep, at least; None leaves what the
            store has (``JOURNAL_LENGTH`` for a new one).  Holds for all who use it.
        grace_s: seconds that a large value stays readable for those who have it
            open after it was replaced, 120 if None; each read begins them anew.
        connect_timeout_s: seconds to wait for a connection; 3 if None.
        timeout_s: seconds to wait for an answer; 10 if None.
        retry_s: seconds for which a call is tried again after a broken
            connection; 3 if None.  No change is made twice by that.

    ``multiset`` and its like commit many keys in portions of ``PORTION``.  A
    transaction with more than ``MOST`` is a ``TransactionTooLarge`` at its end.

    Raises:
        InvalidURL: a part of the URL makes no sense.
    """

    _read_ahead = 100
    _portion = PORTION

    def __init__(
        self,
        url: str,
        *,
        namespace: str | None = None,
        origin: str | None = None,
        journal_length: int | None = None,
        grace_s: int | None = None,
        connect_timeout_s: float | None = None,
        timeout_s: float | None = None,
        retry_s: float | None = None,
    ) -> None:
        self._address, options = parse_url(
            url,
            namespace=namespace,
            origin=origin,
            journal_length=journal_length,
            grace_s=grace_s,
            connect_timeout_s=connect_timeout_s,
            timeout_s=timeout_s,
            retry_s=retry_s,
        )
        self._journal_length: int | None = options.get("journal_length")
        self._grace_s: int = options.get("grace_s", GRACE_S)
        self._most = MOST
        self._medium: _Medium | None = None
        super().__init__(origin=options.get("origin", self._address.namespace))

    @property
    def address(self) -> RedisAddress:
        """Where the store is; its text has no password."""
        return self._address

    # -- Hooks of BackendStore -----------------------------------------------

    def _open_medium(self, credentials: Any) -> StoreIdentity:
        client = RedisClient(self._address.with_credentials(credentials))
        try:
            identity = self._identify(client, retry=False)
            self._medium = _Medium(client, identity, self._grace_s, self)
            self._medium.values.sweep()
            _warn_of_eviction(client)
        except BaseException:
            client.close()
            raise
        return identity

    def _identify(
        self, client: RedisClient, system: str = "", *, retry: bool = True
    ) -> StoreIdentity:
        layout = Layout.of(client.address.namespace)
        answer = client.run(
            _OPEN,
            [layout.name(name) for name in ("meta", "journal", "keys")],
            [FORMAT, uuid.uuid4().hex, system, self._journal_length or "", JOURNAL_LENGTH],
            retry=retry,
        )
        where = f"namespace {client.address.namespace!r} of Redis at {client.address}"
        if answer[0] == b"RIGHTS":
            raise AuthorizationError(
                f"{where}: the user may not run {answer[1].decode()} there; the rights that a"
                " store needs are in docs/reference/redis.md"
            )
        if answer[0] == b"FOREIGN":
            raise IncompatibleStore(f"{where} is used by another program: take another namespace")
        if answer[0] == b"FORMAT":
            raise IncompatibleStore(
                f"{where} has format {answer[1].decode(errors='replace')}, and this version of"
                f" Antiphon knows format {FORMAT}: use the version that wrote it"
            )
        store_id, head, present = answer[1:]
        return StoreIdentity(
            uuid.UUID(store_id.decode()),
            Version.parse(head.decode()).epoch,
            None if present is None else present.decode(),
        )

    def _close_medium(self) -> None:
        medium, self._medium = self._medium, None
        if medium is not None:
            medium.client.close()

    def _claim(self, system: str) -> str | None:
        return self._identify(self._here.client, system).system

    @property
    def _here(self) -> _Medium:
        medium = self._medium
        if medium is None:
            # Another thread disconnected between the check and here.
            raise NotConnected(f"{self!r} is not connected; call connect() first")
        return medium

    def _read(self, key: str) -> Record | None:
        return self._here.reader.record(key)

    def _read_metadata(self, key: str) -> dict[str, Any] | None:
        return self._here.reader.metadata(key)

    def _read_many(self, keys: Sequence[str]) -> Sequence[Record | None]:
        return self._here.reader.records(keys)

    def _read_many_metadata(self, keys: Sequence[str]) -> Sequence[dict[str, Any] | None]:
        return self._here.reader.metadata_of_many(keys)

    def _exists(self, key: str) -> bool:
        return self._here.reader.exists(key)

    def _keys(self) -> Iterable[str]:
        return self._here.reader.keys()

    def _query(self, conditions: Mapping[str, Any]) -> Iterable[tuple[str, dict[str, Any]]]:
        return self._here.reader.query(conditions)

    def _matching_keys(self, conditions: Mapping[str, Any]) -> Iterable[str]:
        return self._here.reader.matching_keys(conditions)

    def _commit(self, changes: Sequence[Change]) -> list[Committed]:
        return self._here.committer.commit(changes, self._most)

    def _stage(self, chunks: Iterable[bytes]) -> Staged:
        return self._here.values.stage(chunks)

    def _open_staged(self, staged: Staged, start: int, end: int) -> BinaryIO:
        return self._here.values.open_staged(staged, start, end)

    def _discard(self, staged: Staged) -> None:
        self._here.values.discard(staged.token)

    def _head(self) -> Position:
        return self._here.reader.head()

    def _since(self, position: Position) -> Iterable[JournalEntry]:
        return self._here.reader.since(position)

    def _wait(self, position: Position, timeout_s: float) -> Position:
        return self._here.waiter.wait(position, timeout_s)

    def tail(self, position: Position, timeout_s: float) -> Sequence[JournalEntry]:
        """Return the next entries after *position* once there are any; see ``TailedJournal``."""
        return self._here.waiter.tail(position, timeout_s)

    def has_arrivals(self) -> bool:
        """Return whether entries have come for a ``tail`` that nobody has read; a quick hint."""
        medium = self._medium
        return medium is not None and medium.waiter.has_input()

    def wake(self) -> None:
        medium = self._medium
        if medium is not None:
            medium.waiter.wake()

    def cache_ledger(self) -> CacheLedger | None:
        """Return the ledger of the cache entries in this namespace, shared by all processes."""
        return self._here.ledger()

    def outbox_ledger(self) -> OutboxLedger | None:
        """Return what the outbox keeps in this namespace, shared by all processes."""
        return self._here.outbox


class _Medium:
    """What a connected store works with."""

    def __init__(
        self, client: RedisClient, identity: StoreIdentity, grace_s: int, store: RedisStore
    ) -> None:
        layout = Layout.of(client.address.namespace)
        self.client = client
        self.values = Values(client, layout, grace_s=grace_s)
        self.reader = Reader(client, layout, self.values)
        self.waiter = Waiter(client, layout, self.reader)
        self.outbox = RedisOutbox(client, layout)
        self.committer = Committer(client, layout, self.values, identity.store_id, store)
        self._layout = layout
        self._ledger: RedisLedger | None = None

    def ledger(self) -> RedisLedger:
        """Return the one ledger of this connection."""
        if self._ledger is None:
            self._ledger = RedisLedger(self.client, self._layout, self.values)
        return self._ledger


def _warn_of_eviction(client: RedisClient) -> None:
    """Tell in the log if Redis may throw keys away when its memory is full."""
    try:
        memory = client.call("INFO", "memory", retry=False).decode(errors="replace")
    except StoreError:
        return  # Not every user may ask.
    facts = dict(line.split(":", 1) for line in memory.split() if ":" in line)
    policy = facts.get("maxmemory_policy", "noeviction")
    if facts.get("maxmemory", "0") != "0" and policy != "noeviction":
        logger.warning(
            "Redis at %s throws keys away when its memory is full (%s), so this store may lose"
            " data without a trace: set maxmemory-policy to noeviction",
            client.address,
            policy,
        )


def from_url(url: str, **options: Any) -> RedisStore:
    """Return the store of *url*, not yet connected.

    Args:
        url: see ``RedisStore``.
        **options: those of ``RedisStore``; they win over those in the URL.

    Raises:
        InvalidURL: a part of the URL makes no sense, or there is no such option.
    """
    check_options(url, options)
    return RedisStore(url, **options)
