"""Bad addresses, bad passwords, full memory: one clear error each, and nothing half written."""

from __future__ import annotations

import logging
import socket
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
from redis_checks import assert_consistent, raw_client

from antiphon.errors import (
    AuthorizationError,
    IncompatibleStore,
    InvalidURL,
    ReadOnlyStore,
    StoreError,
    StoreFull,
    StoreUnavailable,
)
from antiphon.storage.redis_store import RedisStore
from antiphon.storage.string_value import StringValue
from antiphon.testing.servers import Redis

SECRET = "s3cret-pass"


@contextmanager
def _settings(server: Redis, **settings: str) -> Iterator[None]:
    """Change settings of a Redis that belongs to the test."""
    for name, value in settings.items():
        server.command("CONFIG", "SET", name.replace("_", "-"), value)
    yield


def _with_password(url: str, password: str, user: str = "") -> str:
    parts = urlsplit(url)
    return f"redis://{user}:{password}@{parts.hostname}:{parts.port}{parts.path}"


def _messages(error: BaseException | None) -> str:
    """Return all that a traceback would show of an error."""
    texts = []
    while error is not None:
        texts.append(f"{error} {error!r}")
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return "\n".join(texts)


def test_nobody_listens_there() -> None:
    """A refused connection names host and port, at once, and no password."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    store = RedisStore(f"redis://me:{SECRET}@127.0.0.1:{port}/0?namespace=n")

    with pytest.raises(StoreUnavailable, match=f"127.0.0.1:{port}/0 cannot be reached") as caught:
        store.connect()
    assert SECRET not in _messages(caught.value)


def test_an_unreachable_redis_is_told_in_one_line() -> None:
    """The traceback has one cause, in one line, and ends with one sentence of ours."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    store = RedisStore(f"redis://127.0.0.1:{port}/0?namespace=n")
    with pytest.raises(StoreUnavailable) as caught:
        store.connect()

    text = "".join(traceback.format_exception(caught.value))
    cause, _, ours = text.partition("The above exception was the direct cause")
    assert [f"redis.exceptions.ConnectionError: Error 111 connecting to 127.0.0.1:{port}."] == [
        line.removesuffix(" Connection refused.") for line in cause.strip().splitlines()
    ]
    assert 1 == ours.count("Traceback")
    assert ours.strip().endswith(
        f"Redis at redis://127.0.0.1:{port}/0 cannot be reached (Connection refused):"
        " is it running, and is the address right?"
    )


def test_a_host_that_does_not_exist() -> None:
    """An unknown name is told as what it is."""
    store = RedisStore("redis://no-such-host.invalid/0?namespace=n")

    with pytest.raises(StoreUnavailable, match=r"no-such-host.invalid:6379/0 cannot be reached"):
        store.connect()


def test_a_socket_that_does_not_exist(tmp_path: Any) -> None:
    """A missing Unix socket is told by its path."""
    store = RedisStore(f"unix://{tmp_path}/redis.sock?namespace=n")

    with pytest.raises(StoreUnavailable, match=r"redis.sock\?db=0 cannot be reached"):
        store.connect()


def test_who_takes_connections_and_says_nothing_is_given_up() -> None:
    """A black hole costs the time that an answer may take, once, and leaves nothing open."""
    with socket.create_server(("127.0.0.1", 0)) as hole:
        url = f"redis://127.0.0.1:{hole.getsockname()[1]}/0?namespace=n"
        store = RedisStore(url, timeout_s=0.2, retry_s=0.1)
        began = time.monotonic()
        with pytest.raises(StoreUnavailable, match=r"did not answer within 0\.2 s"):
            store.connect()

        assert time.monotonic() - began < 2
        assert not store.is_connected()


def test_who_answers_is_no_redis() -> None:
    """Another protocol on that port is an error of ours, too."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            client, _ = server.accept()
            with client:
                client.recv(1000)
                client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(StoreError):
            RedisStore(f"redis://127.0.0.1:{server.getsockname()[1]}?namespace=n").connect()
        thread.join()


def test_a_wrong_password_is_refused_and_not_shown(redis_server: Redis) -> None:
    """Wrong and missing passwords are AuthorizationError; the right one works, given either way."""
    url = redis_server.redis_url
    with _settings(redis_server, requirepass="right"):
        for wrong in (url, _with_password(url, SECRET), _with_password(url, SECRET, "nobody")):
            with pytest.raises(AuthorizationError, match="user name or password") as caught:
                RedisStore(wrong, namespace="n").connect()
            assert SECRET not in _messages(caught.value)
        with RedisStore(_with_password(url, "right"), namespace="n") as store:
            assert "right" not in repr(store)
        for credentials in ("right", (None, "right"), {"password": "right"}):
            store = RedisStore(url, namespace="n")
            store.connect(credentials)
            store.disconnect()


def test_a_user_without_rights_is_told(redis_server: Redis) -> None:
    """What an access list forbids is said at connect, before half a commit can happen."""
    rights = "+@read +@write +@scripting +time +info +select +client +ping"
    store = RedisStore(_with_password(redis_server.redis_url, "pw", "app"), namespace="n")

    def permit(keys: str, *more: str) -> None:
        words = ("reset", "on", ">pw", keys, *rights.split(), *more)
        redis_server.command("ACL", "SETUSER", "app", *words)

    permit("~{n}:*", "-@scripting")
    with pytest.raises(AuthorizationError, match="does not permit"):
        store.connect()
    permit("~{n}:*", "-xtrim", "-expire")
    with pytest.raises(AuthorizationError, match="may not run expire xtrim there"):
        store.connect()
    permit("~{other}:*")
    with pytest.raises(AuthorizationError):
        store.connect()
    permit("~{n}:*")
    with store:
        store.set("a", StringValue(b"x" * 2_000_000, {"n": 1}))
        assert ["a"] == list(store.query_keys(n=1))
        assert store.cache_ledger() is not None


def test_a_database_that_does_not_exist(redis_url: str) -> None:
    """A database number beyond the server's is a mistake in the URL."""
    base = redis_url.rpartition("/")[0]

    with pytest.raises(InvalidURL, match="no database 99999"):
        RedisStore(f"{base}/99999?namespace=n").connect()


def test_without_memory_nothing_is_written_and_deleting_works(redis_server: Redis) -> None:
    """A full Redis refuses whole commits, small and large; reads and deletes go on."""
    url = redis_server.redis_url
    with RedisStore(url, namespace="n") as store:
        store.set("a", StringValue(b"x" * 10_000, {"n": 1}))
        store.set("b", StringValue(b"1", {"n": 1}))
        redis_server.command("CONFIG", "SET", "maxmemory", "1000")

        def change_both() -> None:
            with store.transaction():
                store.delete("a")
                store.set("b", StringValue(b"2", {}))

        for write in (
            lambda: store.set("c", StringValue(b"1", {})),
            lambda: store.set("c", StringValue(b"1" * 3_000_000, {})),
            lambda: store.update_metadata("a", {"n": 2}),
            change_both,
        ):
            with pytest.raises(StoreFull, match=r"maxmemory 1000 bytes, noeviction\): nothing"):
                write()
        assert ["a", "b"] == list(store.query_keys(n=1))
        store.delete("a")
        assert ["b"] == list(store.query_keys())
    redis_server.command("CONFIG", "SET", "maxmemory", "0")
    assert ["set", "set", "delete"] == [e.action for e in assert_consistent(url, "n")]


def test_a_replica_takes_no_writes(redis_server: Redis) -> None:
    """Writing to a replica is told as what it is."""
    with RedisStore(redis_server.redis_url, namespace="n") as store:
        store.set("a", StringValue(b"1", {}))
        redis_server.command("REPLICAOF", "127.0.0.1", "1")

        with pytest.raises(ReadOnlyStore, match="is a replica"):
            store.set("a", StringValue(b"2", {}))
        assert b"1" == store.get("a").data.read()


def test_a_key_of_another_type_stops_the_whole_commit(redis_url: str) -> None:
    """Where a part of the store was overwritten by hand, nothing is written around it."""
    with RedisStore(redis_url, namespace="n") as store, raw_client(redis_url) as raw:
        store.set("a", StringValue(b"1", {"n": 1}))
        for part in ("k:b", 'i:"n"\t1', 'i:"n"\t2', "keys", "journal"):
            raw.delete("{n}:" + part)
            raw.set("{n}:" + part, "theirs")
            before = {n: raw.dump(n) for n in raw.scan_iter()}

            def change_both() -> None:
                with store.transaction():
                    store.set("a", StringValue(b"2", {"n": 2}))
                    store.set_metadata("b", {})

            with pytest.raises(IncompatibleStore, match="keys of another program"):
                change_both()
            assert before == {n: raw.dump(n) for n in raw.scan_iter()}
            raw.delete("{n}:" + part)


def test_a_journal_that_is_ahead_stops_the_commit(redis_url: str) -> None:
    """A meta hash that was put back by hand is noticed before anything is written."""
    with RedisStore(redis_url, namespace="n") as store, raw_client(redis_url) as raw:
        store.set("a", StringValue(b"1", {}))
        old = raw.hget("{n}:meta", "head")
        store.set("a", StringValue(b"2", {}))
        raw.hset("{n}:meta", "head", old)

        with pytest.raises(IncompatibleStore, match="changed by hand"):
            store.set("a", StringValue(b"3", {}))
        assert b"2" == store.get("a").data.read()


def test_a_held_up_redis_is_told(redis_server: Redis) -> None:
    """While somebody's script runs for ever, calls end with an error that says so."""
    redis_server.command("CONFIG", "SET", "lua-time-limit", "1")
    with (
        raw_client(redis_server.redis_url) as raw,
        RedisStore(redis_server.redis_url, namespace="n", retry_s=0.1) as store,
    ):

        def run_for_ever() -> None:
            with pytest.raises(Exception, match="killed"):
                raw.eval("while true do end", 0)

        thread = threading.Thread(target=run_for_ever)
        thread.start()
        errors: list[StoreUnavailable] = []
        while not errors:
            try:
                store.exists("a")
            except StoreUnavailable as exc:
                errors.append(exc)
        with raw_client(redis_server.redis_url) as other:
            other.script_kill()
        thread.join()

        assert "held up by somebody's script" in str(errors[0])
        assert not store.exists("a")


def test_a_redis_that_evicts_is_warned_of(
    redis_server: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """A Redis that would throw data away is connected to, with a warning."""
    with (
        _settings(redis_server, maxmemory="100mb", maxmemory_policy="allkeys-lru"),
        caplog.at_level(logging.WARNING, "antiphon.storage"),
        RedisStore(redis_server.redis_url, namespace="n"),
    ):
        pass

    assert "set maxmemory-policy to noeviction" in caplog.text
