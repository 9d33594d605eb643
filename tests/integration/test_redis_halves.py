"""A commit of which any half came to life is made whole: every half that there can be."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from redis_checks import assert_consistent, raw_client
from redis_data import make_durable, read_data

from antiphon.storage.redis_calls import PackedCall
from antiphon.storage.redis_store import RedisStore
from antiphon.storage.string_value import StringValue
from antiphon.testing.servers import Redis

Write = Callable[[RedisStore], object]

#: Key -> what it holds in Redis and the milliseconds that it lives.
State = dict[bytes, tuple[bytes, int]]


@pytest.fixture
def redis_server(redis_server: Redis) -> Redis:
    """A Redis of the test's own, whose log has everything at once."""
    make_durable(redis_server)
    return redis_server


def _set_many(store: RedisStore) -> None:
    with store.transaction():
        store.set("small", StringValue(b"2" * 30_000, {"n": 2, "x": "y" * 100}))
        store.set("new", StringValue(b"", {"n": 2}))
        store.set("large", StringValue(b"2", {}))
        store.set_data("other", io.BytesIO(b"2"))


def _delete_and_set(store: RedisStore) -> None:
    with store.transaction():
        store.delete("other")
        store.set("small", StringValue(b"2", {"n": 2}))
        store.delete("large")


_WRITES: list[Write] = [
    lambda store: store.set("small", StringValue(b"22", {"n": 2, "kept": True})),
    lambda store: store.set("new", StringValue(b"2", {"n": 2})),
    lambda store: store.set("large", StringValue(b"2" * 2_000_000, {"n": 2})),
    lambda store: store.set_data("small", io.BytesIO(b"3")),
    lambda store: store.set_metadata("new", {"n": 3}),
    lambda store: store.update_metadata("small", {"more": "x"}),
    lambda store: store.set("small", StringValue(b"2", {}), expect=store.get("small").version),
    lambda store: store.delete("large"),
    _set_many,
    _delete_and_set,
]


def _commands(log: bytes) -> Iterator[list[bytes]]:
    """Yield the commands of an append-only file."""
    lines = io.BytesIO(log)
    while line := lines.readline():
        words = []
        for _ in range(int(line[1:])):
            size = int(lines.readline()[1:])
            words.append(lines.read(size + 2)[:-2])
        yield words


def _changes_of_last_script(server: Redis) -> list[list[bytes]]:
    files = read_data(server)
    log = files[max(name for name in files if name.endswith(".incr.aof"))]
    begin = log.rindex(b"*1\r\n$5\r\nMULTI\r\n")
    return [words for words in _commands(log[begin:]) if words[0] not in (b"MULTI", b"EXEC")]


def _save(raw: Any) -> State:
    return {name: (raw.dump(name), max(raw.pttl(name), 0)) for name in raw.scan_iter()}


def _restore(raw: Any, state: State) -> None:
    raw.flushdb()
    for name, (dump, ttl_ms) in state.items():
        raw.restore(name, ttl_ms, dump)


def _content(store: RedisStore) -> dict[str, tuple[bytes, dict[str, Any]]]:
    values = {key: store.get(key) for key in store.query_keys()}
    return {key: (value.data.read(), value.metadata) for key, value in values.items()}


@pytest.mark.parametrize("write", _WRITES)
def test_any_half_is_made_whole(redis_server: Redis, write: Write) -> None:
    """What Redis had written of it when it crashed changes nothing of what becomes of it."""
    url = redis_server.redis_url
    states: list[State] = []
    with RedisStore(url, namespace="n") as store, raw_client(url) as raw:
        for key, size in (("small", 10), ("large", 50_000), ("other", 1)):
            store.set(key, StringValue(b"1" * size, {"n": 1, "kept": True}))
        run_all = store._here.client.run_all

        def apart(calls: Any) -> list[Any]:
            if not isinstance(calls(False)[-1], PackedCall):
                return run_all(calls)  # no commit
            # What writes the commit down, and what does it, in two round trips.
            answers = run_all(lambda is_repetition: calls(is_repetition)[:-1])
            states.append(_save(raw))
            return answers + run_all(lambda is_repetition: calls(is_repetition)[-1:])

        store._here.client.run_all = apart  # type: ignore[method-assign]
        write(store)
        expected = _content(store)
        entries = [entry[:4] for entry in assert_consistent(url, "n")]
        changes = _changes_of_last_script(redis_server)
        assert len(changes) >= 4
        for count in range(len(changes) + 1):
            _restore(raw, states[-1])
            for words in changes[:count]:
                raw.execute_command(*words)
            with RedisStore(url, namespace="n") as again:
                assert expected == _content(again)
            assert entries == [entry[:4] for entry in assert_consistent(url, "n")]
