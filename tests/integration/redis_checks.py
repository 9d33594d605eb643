"""What must hold in a namespace of Redis, whatever happened to it: read past the store."""

from __future__ import annotations

import math
from typing import Any
from urllib.parse import urlsplit

import redis

from antiphon.storage.journal import JournalEntry, Position
from antiphon.storage.redis_store import RedisStore


def raw_client(url: str) -> Any:
    """Return a bare redis-py client for *url*."""
    return redis.Redis.from_url(url.partition("?")[0], protocol=2)


def journal_of(store: RedisStore) -> list[JournalEntry]:
    """Return the whole journal, which must not have been truncated."""
    assert store.store_id is not None
    return list(store.since(Position(store.store_id, store.head().epoch, 0, b"")))


def assert_consistent(url: str, namespace: str, *, after_crash: bool = False) -> list[JournalEntry]:
    """Check journal, records, keys, index and generations against each other.

    What a killed writer had sent may still arrive meanwhile; then all is checked again.

    Args:
        url: of the database.
        namespace: of the store.
        after_crash: whether Redis crashed, or a writer was killed: that may have torn
            a staging, and left chunks without an end of their time that are only noted
            as staged.

    Returns:
        The journal.
    """
    with RedisStore(url, namespace=namespace) as store, raw_client(url) as raw:
        while True:
            head = store.head()
            try:
                return _check(store, raw, namespace, after_crash)
            except AssertionError:
                if store.head() == head:
                    raise


def _check(store: RedisStore, raw: Any, namespace: str, after_crash: bool) -> list[JournalEntry]:
    entries = journal_of(store)
    assert [e.version.sequence for e in entries] == list(range(1, len(entries) + 1))
    assert len({e.version.entry_id for e in entries}) == len(entries)
    assert len({e.event_id for e in entries}) == len(entries)
    assert not entries or entries[-1].last
    assert store.head().sequence == len(entries)

    expected = {}
    present: set[str] = set()
    for entry in entries:
        assert entry.key is not None
        if entry.action != "delete":
            assert entry.action == ("update" if entry.key in present else "set")
        expected[entry.key] = entry.version
        if entry.action == "delete":
            present.discard(entry.key)
            del expected[entry.key]
        else:
            present.add(entry.key)
    assert {key: store.get(key).version for key in store.query_keys()} == expected
    _assert_layout(raw, "{" + namespace + "}:", present, after_crash)
    return entries


def _assert_layout(raw: Any, prefix: str, keys: set[str], after_crash: bool) -> None:
    names = {n.decode() for n in raw.scan_iter() if n.decode().startswith(prefix)}
    assert {n for n in names if n.startswith(prefix + "k:")} == {f"{prefix}k:{key}" for key in keys}
    index: dict[bytes, set[bytes]] = {}
    generations: set[str] = set()
    for key in keys:
        header, lines, inline = raw.hmget(f"{prefix}k:{key}", "h", "m", "d")
        size, generation, chunk_bytes = header.decode().split(" ")[3:]
        assert (None if generation != "-" else int(size)) == (
            None if inline is None else len(inline)
        )
        if generation != "-":
            name = f"{prefix}g:{generation}"
            generations.add(name)
            assert raw.hlen(name) == math.ceil(int(size) / int(chunk_bytes))
            assert sum(map(len, raw.hvals(name))) == int(size)
        for line in filter(None, lines.split(b"\n")):
            assert len(line) <= 128, "these checks know no digests"
            index.setdefault(line, set()).add(key.encode())
    begin = prefix + "i:"
    sets = [name.removeprefix(begin) for name in names if name.startswith(begin)]
    assert {s.encode(): set(raw.zrange(begin + s, 0, -1)) for s in sets} == index
    # What no key refers to is on its way out, and what one refers to is not.
    staging = {f"{prefix}g:{token.decode()}" for token in raw.zrange(prefix + "staging", 0, -1)}
    assert not staging & generations
    for name in {n for n in names if n.startswith(prefix + "g:")} | generations:
        is_leaving = raw.ttl(name) != -1 or (after_crash and name in staging)
        assert is_leaving == (name not in generations)
    assert prefix + "intent" not in names


def host_and_port(url: str) -> tuple[str, int]:
    """Return where *url* points."""
    parts = urlsplit(url)
    return parts.hostname or "localhost", parts.port or 6379
