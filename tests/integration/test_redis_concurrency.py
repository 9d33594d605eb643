"""Many processes write to one Redis store; some are killed, and so is Redis."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from redis_checks import assert_consistent
from redis_data import make_durable, restart

from antiphon.storage.redis_store import RedisStore
from antiphon.testing.servers import Redis

_WRITER = Path(__file__).with_name("redis_writer.py")

Writer = subprocess.Popen[str]


@pytest.fixture
def redis_server(redis_server: Redis) -> Redis:
    """A Redis of the test's own, which loses nothing when it is killed."""
    make_durable(redis_server)
    return redis_server


def _start(url: str, name: str, *, threads: int, rounds: int) -> Writer:
    words = [sys.executable, str(_WRITER), url, "many", name, str(threads), str(rounds)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@contextmanager
def _writers(url: str, names: str, *, threads: int, rounds: int) -> Iterator[list[Writer]]:
    started = [_start(url, name, threads=threads, rounds=rounds) for name in names]
    try:
        yield started
    finally:
        for writer in started:
            writer.kill()
            writer.communicate()


def _confirmed(writer: Writer, count: int) -> list[str]:
    """Return the next *count* keys that a writer says are written."""
    assert writer.stdout is not None
    return [line.strip() for line, _ in zip(writer.stdout, range(count), strict=False)]


def _error_of(writer: Writer) -> str:
    """Return what a writer that has ended wrote about it; nothing of one that goes on."""
    return "" if writer.poll() is None else writer.communicate()[1]


def _group_tokens(url: str) -> set[str]:
    with RedisStore(url, namespace="many") as store:
        return {store.get_metadata(f"group/{part}")["token"] for part in "abc"}


def test_processes_and_threads_lose_no_write(redis_url: str) -> None:
    """Whatever 3 processes of 3 threads write at once, the journal tells the store, gapless."""
    with _writers(redis_url, "ABC", threads=3, rounds=12) as writers:
        results = [writer.communicate(timeout=100) for writer in writers]

    assert ["", "", ""] == [err for _, err in results]
    confirmed = [line for out, _ in results for line in out.split() if line != "done"]
    entries = assert_consistent(redis_url, "many")
    assert sorted(confirmed) == sorted(e.key for e in entries if e.key.startswith("own/"))
    with RedisStore(redis_url, namespace="many") as store:
        assert 3 * 3 * 12 == int(store.get("counter").data.read())
    assert 1 == len(_group_tokens(redis_url))


def test_writers_that_are_killed_leave_whole_commits(redis_url: str) -> None:
    """Kill -9 at any moment: journal and store agree, and nothing is half there."""
    confirmed: list[str] = []
    for turn in range(4):
        names = [f"{letter}{turn}" for letter in "AB"]
        with _writers(redis_url, names, threads=2, rounds=0) as writers:  # type: ignore[arg-type]
            for writer in writers:
                confirmed += _confirmed(writer, random.randint(1, 12))
            assert ["", ""] == [_error_of(writer) for writer in writers]

    entries = assert_consistent(redis_url, "many", after_crash=True)
    keys = [e.key for e in entries if e.key.startswith("own/")]
    assert set(confirmed) <= set(keys)
    assert len(keys) == len(set(keys))
    assert 1 == len(_group_tokens(redis_url))


def test_a_killed_redis_loses_and_doubles_nothing(redis_server: Redis) -> None:
    """With appendfsync always, what was confirmed is there once after kill -9 of Redis."""
    url = redis_server.redis_url
    confirmed: list[str] = []
    with _writers(url, "AB", threads=2, rounds=0) as writers:
        for _ in range(3):
            for writer in writers:
                confirmed += _confirmed(writer, random.randint(3, 15))
            restart(redis_server)
        for writer in writers:
            # They go on by themselves.
            confirmed += _confirmed(writer, 5)

    entries = assert_consistent(url, "many", after_crash=True)
    keys = [e.key for e in entries if e.key.startswith("own/")]
    assert set(confirmed) <= set(keys)
    assert len(keys) == len(set(keys))
    assert 1 == len(_group_tokens(url))
