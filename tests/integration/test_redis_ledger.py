"""What only the ledger in Redis promises: bounded traces, full memory, large caches, processes."""

from __future__ import annotations

import io
import logging
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from redis_checks import raw_client

from antiphon.errors import PositionLost
from antiphon.storage.journal import Position, Version
from antiphon.storage.ledger import CacheLedger, Fill
from antiphon.storage.redis_store import RedisStore
from antiphon.storage.string_value import StringValue
from antiphon.testing.ledger_suite import read
from antiphon.testing.servers import Redis


def _version(sequence: int) -> Version:
    return Version(1, sequence, b"%08d" % sequence)


def _value(data: bytes = b"data", sequence: int = 1, **metadata: Any) -> Fill:
    return Fill(io.BytesIO(data), metadata, None, None, _version(sequence))


@pytest.fixture
def store(redis_url: str) -> Iterator[RedisStore]:
    """The store that the cache is kept in."""
    with RedisStore(redis_url, namespace="n") as store:
        yield store


@pytest.fixture
def ledger(store: RedisStore) -> CacheLedger:
    """Its ledger."""
    ledger = store.cache_ledger()
    assert ledger is not None
    return ledger


@pytest.fixture
def raw(redis_url: str) -> Iterator[Any]:
    """The same database past the store."""
    with raw_client(redis_url) as raw:
        yield raw


def test_the_cache_and_the_store_do_not_see_each_other(
    store: RedisStore, ledger: CacheLedger
) -> None:
    """Entries are no keys of the store, invalidations no changes, and no journal has them."""
    store.set("a", StringValue(b"own", {"n": 1}))
    head = store.head()
    ledger.fill(ledger.reserve("a"), _value(b"cached", n=1))
    ledger.fill(ledger.reserve("b"), _value(b"x" * 100_000, n=1))
    ledger.void_prefix("", None)

    assert [("a", {"n": 1})] == list(store.query(n=1))
    assert b"own" == store.get("a").data.read()
    assert head == store.head()


def test_every_trace_ends_by_itself(ledger: CacheLedger, raw: Any) -> None:
    """Reservations last ten minutes, notes an hour, dropped data the grace of open readers."""
    ledger.reserve("a")
    ledger.void("b", _version(1))
    ledger.void_prefix("p/", _version(1))
    ledger.fill(ledger.reserve("large"), _value(b"x" * 100_000))
    ledger.void("large", _version(2))

    def ttl(pattern: str) -> set[int]:
        # One second of a slow machine is no failure.
        return {-(-raw.ttl(name) // 10) * 10 for name in raw.scan_iter("{n}:" + pattern)}

    assert {600} == ttl("cache:r:*")
    assert {3600} == ttl("cache:*note*")
    assert {120} == ttl("g:*")
    assert [] == list(raw.scan_iter("{n}:cache:k:*"))


def test_all_that_a_cache_is_lies_in_one_slot(ledger: CacheLedger, raw: Any) -> None:
    """Whatever the ledger writes begins with the namespace in braces, so scripts may touch it."""
    ledger.fill(ledger.reserve("a"), _value(b"x" * 100_000))
    ledger.reserve("b")
    ledger.void_many([("c", _version(1)), ("d", None)])
    ledger.void_prefix("p/", _version(1))
    ledger.suspect()
    ledger.advance(Position(UUID(int=1), 1, 1, b"12345678"))
    ledger.set_base("a", _version(1))
    ledger.note_push("a", b"note")

    names = list(raw.scan_iter("*"))
    assert [] == [name for name in names if not name.startswith(b"{n}:")]


@pytest.mark.parametrize("prefix", [False, True])
def test_the_oldest_notes_make_room(
    ledger: CacheLedger, raw: Any, monkeypatch: pytest.MonkeyPatch, prefix: bool
) -> None:
    """Of too many notes the newest are kept, with their versions."""
    kept = "PREFIX_NOTES_KEPT" if prefix else "NOTES_KEPT"
    monkeypatch.setattr(f"antiphon.storage.redis_ledger.{kept}", 3)
    for number in range(5):
        (ledger.void_prefix if prefix else ledger.void)(f"k{number}", _version(9))

    tries = (f"k{number}" for number in range(5))
    assert [True, True, False, False, False] == [
        ledger.fill(ledger.reserve(key), _value()) is not None for key in tries
    ]
    assert 3 == raw.zcard("{n}:cache:pnoted" if prefix else "{n}:cache:noted")


def test_what_a_forgotten_note_ended_stays_ended(
    ledger: CacheLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reservation that was voided does not come back when the note has made room."""
    monkeypatch.setattr("antiphon.storage.redis_ledger.NOTES_KEPT", 2)
    reservation = ledger.reserve("a")
    ledger.void("a", _version(2))
    ledger.void_many([("b", None), ("c", None), ("d", None)])

    assert ledger.fill(reservation, _value(b"old", 1)) is None


def test_notes_end_with_their_time(ledger: CacheLedger, raw: Any) -> None:
    """Whatever is noted takes two notes along whose time is over."""
    ledger.void_many([("a", _version(9)), ("b", _version(9)), ("c", _version(9))])
    for number, key in enumerate("abc"):
        raw.hset("{n}:cache:notes", key, f"{number + 1} 1 {_version(9)}")
    ledger.void("d", None)

    assert [b"c", b"d"] == raw.zrange("{n}:cache:noted", 0, -1)
    assert [b"c", b"d"] == sorted(raw.hkeys("{n}:cache:notes"))


def test_a_thousand_invalidations_are_one_call(
    store: RedisStore, ledger: CacheLedger, raw: Any
) -> None:
    """They cost one round trip, in which Redis works for a few milliseconds."""
    keys = [f"folder/{number}" for number in range(1000)]
    for key in keys:
        ledger.fill(ledger.reserve(key), _value())
    # So that the script is known.
    ledger.void("other", None)
    raw.config_resetstat()

    assert [True] * 1000 == ledger.void_many([(key, _version(2)) for key in keys])
    scripts = raw.info("commandstats")["cmdstat_evalsha"]
    assert 1 == scripts["calls"]
    assert scripts["usec"] < 50_000
    assert (0, 0) == ledger.usage()


def test_entries_of_an_older_layout_are_dropped(redis_url: str, raw: Any) -> None:
    """A cache that another version of the program has filled begins anew, in doubt."""
    with RedisStore(redis_url, namespace="n") as store:
        ledger = store.cache_ledger()
        assert ledger is not None
        ledger.fill(ledger.reserve("a"), _value())
        ledger.set_base("mine", _version(4))
        ledger.beat()
    known = raw.hget("{n}:cache:state", "run")
    raw.hset("{n}:cache:state", "run", known.partition(b"/")[2])

    with RedisStore(redis_url, namespace="n") as store:
        ledger = store.cache_ledger()
        assert ledger is not None
        assert (None, None) == ledger.lookup("a")
        assert (0, 0) == ledger.usage()
        assert _version(4) == ledger.base("mine")


def test_a_large_cache_is_dropped_page_by_page(ledger: CacheLedger) -> None:
    """More entries than one call drops are dropped all the same, and counted."""
    for number in range(1100):
        ledger.fill(ledger.reserve(f"p/{number}"), _value(sequence=1 + number % 2))
    ledger.fill(ledger.reserve("q"), _value())

    # Those of version 2 are not older than the invalidation.
    assert 550 == ledger.void_prefix("p/", _version(2))
    assert 550 == ledger.void_prefix("p/", None)
    assert ["q"] == list(ledger.keys())


def test_a_refused_large_fill_leaves_no_chunks(ledger: CacheLedger, raw: Any) -> None:
    """What was staged for a fill that is not kept is removed at once."""
    reservation = ledger.reserve("a")
    ledger.void("a", None)

    assert ledger.fill(reservation, _value(b"x" * 1_000_000)) is None
    assert [] == list(raw.scan_iter("{n}:g:*"))


def test_values_that_cannot_be_stored_are_not_kept(
    ledger: CacheLedger, caplog: pytest.LogCaptureFixture
) -> None:
    """A backing store with metadata of its own kind can be read through the cache."""
    with caplog.at_level(logging.WARNING, "antiphon.storage"):
        assert ledger.fill(ledger.reserve("a"), _value(odd=object())) is None

    assert "'a' is not cached: metadata entry 'odd'" in caplog.text


def test_a_full_redis_keeps_nothing_more_and_invalidates(redis_server: Redis) -> None:
    """Without memory reads go on uncached, and what is stale is dropped all the same."""
    with RedisStore(redis_server.redis_url, namespace="n") as store:
        ledger = store.cache_ledger()
        assert ledger is not None
        ledger.beat()
        ledger.fill(ledger.reserve("e"), _value(b"e", 1))
        ledger.suspect()
        ledger.fill(ledger.reserve("a"), _value(b"old", 1))
        ledger.fill(ledger.reserve("d"), _value(b"old", 1))
        checking = ledger.reserve("e")
        standing = ledger.reserve("b")
        redis_server.command("CONFIG", "SET", "maxmemory", "1000")

        assert b"old" == read(ledger.lookup("a").entry)
        assert ledger.fill(standing, _value()) is None
        assert ledger.fill(ledger.reserve("b"), _value()) is None
        assert ledger.fill(ledger.reserve("c"), _value(b"x" * 2_000_000)) is None
        assert [True, True] == ledger.void_many([("a", _version(2)), ("d", _version(2))])
        assert 0 == ledger.void_prefix("p/", _version(2))
        assert b"e" == read(ledger.confirm(checking, _version(1)))
        ledger.suspect()
        assert 1 == ledger.evict(["e"])
        ledger.doubt()
        assert (None, None) == (ledger.lookup("a").entry, ledger.lookup("a").beat)
        redis_server.command("CONFIG", "SET", "maxmemory", "0")
        assert ledger.fill(ledger.reserve("a"), _value(b"old", 1)) is None


def _lose_state(raw: Any) -> None:
    (name,) = raw.scan_iter(match="*cache:state")
    raw.delete(name)


def test_a_state_that_is_lost_alone_leaves_no_entry_checked(ledger: CacheLedger, raw: Any) -> None:
    """Redis may evict it, or somebody delete it: what was filled before is older than a doubt."""
    for number in range(10):
        ledger.void("other", _version(number))
    ledger.fill(ledger.reserve("a"), _value())
    standing = ledger.reserve("b")

    _lose_state(raw)
    ledger.void("b", _version(20))
    ledger.suspect()

    entry = ledger.lookup("a").entry
    assert entry is None or not entry.checked
    assert ledger.fill(standing, _value()) is None


def test_each_loss_of_the_state_is_told(ledger: CacheLedger, raw: Any) -> None:
    """Who counted on the position hears that it is gone, the second time too."""
    position = Position(UUID(int=1), 1, 5, b"12345678")
    ledger.advance(position)
    for _ in range(2):
        _lose_state(raw)
        with pytest.raises(PositionLost):
            ledger.advance(position)
        ledger.suspect()
        ledger.advance(None)
        ledger.advance(position)

    assert position == ledger.position()


_FILLS = """
import io, sys
from antiphon.storage.journal import Version
from antiphon.storage.ledger import Fill
from antiphon.storage.redis_store import RedisStore

with RedisStore(sys.argv[1], namespace="n") as store, RedisStore(sys.argv[1], namespace="s") as s:
    ledger = store.cache_ledger()
    print("ready", flush=True)
    while not s.exists("stop"):
        reservation = ledger.reserve("a/b")
        value = s.get("a/b")
        ledger.fill(reservation, Fill(value.data, value.metadata, None, None, value.version))
"""


def test_processes_never_keep_what_was_invalidated(redis_url: str, ledger: CacheLedger) -> None:
    """Other processes fill as fast as they can; after an invalidation nothing older is there."""
    with RedisStore(redis_url, namespace="s") as source:
        source.set("a/b", StringValue(b"0", {}))
        fillers = [
            subprocess.Popen([sys.executable, "-c", _FILLS, redis_url], stdout=subprocess.PIPE)
            for _ in range(2)
        ]
        for filler in fillers:
            assert filler.stdout is not None
            filler.stdout.readline()
        wrong = 0
        for number in range(1, 400):
            version = source.set("a/b", StringValue(b"%d" % number, {}))
            if number % 3:
                ledger.void("a/b", version)
            else:
                ledger.void_prefix("a/", version)
            data = read(ledger.lookup("a/b").entry)
            wrong += data is not None and int(data) < number
        deadline = time.monotonic() + 30
        while ledger.lookup("a/b").entry is None and time.monotonic() < deadline:
            pass
        filled = ledger.lookup("a/b").entry is not None
        source.set("stop", StringValue(b"", {}))
        for filler in fillers:
            filler.communicate()

    assert [0, 0] == [filler.returncode for filler in fillers]
    assert 0 == wrong
    assert filled
