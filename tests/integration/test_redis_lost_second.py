"""A Redis that comes back with older data than it had: after a power cut, or from a backup."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from redis_checks import assert_consistent
from redis_data import make_durable, read_data, restart, start, write_data

from antiphon.errors import PositionLost
from antiphon.storage.journal import Position, Version
from antiphon.storage.ledger import CacheLedger, Fill
from antiphon.storage.redis_store import RedisStore
from antiphon.storage.string_value import StringValue
from antiphon.testing.servers import Redis


@pytest.fixture
def redis_server(redis_server: Redis) -> Redis:
    """A Redis of the test's own, which loses nothing when it is killed."""
    make_durable(redis_server)
    return redis_server


@contextmanager
def _lost(server: Redis) -> Iterator[None]:
    """Run the block, and then have Redis forget all that was written in it.

    With ``appendfsync everysec`` that is what a power cut does: the data folder
    is put back as it was before, and Redis started on it.
    """
    server.kill()
    before = read_data(server)
    start(server)
    yield
    server.kill()
    write_data(server, before)
    start(server)


def test_a_position_in_the_lost_second_is_recognised(redis_server: Redis) -> None:
    """The same numbers come again under other entry ids, and no reader takes them for known."""
    with RedisStore(redis_server.redis_url, namespace="n") as store:
        store.set("a", StringValue(b"1", {}))
        kept = store.head()
        with _lost(redis_server):
            lost_version = store.set("a", StringValue(b"2", {}))
            lost = store.head()
            store.set("b", StringValue(b"2", {}))
            ahead = store.head()
        assert kept == store.head()
        with pytest.raises(PositionLost):
            store.since(lost)
        new_version = store.set("a", StringValue(b"3", {}))

        assert isinstance(lost_version, Version)
        assert isinstance(new_version, Version)
        assert lost_version[:2] == new_version[:2]
        assert lost_version != new_version
        for position in (lost, ahead):
            with pytest.raises(PositionLost):
                store.since(position)
        assert ["a"] == [e.key for e in store.since(kept)]
    assert_consistent(redis_server.redis_url, "n")


def test_a_version_of_the_lost_second_is_no_condition_that_holds(redis_server: Redis) -> None:
    """Who read a value that was lost cannot write over another with the same number."""
    with RedisStore(redis_server.redis_url, namespace="n") as store:
        store.set("a", StringValue(b"1", {}))
        with _lost(redis_server):
            lost = store.set("a", StringValue(b"2", {}))
        store.set("a", StringValue(b"3", {}))

        with pytest.raises(Exception, match="was expected"):
            store.set("a", StringValue(b"4", {}), expect=lost)


# -- A cache that is kept in such a Redis ----------------------------------------


def _version(sequence: int) -> Version:
    return Version(1, sequence, b"%8d" % sequence)


def _fill(ledger: CacheLedger, key: str, sequence: int) -> bool:
    value = Fill(io.BytesIO(b"data"), {}, None, None, _version(sequence))
    entry = ledger.fill(ledger.reserve(key), value)
    return entry is not None


def test_invalidations_of_the_lost_second_are_not_undone(redis_server: Redis) -> None:
    """An entry that was dropped comes back with the older data, suspected; a fill does not."""
    with RedisStore(redis_server.redis_url, namespace="n") as store:
        ledger = store.cache_ledger()
        assert ledger is not None
        position = Position(store.head().store_id, 1, 5, b"12345678")
        ledger.advance(position)
        ledger.beat()
        assert _fill(ledger, "a", 1)
        assert _fill(ledger, "large", 1)
        filling = ledger.reserve("b")
        with _lost(redis_server):
            # The first connection after a restart suspects what is cached; fill it again.
            ledger.position()
            assert _fill(ledger, "a", 1)
            ledger.void("a", _version(6))
            ledger.void("b", _version(7))

        found = {key: ledger.lookup(key) for key in ("a", "large")}
        assert [None, None] == [each.beat for each in found.values()]
        assert [False, False] == [each.entry and each.entry.checked for each in found.values()]
        assert ledger.fill(filling, Fill(io.BytesIO(b""), {}, None, None, _version(1))) is None
        assert ledger.confirm(ledger.reserve("a"), _version(6)) is None
        assert ["large"] == list(ledger.keys())


def test_a_position_is_not_carried_over_a_restart(redis_server: Redis) -> None:
    """Who counted on before the restart is told once, and then repairs from what is kept."""
    with RedisStore(redis_server.redis_url, namespace="n") as store:
        ledger = store.cache_ledger()
        assert ledger is not None
        first = Position(store.head().store_id, 1, 5, b"12345678")
        later = first._replace(sequence=9)
        ledger.advance(first)
        ledger.beat()
        restart(redis_server)

        assert ledger.lookup("a").beat is None
        with pytest.raises(PositionLost, match="was restarted"):
            ledger.advance(later)
        assert first == ledger.position()
        ledger.advance(later)
        ledger.beat()
        assert later == ledger.position()
        assert ledger.lookup("a").beat is not None


def test_vouching_does_not_go_over_a_restart(redis_server: Redis) -> None:
    """An invalidator that vouches right after a restart is told to check first."""
    with RedisStore(redis_server.redis_url, namespace="n") as store:
        ledger = store.cache_ledger()
        assert ledger is not None
        ledger.beat()
        restart(redis_server)

        with pytest.raises(PositionLost, match="was restarted"):
            ledger.beat()
        assert ledger.lookup("a").beat is None
