"""Clients that wait for a change: answered in time, and none of them holds a thread."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any
from urllib.parse import quote

import pytest

from antiphon.errors import StoreUnavailable
from antiphon.server import Account, Accounts, StoreApp, store_app, stores_app, token_hash
from antiphon.server import waiting as server_waiting
from antiphon.storage.authorizing_store import AuthorizingStore, User
from antiphon.storage.dict_memory_store import DictMemoryStore
from antiphon.storage.joined_store import JoinedStore
from antiphon.storage.journal import JournalEntry, Position
from antiphon.storage.string_value import StringValue

_LONG_S = 20.0


class Request:
    """One request to an application; ``gone`` is what a client that goes away does."""

    def __init__(self, app: Any, path: str, token: str = "") -> None:
        where, _, query = path.partition("?")
        headers = [(b"authorization", f"Bearer {token}".encode())] if token else []
        scope = {
            "type": "http", "method": "GET", "path": where, "raw_path": where.encode(),
            "query_string": query.encode(), "headers": headers, "root_path": "", "client": None,
        }  # fmt: skip
        self.gone = asyncio.Event()
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.body = b""
        self.task = asyncio.ensure_future(app(scope, self._receive, self._send))

    async def _receive(self) -> dict[str, Any]:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = dict(message["headers"])
        else:
            self.body += message["body"]

    async def lines(self) -> list[Any]:
        """Return the lines of the answer, once it is there."""
        await asyncio.wait_for(self.task, _LONG_S)
        return [json.loads(line) for line in self.body.splitlines()]


def run(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run *work*, for not too long."""
    asyncio.run(asyncio.wait_for(work(), 4 * _LONG_S))


async def until(condition: Callable[[], bool]) -> None:
    """Return when *condition* holds."""
    deadline = time.monotonic() + _LONG_S
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def waiting(
    app: StoreApp,
    position: Position,
    *,
    path: str = "/journal/since",
    token: str = "",
    count: int = 1,
) -> AsyncIterator[list[Request]]:
    """Give requests that wait for something after *position*."""
    # Longer than an answer is waited for: what only the time-out ends is a failure.
    url = f"{path}?position={quote(str(position))}&wait_s={2 * _LONG_S:g}"
    requests = [Request(app, url, token) for _ in range(count)]
    before = app.served.waiting.count
    await until(lambda: app.served.waiting.count == before + count)
    yield requests
    await asyncio.gather(*(request.task for request in requests), return_exceptions=True)


@pytest.fixture
def store() -> DictMemoryStore:
    """A store with one key."""
    store = DictMemoryStore()
    store.set("a", StringValue(b"1"))
    return store


@pytest.fixture(autouse=True)
def _quick_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread that watches ends soon after the last client."""
    assert server_waiting._SLICE_S < 1
    monkeypatch.setattr(server_waiting, "_SLICE_S", 0.05)


def test_a_commit_ends_the_wait(store: DictMemoryStore) -> None:
    """The entries come as soon as they are there."""

    async def work() -> None:
        with store_app(store) as app:
            async with waiting(app, store.head()) as (request,):
                store.set("b", StringValue(b"2"))
                entry, end = await request.lines()

        assert ["b", {"count": 1, "more": False}] == [entry[3], end]

    run(work)


def test_the_head_can_be_waited_for(store: DictMemoryStore) -> None:
    """It is answered once it is another."""

    async def work() -> None:
        with store_app(store) as app:
            async with waiting(app, store.head(), path="/journal/head") as (request,):
                store.delete("a")

                assert [{"position": str(store.head())}] == await request.lines()

    run(work)


def test_without_a_change_the_answer_is_empty(store: DictMemoryStore) -> None:
    """After the time that the client named, and no earlier."""

    async def work() -> None:
        with store_app(store) as app:
            begun = time.monotonic()
            request = Request(app, f"/journal/since?position={store.head()}&wait_s=0.2")

            assert [{"count": 0, "more": False}] == await request.lines()
            assert time.monotonic() - begun >= 0.2

    run(work)


@pytest.mark.parametrize("wait_s", ["", "x", "-1", "nan", "inf", "1" * 40])
def test_the_time_is_a_number(store: DictMemoryStore, wait_s: str) -> None:
    """What is none is refused, and nobody waits."""

    async def work() -> None:
        with store_app(store) as app:
            request = Request(app, f"/journal/since?position={store.head()}&wait_s={wait_s}")
            (answer,) = await request.lines()

        assert (400, "InvalidValue") == (request.status, answer["error"])

    run(work)


@pytest.mark.parametrize("path", ["/journal/since", "/journal/head"])
def test_who_is_behind_does_not_wait(store: DictMemoryStore, path: str) -> None:
    """What is there already is answered at once."""

    async def work() -> None:
        before = store.head()
        store.delete("a")
        with store_app(store) as app:
            request = Request(app, f"{path}?position={before}&wait_s={_LONG_S:g}")
            answer = await request.lines()

        assert str(store.head().sequence) in str(answer[0])
        assert 200 == request.status

    run(work)


def test_many_wait_in_one_thread(store: DictMemoryStore) -> None:
    """A hundred clients hold a connection each, and no thread."""

    async def work() -> None:
        with store_app(store) as app:
            async with waiting(app, store.head(), count=100) as requests:
                threads = [
                    thread.name
                    for thread in threading.enumerate()
                    if thread.name.startswith("store-")
                ]
                store.set("b", StringValue(b"2"))
                answers = [await request.lines() for request in requests]

        assert 1 == threads.count("store-watcher")
        assert 20 > len(threads)
        assert [1] * 100 == [end["count"] for _, end in answers]

    run(work)


def test_too_many_are_told_to_come_again(store: DictMemoryStore) -> None:
    """Above the limit 503, and whoever asks without waiting is answered all the same."""

    async def work() -> None:
        head = store.head()
        with store_app(store, max_waiting=2) as app:
            async with waiting(app, head, count=2):
                third = Request(app, f"/journal/since?position={head}&wait_s=9")
                await third.lines()
                plain = Request(app, f"/journal/since?position={head}")
                await plain.lines()
                store.delete("a")

        assert (503, b"1") == (third.status, third.headers[b"retry-after"])
        assert 200 == plain.status

    run(work)


def test_a_client_that_goes_waits_no_more(store: DictMemoryStore) -> None:
    """Its place is free, and it gets no answer."""

    async def work() -> None:
        with store_app(store) as app:
            async with waiting(app, store.head()) as (request,):
                request.gone.set()
                await until(lambda: app.served.waiting.count == 0)
                await request.task

        assert 0 == request.status

    run(work)


def test_stopping_ends_every_wait(store: DictMemoryStore) -> None:
    """At once, with nothing new; later ones do not begin, until they may again."""

    async def work() -> None:
        head = store.head()
        with stores_app({"one": store}) as app:
            inner = app.apps["one"]
            begun = time.monotonic()
            async with waiting(inner, head, count=3) as requests:
                app.end_waits()
                answers = [await request.lines() for request in requests]
            late = Request(inner, f"/journal/since?position={head}&wait_s={_LONG_S:g}")
            answers.append(await late.lines())
            assert time.monotonic() - begun < _LONG_S / 2
            app.begin_waits()
            async with waiting(inner, head) as (request,):
                store.delete("a")
                await request.lines()

        assert [[{"count": 0, "more": False}]] * 4 == answers

    run(work)


def test_who_waits_is_asked_again_who_they_are(
    store: DictMemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user who was forgotten meanwhile learns nothing."""
    looked = threading.Event()
    since = store.since

    def noted(position: Position) -> list[JournalEntry]:
        entries = list(since(position))
        looked.set()
        return entries

    monkeypatch.setattr(store, "since", noted)

    class Forgetful(Accounts):
        forgets = False

        def recall(self, header: str | None) -> Any:
            return super().recall("Bearer x" if self.forgets else header)

    async def work() -> None:
        accounts = Forgetful([Account("ann", token_hashes=(token_hash("t" * 16),))])
        with store_app(store, authenticator=accounts) as app:
            async with waiting(app, store.head(), token="t" * 16) as (request,):
                # What the first look finds is told to whom was known then.
                await until(looked.is_set)
                accounts.forgets = True
                store.set("b", StringValue(b"2"))
                (answer,) = await request.lines()

        assert (401, "AuthenticationError") == (request.status, answer["error"])

    run(work)


def test_permissions_hold_when_the_answer_is_made(store: DictMemoryStore) -> None:
    """Who waits hears that something changed, and of which key if it may be seen by then."""

    async def work() -> None:
        served = AuthorizingStore(DictMemoryStore())
        served.connect()
        accounts = Accounts([Account("ann", token_hashes=(token_hash("t" * 16),))])
        bob = served.as_user(User("bob"))
        bob.set("shown", StringValue(b""))
        bob.set_permissions("shown", {"owned": {"bob"}, "get": {"ann"}})
        with store_app(served, authenticator=accounts) as app:
            told = []
            for key in ("hidden", "shown"):
                async with waiting(app, served.store.head(), token="t" * 16) as (request,):
                    bob.set_data(key, StringValue(b"2").data)
                    told.append((await request.lines())[0][3])

        assert [None, "shown"] == told

    run(work)


def test_a_store_that_fails_meanwhile_is_told(
    store: DictMemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits on for a store that cannot be read."""

    async def work() -> None:
        def fail(*args: object) -> Any:
            raise StoreUnavailable("the disk is gone")

        with store_app(store) as app:
            async with waiting(app, store.head()) as (request,):
                monkeypatch.setattr(DictMemoryStore, "head", fail)
                monkeypatch.setattr(DictMemoryStore, "since", fail)
                monkeypatch.setattr(DictMemoryStore, "wait", fail)
                (answer,) = await request.lines()

        assert (503, "StoreUnavailable") == (request.status, answer["error"])

    run(work)


def test_history_that_was_rewritten_is_told(store: DictMemoryStore) -> None:
    """Whoever waits at a position that is gone gets 410."""

    async def work() -> None:
        with store_app(store) as app:
            position = store.head()
            async with waiting(app, position) as (request,):
                store._journal.clear()
                store._watch.tell()
                (answer,) = await request.lines()

        assert (410, "PositionLost") == (request.status, answer["error"])

    run(work)


def test_a_joined_store_of_one_journal_has_one(store: DictMemoryStore) -> None:
    """The server passes on what the wrapper does; of two journals it can tell none."""

    async def work() -> None:
        statuses = []
        for stores in ([store], [store, DictMemoryStore()]):
            with store_app(JoinedStore(stores)) as app:
                request = Request(app, "/journal/head")
                await request.lines()
                statuses.append(request.status)

        assert [200, 501] == statuses

    run(work)


def test_the_thread_ends_when_nobody_waits(store: DictMemoryStore) -> None:
    """And begins anew when somebody does."""

    async def work() -> None:
        def is_watched() -> bool:
            return "store-watcher" in [thread.name for thread in threading.enumerate()]

        with store_app(store) as app:
            for _ in range(2):
                async with waiting(app, store.head()) as (request,):
                    assert is_watched()
                    store.set("b", StringValue(b"2"))
                    await request.lines()
                await until(lambda: not is_watched())

    run(work)
