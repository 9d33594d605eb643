"""Stores behind plain URLs: what is new in the index, broken indexes, credentials, odd keys."""

from __future__ import annotations

import base64
import contextlib
import gc
import json
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from antiphon import open_bus
from antiphon.errors import (
    AuthenticationError,
    AuthorizationError,
    IncompatibleStore,
    InvalidKey,
    InvalidURL,
    InvalidValue,
    NotConnected,
    StoreError,
    StoreUnavailable,
)
from antiphon.events.api import EventManager
from antiphon.storage.events import StoreModificationEvent
from antiphon.storage.http_options import HttpOptions
from antiphon.storage.static_url_store import StaticURLStore
from antiphon.storage.url_value import URLValue
from web_server import Handler, PlainWeb, running

#: Seconds after which a test gives up waiting.
PATIENCE_S = 20.0


@pytest.fixture
def web() -> Iterator[PlainWeb]:
    """A server with an index of two keys."""
    with running() as web:
        put(web, a={"n": 1}, b={"n": 2})
        web.files["/data/a"] = ({"Last-Modified": "Tue, 15 Nov 1994 12:45:26 GMT"}, b"data of a")
        yield web


def put(web: PlainWeb, tag: str | None = None, /, **index: Any) -> None:
    """Put an index on the server."""
    headers = {} if tag is None else {"ETag": tag}
    web.files["/index.json"] = (headers, json.dumps(index).encode())


@pytest.fixture
def make(web: PlainWeb) -> Iterator[Callable[..., StaticURLStore]]:
    """Make stores, and disconnect them after the test."""
    with contextlib.ExitStack() as stack:

        def make(poll: float = 0, **options: Any) -> StaticURLStore:
            store = StaticURLStore(f"{web.url}/", "data/", "index.json", poll, **options)
            store.event_manager = EventManager()
            stack.callback(store.disconnect)
            return store

        yield make


@pytest.fixture
def store(make: Any) -> Any:
    """A connected store that polls nothing."""
    store = make(http=HttpOptions(timeout_s=0.3))
    store.connect()
    return store


@pytest.fixture
def changes(store: Any) -> list[Any]:
    """What the store tells of changes."""
    heard: list[Any] = []
    store.event_manager.connect(StoreModificationEvent, heard.append)
    return heard


def told(events: list[Any]) -> list[Any]:
    return sorted((type(e).__name__, e.key, e.metadata) for e in events)


def wait_until(condition: Callable[[], object]) -> None:
    """Wait until *condition*, or fail."""
    deadline = time.monotonic() + PATIENCE_S
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline
        pause.wait(0.005)


# -- The index -----------------------------------------------------------------


def test_differences_of_the_index_are_told(web: PlainWeb, store: Any, changes: list[Any]) -> None:
    """What came is set, what changed updated, what went deleted; the first index tells nothing."""
    assert [] == changes
    put(web, a={"n": 1}, b={"n": 2.0}, c={})
    store.update_index()
    put(web, a={"n": 1}, c={})
    store.update_index()
    store.update_index()

    assert [
        ("StoreDeleteEvent", "b", {"n": 2.0}),
        ("StoreSetEvent", "c", {}),
        ("StoreUpdateEvent", "b", {"n": 2.0}),
    ] == told(changes)
    assert all(event.source is store for event in changes)
    assert ["a", "c"] == sorted(store.query_keys())


def test_what_was_observed_is_told_in_this_process_only(web: PlainWeb, make: Any) -> None:
    """Another process polls for itself: nothing is published."""
    with open_bus("memory://static") as here, open_bus("memory://static") as there:
        store, local, remote = make(), [], []
        store.event_manager = here
        store.connect()
        here.connect(StoreModificationEvent, local.append)
        there.connect(StoreModificationEvent, remote.append)
        put(web)
        store.update_index()
        emitted = here.stats().emitted

        assert (2, [], 0) == (len(local), remote, emitted)


def test_what_cannot_be_metadata_leaves_the_old_index(
    web: PlainWeb, store: Any, changes: list[Any]
) -> None:
    """Nor is half of the differences told, and the rest never."""
    old = sorted(store.query_keys())
    put(web, new={}, odd={"n": 10**30})
    with pytest.raises(StoreError):
        store.update_index()

    assert old == sorted(store.query_keys())
    assert [] == changes


def test_what_is_no_number_is_not_told_again(web: PlainWeb, store: Any, changes: list[Any]) -> None:
    """It is not equal to itself, and the same nevertheless."""
    put(web, nan={"n": {"!float": "nan"}})
    store.update_index()
    del changes[:]
    put(web, nan={"n": {"!float": "nan"}}, other={})
    store.update_index()

    assert ["other"] == [event.key for event in changes]


def test_a_listener_sees_the_new_index(web: PlainWeb, store: Any) -> None:
    """It is in place before anybody is told, and may be read again."""
    seen: list[Any] = []

    def look(event: Any) -> None:
        store.update_index()
        seen.append((event.key, store.exists(event.key)))

    store.event_manager.connect(StoreModificationEvent, look)
    put(web, b={"n": 2}, c={})
    store.update_index()

    assert [("a", False), ("c", True)] == seen


def test_an_index_that_is_the_same_is_not_sent_again(web: PlainWeb, store: Any) -> None:
    """A server with entity tags answers that nothing is new."""
    put(web, '"1"', a={"n": 5})
    store.update_index()
    sent: list[Any] = []

    def watch(handler: Handler) -> bool:
        sent.append(handler.headers.get("If-None-Match"))
        return False

    web.fault = watch
    store.update_index()
    put(web, '"2"', a={"n": 6})
    store.update_index()

    assert ['"1"', '"1"'] == sent
    assert {"n": 6} == store.get_metadata("a")


@pytest.mark.parametrize(
    ("broken", "error"),
    [
        (b'{"a": {"n": 1}', StoreError),
        (b"", StoreError),
        (b"\xff\xfe", StoreError),
        (b"[]", IncompatibleStore),
        (b"null", IncompatibleStore),
        (b'{"a": 1}', IncompatibleStore),
        (b'{"a": {"x": {"!unknown": 1}}}', IncompatibleStore),
        (b"[" * 100_000, StoreError),
    ],
)
def test_a_broken_index_leaves_the_old_one(
    web: PlainWeb, store: Any, changes: list[Any], broken: bytes, error: type[Exception]
) -> None:
    """The error says what it is, and nothing is told."""
    web.files["/index.json"] = ({}, broken)
    with pytest.raises(error):
        store.update_index()

    assert ({"n": 1}, []) == (store.get_metadata("a"), changes)


@pytest.mark.parametrize(
    "fault",
    [
        lambda handler: handler.fail(500),
        lambda handler: handler.fail(404),
        Handler.hang,
        lambda handler: handler.cut(b'{"a": {}}', 30),
    ],
)
def test_a_server_in_trouble_leaves_the_old_index(
    web: PlainWeb, store: Any, changes: list[Any], fault: Any
) -> None:
    """Whatever it does instead of sending one."""
    web.fault = fault
    with pytest.raises(StoreError):
        store.update_index()

    assert ({"n": 1}, []) == (store.get_metadata("a"), changes)


def test_a_query_reads_one_index(web: PlainWeb, store: Any) -> None:
    """Also if a new one comes while it is read."""
    found = store.query()
    first = next(found)
    put(web)
    store.update_index()

    assert {"a": {"n": 1}, "b": {"n": 2}} == dict([first, *found])
    assert [] == list(store.query())


# -- Polling -------------------------------------------------------------------


def test_the_index_is_looked_at_now_and_then(web: PlainWeb, make: Any) -> None:
    """As often as was asked for; failures are counted, and the next look is taken."""
    store = make(poll=0.01)
    heard: list[Any] = []
    store.event_manager.connect(StoreModificationEvent, heard.append)
    store.connect()
    put(web, a={"n": 9}, b={"n": 2})
    wait_until(lambda: heard)
    web.fault = lambda handler: handler.fail(500)
    wait_until(lambda: store.failed_polls >= 2)
    assert isinstance(store.last_error, StoreError)
    web.fault = None
    wait_until(lambda: store.last_error is None)

    assert [("StoreUpdateEvent", "a", {"n": 9})] == told(heard)


def test_a_store_that_nobody_has_any_more_polls_no_more(web: PlainWeb, make: Any) -> None:
    """Its thread ends with it."""
    store = StaticURLStore(f"{web.url}/", "data/", "index.json", poll=0.01)
    store.connect()
    before = [thread for thread in threading.enumerate() if thread.name == "antiphon index"]
    del store
    gc.collect()

    wait_until(lambda: not any(thread.is_alive() for thread in before))
    assert 1 == len(before)


def test_disconnecting_does_not_wait_for_the_next_poll(make: Any) -> None:
    """The thread ends at once, also when the interval is long."""
    store = make(poll=300)
    store.connect()
    began = time.monotonic()
    store.disconnect()

    assert time.monotonic() - began < 1
    with pytest.raises(NotConnected):
        store.update_index()


def test_a_listener_may_disconnect(web: PlainWeb, make: Any) -> None:
    """On the polling thread itself, which then ends."""
    store = make(poll=0.01)
    done = threading.Event()

    def stop(event: Any) -> None:
        store.disconnect()
        done.set()

    store.event_manager.connect(StoreModificationEvent, stop)
    store.connect()
    put(web)

    assert done.wait(PATIENCE_S)


# -- Connecting ----------------------------------------------------------------


def test_connecting_needs_an_index(web: PlainWeb, make: Any) -> None:
    """Otherwise the store is not connected, and leaves nothing open."""
    del web.files["/index.json"]
    store = make()
    with pytest.raises(StoreError, match="index"):
        store.connect()

    assert not store.is_connected()


def test_a_directory_without_an_index_is_an_error(tmp_path: Path) -> None:
    """As a server without one is."""
    store = StaticURLStore(tmp_path.as_uri() + "/", "data/", "index.json")
    with pytest.raises(StoreError, match="no index"):
        store.connect()


BASIC = "Basic " + base64.b64encode("me:pässword".encode()).decode()


def test_credentials_are_sent(web: PlainWeb, make: Any) -> None:
    """From ``connect``, or from the URL, which no message shows."""
    web.user = BASIC
    store = make()
    with pytest.raises(AuthenticationError):
        store.connect()
    store.connect({"username": "me", "password": "pässword"})
    assert b"data of a" == store.to_bytes("a")
    host = web.url.removeprefix("http://")
    url = f"http://me:p%C3%A4ssword@{host}/"
    with StaticURLStore(url, "data/", "index.json", poll=0) as other:
        assert b"data of a" == other.to_bytes("a")
        assert "ssword" not in repr(other) + other.root_url


def test_handlers_of_urllib_are_used(web: PlainWeb, make: Any) -> None:
    """A factory of authentication gets the credentials; a proxy's handler is asked."""
    web.user = "Basic " + base64.b64encode(b"me:secret").decode()
    credentials = {"username": "me", "password": "secret"}
    store = make()
    store.connect(credentials, auth_handler_factory=urllib.request.HTTPBasicAuthHandler)
    assert b"data of a" == store.to_bytes("a")

    proxied = StaticURLStore("http://no.such.host/", "data/", "index.json", poll=0)
    handler = urllib.request.ProxyHandler({"http": web.url})
    web.user = None
    web.files["http://no.such.host/index.json"] = web.files["/index.json"]
    web.files["/index.json"] = ({}, b"{}")
    proxied.connect(proxy_handler=handler)
    assert web.requests[-1][1] == "http://no.such.host/index.json"
    proxied.disconnect()


def test_a_factory_of_ones_own_gets_the_credentials_as_documented(web: PlainWeb, make: Any) -> None:
    """With the words of the manual."""
    given: list[dict[str, Any]] = []

    class Mine(urllib.request.BaseHandler):
        def add_password(self, **kwargs: Any) -> None:
            given.append(kwargs)

    make().connect({"username": "me", "password": "x"}, auth_handler_factory=Mine)

    assert [
        {"uri": f"{web.url}/", "realm": "encore.storage", "username": "me", "password": "x"}
    ] == given


@pytest.mark.parametrize("credentials", ["me", {"username": "me"}, ("a", "b", "c")])
def test_credentials_that_are_none_are_refused(make: Any, credentials: Any) -> None:
    """The error says what they are."""
    with pytest.raises(InvalidValue, match="username"):
        make().connect(credentials)


@pytest.mark.parametrize(("url", "poll"), [("/data", 1), ("http://h:x/", 1), ("http://h/", -1)])
def test_arguments_that_make_no_sense_are_refused(url: str, poll: float) -> None:
    """Before anything is done."""
    with pytest.raises((InvalidURL, InvalidValue)):
        StaticURLStore(url, "data/", "index.json", poll)


# -- Keys and data -------------------------------------------------------------


@pytest.mark.parametrize(
    "key", ["../secret", "..", "a/../../secret", "", "./a", "..\\secret", "a\0"]
)
def test_a_key_leads_nowhere_else(tmp_path: Path, key: str) -> None:
    """Whatever an index says, nothing outside of the data is read."""
    (tmp_path / "store" / "data").mkdir(parents=True)
    (tmp_path / "store" / "secret").write_bytes(b"secret")
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "store" / "index.json").write_text(json.dumps({key: {"n": 1}}))
    root = (tmp_path / "store").as_uri() + "/"
    with StaticURLStore(root, "data/", "index.json", poll=0) as store:
        for read in (store.get, store.get_data, store.to_bytes):
            with pytest.raises(InvalidKey, match="elsewhere"):
                read(key)

        assert {"n": 1} == store.get_metadata(key)


@pytest.mark.parametrize(
    "key", ["/etc/passwd", "%2e%2e/secret", "a?b", "a#b", "a b", "ü/日本", "a%"]
)
def test_any_other_key_is_read(tmp_path: Path, key: str) -> None:
    """No sign means anything in a URL."""
    path = tmp_path / "data" / key.lstrip("/")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"data")
    (tmp_path / "index.json").write_text(json.dumps({key: {}}))
    with StaticURLStore(tmp_path.as_uri() + "/", "data/", "index.json", poll=0) as store:
        assert b"data" == store.to_bytes(key)


def test_data_that_are_not_there_are_a_key_error(web: PlainWeb, store: Any, tmp_path: Path) -> None:
    """The index is ahead of the data; on a server and in a directory."""
    with pytest.raises(KeyError, match="/data/b"):
        store.to_bytes("b")
    (tmp_path / "index.json").write_text('{"b": {}}')
    local = StaticURLStore(tmp_path.as_uri() + "/", "data/", "index.json", poll=0)
    with local, pytest.raises(KeyError, match="/data/b"):
        local.to_bytes("b")


def test_data_that_are_cut_short_are_an_error(web: PlainWeb, store: Any) -> None:
    """They never pass as whole."""
    web.fault = lambda handler: handler.cut(b"data", 9)
    with pytest.raises(StoreUnavailable):
        store.to_bytes("a")
    # urllib itself takes it for the end.
    with pytest.raises(StoreUnavailable, match=r"4 of 9 bytes|5 bytes too early"):
        _ = URLValue(f"{web.url}/data/a").data


def test_a_value_knows_what_the_server_tells(store: Any) -> None:
    """Size and time of change; nothing has permissions."""
    value = store.get("a")

    assert (9, 784903526.0, None) == (value.size, value.modified, value.created)
    assert b"ta" == value.range(2, 4).read()
    with pytest.raises(AuthorizationError):
        value.permissions


def test_a_value_of_a_url_stands_alone(web: PlainWeb, tmp_path: Path) -> None:
    """With an opener of ``urllib``, or the default one, and any URL that it opens."""
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    opener = urllib.request.build_opener()
    for value in (URLValue(path.as_uri(), {"n": 1}), URLValue(path.as_uri(), {"n": 1}, opener)):
        assert (b"0123456789", {"n": 1}, 10) == (value.data.read(), value.metadata, value.size)
        for start, end in [(2, 5), (None, 3), (7, None), (-3, None), (-4, -2), (5, 2), (20, 30)]:
            assert b"0123456789"[start:end] == value.range(start, end).read()
    web_value = URLValue(f"{web.url}/data/a")
    assert (b"data of a", {}) == (web_value.open().read(), web_value.metadata)
    with pytest.raises(KeyError, match="none"):
        _ = URLValue(f"{web.url}/none").data
