"""What only the outbox ledger in Redis promises: repeated calls, and all in one slot."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from redis_checks import raw_client
from redis_data import make_durable, restart

from antiphon.storage.journal import Position
from antiphon.storage.outbox_ledger import Lease, OutboxLedger
from antiphon.storage.redis_store import RedisStore
from antiphon.testing.servers import Redis

_ME, _OTHER = b"\x00owner-of-12"[:12], b"other-owners"


def _position(sequence: int) -> Position:
    return Position(UUID(int=7), 1, sequence, b"%08d" % sequence)


@pytest.fixture
def redis_server(redis_server: Redis) -> Redis:
    """A Redis of the test's own, which loses nothing when it is killed."""
    make_durable(redis_server)
    return redis_server


@pytest.fixture
def ledger(redis_url: str) -> Iterator[OutboxLedger]:
    """The ledger of one connection."""
    with RedisStore(redis_url, namespace="n") as store:
        ledger = store.outbox_ledger()
        assert ledger is not None
        yield ledger


@pytest.fixture
def other(redis_url: str) -> Iterator[OutboxLedger]:
    """That of another one."""
    with RedisStore(redis_url, namespace="n") as store:
        ledger = store.outbox_ledger()
        assert ledger is not None
        yield ledger


def test_leases_are_those_last_renewed(ledger: OutboxLedger, other: OutboxLedger) -> None:
    """Each owner has one lease, and all processes see it."""
    mine, newer = Lease(_ME, 10**18, 0, 1), Lease(_ME, 2 * 10**18, 12, 1)
    others = Lease(_OTHER, 5, 3, 2)
    for lease in (mine, others, newer):
        ledger.renew(lease)

    assert {newer, others} == set(other.leases())


def test_only_the_lease_that_was_seen_is_released(
    ledger: OutboxLedger, other: OutboxLedger
) -> None:
    """An owner that renewed meanwhile keeps its lease."""
    seen, newer = Lease(_ME, 1, 0, 1), Lease(_ME, 2, 0, 1)
    ledger.renew(newer)
    other.release(seen)
    assert [newer] == ledger.leases()
    other.release(newer)

    assert [] == ledger.leases()


def test_what_was_confirmed_before_a_restart_is_not_claimed(redis_server: Redis) -> None:
    """Redis may have lost it, and given its numbers to other changes, which nobody published."""
    with RedisStore(redis_server.redis_url, namespace="n") as store:
        ledger = store.outbox_ledger()
        assert ledger is not None
        ledger.renew(Lease(_ME, 10**18, 4, 1))
        restart(redis_server)
        claimed = []
        for confirmed in (5, 5, 6):
            ledger.renew(Lease(_ME, 10**18, confirmed, 1))
            claimed += [lease.confirmed for lease in ledger.leases()]

        with RedisStore(redis_server.redis_url, namespace="n") as other:
            seen = other.outbox_ledger()
            assert seen is not None
            claimed += [lease.confirmed for lease in seen.leases()]

    assert [0, 0, 6, 6] == claimed


def test_of_two_sweepers_one_wins(ledger: OutboxLedger, other: OutboxLedger) -> None:
    """The position is only put in place of the one that was seen."""
    assert ledger.swept() is None
    assert ledger.sweep_to(None, _position(3))
    assert not other.sweep_to(None, _position(5))
    assert not other.sweep_to(_position(4), _position(5))
    assert other.sweep_to(_position(3), _position(5))

    assert _position(5) == ledger.swept()


def test_a_shield_stays(ledger: OutboxLedger, other: OutboxLedger) -> None:
    """Once noted it is noted for everybody."""
    assert not ledger.is_shielded()
    ledger.shield()
    ledger.shield()

    assert other.is_shielded()


def test_it_lies_in_the_slot_of_its_store(ledger: OutboxLedger, redis_url: str) -> None:
    """Whatever the outbox writes begins with the namespace in braces."""
    ledger.renew(Lease(_ME, 1, 0, 1))
    ledger.sweep_to(None, _position(1))
    ledger.shield()

    with raw_client(redis_url) as raw:
        raw_names: list[Any] = list(raw.scan_iter("*"))
    assert [] == [name for name in raw_names if not name.startswith(b"{n}:")]
    assert {b"{n}:outbox", b"{n}:outbox:leases"} <= set(raw_names)
