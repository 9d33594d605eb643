"""Stores in Redis.

    .venv/bin/python -m benchmarks.stores.redis [--keys 1000000] [--save]

All are in one private Redis with ``appendonly yes`` and ``appendfsync everysec``.
The limit is redis-py by hand: value (SET), metadata (HSET) and a member in one index
set for each entry (SADD) in one MULTI.  It removes nothing: when an entry changes, the
key stays in the index set of what it was, and a query answers wrong.  *By hand, right*
reads what the key had, under WATCH, and removes that in the same MULTI: two round trips
more.  Neither has a journal, versions, conditions or events, and their metadata come
back as text.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import redis
from minimalkv.memory.redisstore import RedisStore as MinimalRedisStore

from antiphon.storage.redis_store import RedisStore
from antiphon.storage.string_value import StringValue
from antiphon.testing.servers import redis as private_redis
from benchmarks.stores import harness
from benchmarks.stores.harness import ByHand, Call, Item
from benchmarks.stores.minimal import MinimalKV


class Limit(ByHand):
    """redis-py by hand."""

    name = "by hand"
    prefix = "hand:"

    def __init__(self, url: str) -> None:
        self._redis: Any = redis.Redis.from_url(url, protocol=2)

    def fill(self, items: Iterator[Item]) -> None:
        while some := list(itertools.islice(items, 1000)):
            self._write(some)

    def operations(self) -> Mapping[str, Call]:
        return {
            "set": lambda item: self._write([item]),
            "set, new key": lambda item: self._write([item]),
            "get": self._get,
            "get_metadata": lambda item: self._redis.hgetall(self._metadata(item.key)),
            "query": self._query,
            "query_keys": lambda item: self._redis.smembers(self._index("group", item.group)),
            "multiset": lambda item: self._write(item.bulk),
            "multiget": self._multiget,
        }

    def _data(self, key: str) -> str:
        return f"{self.prefix}v:{key}"

    def _metadata(self, key: str) -> str:
        return f"{self.prefix}m:{key}"

    def _index(self, name: str, value: object) -> str:
        return f"{self.prefix}i:{name}:{value}"

    def _write(self, items: Sequence[Item]) -> None:
        with self._redis.pipeline(transaction=True) as pipe:
            for item in items:
                self._add(pipe, item)
            pipe.execute()

    def _add(self, pipe: Any, item: Item) -> None:
        pipe.set(self._data(item.key), item.data)
        pipe.hset(self._metadata(item.key), mapping=item.metadata)
        for name, value in item.metadata.items():
            pipe.sadd(self._index(name, value), item.key)

    def _get(self, item: Item) -> object:
        # One MULTI as well: data and metadata have to belong together.
        with self._redis.pipeline(transaction=True) as pipe:
            pipe.get(self._data(item.key))
            pipe.hgetall(self._metadata(item.key))
            return pipe.execute()

    def _multiget(self, item: Item) -> object:
        with self._redis.pipeline(transaction=True) as pipe:
            for each in item.bulk:
                pipe.get(self._data(each.key))
                pipe.hgetall(self._metadata(each.key))
            return pipe.execute()

    def _query(self, item: Item) -> object:
        keys = self._redis.smembers(self._index("group", item.group))
        with self._redis.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.hgetall(self._metadata(key.decode()))
            return list(zip(keys, pipe.execute(), strict=True))

    def close(self) -> None:
        self._redis.close()


class RightLimit(Limit):
    """By hand, and the index is right after a change."""

    name = "by hand, right"
    prefix = "right:"

    def operations(self) -> Mapping[str, Call]:
        return {"set": self._replace, "set, new key": self._replace}

    def _replace(self, item: Item) -> None:
        with self._redis.pipeline(transaction=True) as pipe:
            while True:
                pipe.watch(self._metadata(item.key))
                present = pipe.hgetall(self._metadata(item.key))
                pipe.multi()
                for name, value in present.items():
                    pipe.srem(self._index(name.decode(), value.decode()), item.key)
                self._add(pipe, item)
                with contextlib.suppress(redis.WatchError):
                    pipe.execute()
                    return


class MinimalInRedis(MinimalKV):
    """minimalkv over redis-py, whose connection is its own."""

    def __init__(self, url: str) -> None:
        self._redis: Any = redis.Redis.from_url(url, protocol=2)
        super().__init__(MinimalRedisStore(self._redis))

    def close(self) -> None:
        self._redis.close()


class Ours(harness.StoreContender):
    """Antiphon, with ``multiget``."""

    def operations(self) -> Mapping[str, Call]:
        return {**super().operations(), "multiget": self._multiget}

    def _multiget(self, item: Item) -> object:
        values = self.store.multiget([each.key for each in item.bulk])
        return [(value.data.read(), value.metadata) for value in values]


def main() -> None:
    """Measure."""
    with private_redis(given=False) as server:
        url = server.redis_url

        def contenders(keys: int) -> list[harness.Contender]:
            ours = RedisStore(url, namespace="benchmark", timeout_s=120.0)
            ours.connect()
            everyone: list[harness.Contender] = [Limit(url), Ours("Antiphon", ours, StringValue)]
            # A million keys of each would need more memory than many machines have.
            return everyone if keys > 100_000 else [*everyone, RightLimit(url), MinimalInRedis(url)]

        redis_version = redis.Redis.from_url(url, protocol=2).info("server")["redis_version"]
        versions = ", ".join(
            f"{name} {importlib.metadata.version(name)}"
            for name in ("redis", "hiredis", "minimalkv")
        )
        operations = (
            *harness.operations(set=0.8, get=0.9),
            harness.Operation("multiget", 5),
        )
        harness.main(
            "redis",
            contenders,
            operations,
            libraries=f"Antiphon this commit, {versions}, Redis {redis_version}",
            remarks=[
                "The limit: SET, HSET and three SADD in one MULTI by redis-py; old index entries",
                "stay, so its queries are wrong after a change.  'right' removes them (WATCH).",
                "Neither survives a torn log, see docs/reference/redis.md.  All are in a private",
                "Redis on this machine, appendonly yes, appendfsync everysec.  minimalkv has no",
                "metadata and no queries: metadata are a second key there, as JSON.",
            ],
        )


if __name__ == "__main__":
    main()
