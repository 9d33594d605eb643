"""A store on Antiphon's server: what it has beyond the manual's protocol."""

from __future__ import annotations

import io
import resource
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import trustme

from antiphon import CacheInvalidator, open_bus, open_store
from antiphon.errors import (
    AuthenticationError,
    InvalidURL,
    InvalidValue,
    ReadOnlyStore,
    StoreError,
    StoreUnavailable,
    VersionConflict,
)
from antiphon.events.api import EventManager
from antiphon.server import Account, Accounts, store_app, token_hash
from antiphon.server.serving import TLS, HttpServer
from antiphon.storage.dict_memory_store import DictMemoryStore
from antiphon.storage.dynamic_url_store import DynamicURLStore
from antiphon.storage.events import StoreModificationEvent
from antiphon.storage.journal import ABSENT, Position
from antiphon.storage.mounted_store import MountedStore
from antiphon.storage.passwords import hash_password
from antiphon.storage.sqlite_store import SqliteStore
from antiphon.storage.static_url_store import StaticURLStore
from antiphon.storage.string_value import StringValue
from http_media import Web, client, running_web
from web_server import running

#: More than is read at once.
LARGE = b"0123456789" * 300_000


@pytest.fixture(scope="module")
def web() -> Iterator[Web]:
    """One server for all tests; each has a store of its own on it."""
    with running_web() as web:
        yield web


@pytest.fixture
def medium(tmp_path: Path) -> SqliteStore:
    """The store that is served."""
    return SqliteStore(tmp_path / "store.db", durable=False, origin="catalogue")


@pytest.fixture
def store(web: Web, medium: SqliteStore) -> Iterator[DynamicURLStore]:
    """A connected client."""
    with web.serving(medium) as url, client(url) as store:
        store.event_manager = EventManager()
        yield store


def test_the_server_says_what_it_serves(store: Any, medium: SqliteStore) -> None:
    """Identity and name are those of the store behind it."""
    info = store.info()

    assert (str(medium.store_id), "catalogue") == (info["store_id"], store.origin)
    assert (False, False, True) == (info["readonly"], info["authorizing"], info["versions"])


def test_data_and_metadata_come_in_one_request(store: Any, monkeypatch: Any) -> None:
    """Also metadata that are too long for a header."""
    sent: list[str] = []
    request = store._server.client.request

    def watched(method: str, url: str, *args: Any, **kwargs: Any) -> Any:
        sent.append(f"{method} {url.rpartition('/')[2]}")
        return request(method, url, *args, **kwargs)

    monkeypatch.setattr(store._server.client, "request", watched)
    for data in (b"data", LARGE):
        for metadata in ({"n": 1}, {"long": "x" * 10_000}):
            del sent[:]
            store.set("a", StringValue(data, metadata))
            value = store.get("a")
            found = (value.data.read(), value.metadata, value.size, value.version is not None)

            assert (data, metadata, len(data), True) == found
            assert ["PUT value", "GET value"] == sent


def test_a_cache_confirms_a_large_value_without_reading_it(
    store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a lost history one small request says that an entry is still right."""
    version = store.from_bytes("p/a", LARGE)
    mounted = MountedStore("p/", DictMemoryStore(), store, fill=True)
    mounted.connect()
    assert LARGE == mounted.get("p/a").data.read()
    mounted.filling.ledger.advance(store.head())
    mounted.filling.ledger.beat()
    mounted.filling.ledger.suspect()
    monkeypatch.setattr(DynamicURLStore, "get", None)

    assert version == store.get_version("p/a")
    assert LARGE == mounted.get("p/a").data.read()
    assert 1 == mounted.cache_stats().confirmed
    with pytest.raises(KeyError):
        store.get_version("p/b")


def test_a_large_value_gives_no_parts_of_two_versions(store: Any, medium: SqliteStore) -> None:
    """A later request says which version it wants, and another one is an error."""
    store.set("a", StringValue(LARGE))
    value, stream = store.get("a"), store.get_data("a")
    assert LARGE[5:9] == value.range(5, 9).read()
    stream.read(10)
    medium.set("a", StringValue(LARGE[::-1]))

    with pytest.raises(VersionConflict, match="changed while"):
        value.range(5, 9)
    with pytest.raises(VersionConflict, match="changed while"):
        stream.seek(2_000_000)
        stream.read()
    assert LARGE == value.data.read()


def test_a_large_upload_that_would_be_refused_is_not_sent(store: Any) -> None:
    """The version is asked for first, so that nothing is sent in vain."""
    store.set("a", StringValue(b"1"))
    read: list[int] = []

    class Source(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            read.append(size or 0)
            return super().read(size)

    with pytest.raises(VersionConflict, match="'a'"):
        store.set_data("a", Source(LARGE * 10), expect=ABSENT)

    assert len(read) <= 3


def test_what_is_too_large_is_refused(web: Web, medium: SqliteStore) -> None:
    """As soon as that shows; the old value stays."""
    with web.serving(medium, max_value_bytes=100) as url, client(url) as store:
        store.set("a", StringValue(b"old"))
        for data in (b"x" * 101, LARGE):
            with pytest.raises(InvalidValue, match="100 bytes"):
                store.set("a", StringValue(data))

        assert b"old" == store.to_bytes("a")


def test_the_journal_is_read_page_by_page(store: Any, medium: SqliteStore) -> None:
    """However long it is; what was read on one page is not asked for again."""
    with medium.transaction("many"):
        for number in range(1500):
            medium.set_metadata(f"k{number}", {})
    for number in range(1500):
        medium.set_metadata("z", {"n": number})
    head = store.head()
    entries = list(store.since(Position(head.store_id, head.epoch, 0, b"")))

    assert list(range(1, 3001)) == [entry.version.sequence for entry in entries]
    assert list(medium.since(Position(head.store_id, head.epoch, 0, b""))) == entries


def test_an_own_write_links_to_the_entry_before(store: Any, medium: SqliteStore) -> None:
    """A cache in the writer's process knows from its event that it missed nothing."""
    before = medium.set("a", StringValue(b"1"))
    links: list[bytes] = []
    store.event_manager.connect(StoreModificationEvent, lambda event: links.append(event.link))
    store.set("b", StringValue(b"2"))

    assert before is not None
    assert [before.entry_id[:4]] == links


def test_a_server_that_cannot_be_written_says_so(web: Web, tmp_path: Path) -> None:
    """A store that is read-only there is so here; reading goes on."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a").write_bytes(b"data")
    (tmp_path / "index.json").write_text('{"a": {"n": 1}}')
    static = StaticURLStore(tmp_path.as_uri() + "/", "data/", "index.json", poll=0)
    with web.serving(static) as url, client(url) as store:
        for write in (
            lambda: store.set("a", StringValue(b"new")),
            lambda: store.set("a", StringValue(LARGE)),
            lambda: store.update_metadata("a", {}),
            lambda: store.delete("a"),
        ):
            with pytest.raises(ReadOnlyStore):
                write()

        assert store.info()["readonly"]
        assert (b"data", {"n": 1}) == (store.to_bytes("a"), store.get_metadata("a"))


def test_a_plain_server_has_no_journal_and_no_versions() -> None:
    """Who asks for them is told so."""
    with running() as plain, client(plain.url) as store:
        assert store.store_id is None
        with pytest.raises(StoreError, match="no journal"):
            store.head()
        with pytest.raises(StoreError, match="no versions"):
            store.set("a", StringValue(), expect=ABSENT)


def test_other_words_in_urls_are_used() -> None:
    """The formats and parts that the constructor takes."""
    with running() as plain:
        plain.data["a"], plain.metadata["a"] = b"data", {"n": 1}
        store = DynamicURLStore(
            plain.url, f"{plain.url}/query", "{base}/keys/{key}/{part}", "{base}/keys/{key}",
            {"data": "data", "metadata": "metadata", "permissions": "auth"},
        )  # fmt: skip
        with store:
            assert (b"data", {"n": 1}) == (store.to_bytes("a"), store.get_metadata("a"))
            store.delete("a")
        assert {} == plain.data


def test_a_session_that_is_given_is_used_and_stays_open() -> None:
    """Encore's credentials: a tag and a session, with whatever that does."""
    with running() as plain, requests.Session() as session:
        session.headers["X-Mine"] = "yes"
        seen: list[Any] = []
        plain.fault = lambda handler: seen.append(handler.headers["X-Mine"]) or False
        store = DynamicURLStore(f"{plain.url}/keys", f"{plain.url}/query")
        store.connect(("me", session))
        store.exists("a")
        tag = store.user_tag
        store.disconnect()

        assert ("me", {"yes"}) == (tag, set(seen))
        assert 200 == session.get(f"{plain.url}/query").status_code


@pytest.mark.parametrize("credentials", ["me", 5, {"user": "me"}, ("me", 5), {}])
def test_credentials_that_are_none_are_refused(credentials: Any) -> None:
    """Before anything is sent; the error repeats none of them."""
    with pytest.raises(InvalidValue, match="username"):
        client("http://127.0.0.1:1").connect(credentials)


def test_a_url_of_something_else_is_refused() -> None:
    """The error shows no password."""
    with pytest.raises(InvalidURL, match="http://") as caught:
        DynamicURLStore("ftp://me:secret@host/keys", "http://host/query")
    assert "secret" not in str(caught.value)


def accounts() -> Accounts:
    return Accounts(
        [Account("ann", hash_password("pässword"), token_hashes=(token_hash("open sesame"),))]
    )


def test_users_are_known_by_password_or_token(web: Web, medium: SqliteStore) -> None:
    """Whoever is not known is refused at connect, and may try again."""
    with web.serving(medium, authenticator=accounts()) as url:
        store = client(url)
        for wrong in (None, {"username": "ann", "password": "guess"}, {"token": "guess"}):
            with pytest.raises(AuthenticationError):
                store.connect(wrong)
            assert not store.is_connected()
        for right in ({"username": "ann", "password": "pässword"}, {"token": "open sesame"}):
            store.connect(right)
            assert "ann" == store.user_tag
            store.disconnect()


def test_tls_is_verified(tmp_path: Path, medium: SqliteStore) -> None:
    """A certificate of nobody known is refused, unless its authority is named."""
    authority = trustme.CA()
    signed = authority.issue_cert("127.0.0.1")
    signed.private_key_pem.write_to_path(tmp_path / "key.pem")
    signed.cert_chain_pems[0].write_to_path(tmp_path / "certificate.pem")
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    tls = TLS(str(tmp_path / "certificate.pem"), str(tmp_path / "key.pem"))
    with medium, store_app(medium) as app, HttpServer(app, tls=tls) as server:
        with pytest.raises(StoreUnavailable, match="ca_file"):
            open_store(f"dynamic+{server.url}").connect()
        with open_store(f"dynamic+{server.url}", ca_file=str(tmp_path / "authority.pem")) as store:
            store.from_bytes("a", b"data")

            assert b"data" == store.to_bytes("a")
        with open_store(
            f"static+{server.url}", ca_file=str(tmp_path / "authority.pem"), poll=0
        ) as static:
            assert b"data" == static.to_bytes("a")


class Pattern(io.RawIOBase):
    """A stream of many bytes that are nowhere in memory."""

    def __init__(self, size: int) -> None:
        self._left = size

    def read(self, size: int = -1) -> bytes:
        size = min(self._left, size)
        self._left -= size
        return b"x" * size


def test_streams_take_no_memory(store: Any) -> None:
    """In and out, and from key to key."""
    size = 64 << 20
    store.set_data("warm", Pattern(4 << 20))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    store.set_data("a", Pattern(size))
    store.set("b", store.get("a"))
    with store.get_data("b") as stream:
        read = sum(len(piece) for piece in iter(lambda: stream.read(1 << 20), b""))

    assert size == read
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 40 << 10  # KiB


# -- With a bus ----------------------------------------------------------------


def test_a_change_is_heard_once(web: Web, medium: SqliteStore, amqp_url: str, system: str) -> None:
    """By the client's own listeners: from the answer or from the broker, not from both."""
    with (
        open_bus(amqp_url, system=system) as theirs,
        open_bus(amqp_url, system=system) as ours,
        web.serving(medium) as url,
    ):
        medium.event_manager = theirs
        heard: list[Any] = []
        ours.connect(StoreModificationEvent, heard.append)
        with client(url) as store:
            store.event_manager = ours
            for number in range(20):
                store.set_metadata(f"k{number}", {"n": number})
            medium.set_metadata("last", {})
            wait_until(lambda: any(event.key == "last" for event in heard))

            assert 21 == len(heard)
            assert {id(store)} == {id(event.source) for event in heard}
            assert [entry.event_id for entry in medium.since(start_of(medium))] == sorted(
                event._event_id for event in heard
            )
    medium.event_manager = EventManager()


def test_a_cache_before_a_server_is_kept_right(web: Web, medium: SqliteStore, system: str) -> None:
    """The client is a backing store as any other, with a journal and events."""
    with (
        open_bus(f"memory://{system}", system=system) as theirs,
        open_bus(f"memory://{system}", system=system) as ours,
        web.serving(medium) as url,
    ):
        medium.event_manager = theirs
        medium.set("p/a", StringValue(b"1", {"n": 1}))
        backing = client(url)
        backing.event_manager = ours
        cache = MountedStore("p/", DictMemoryStore(), backing, fill=True)
        with backing, cache, CacheInvalidator(cache, ours, check_interval_s=0.05):
            wait_until(lambda: cache.to_bytes("p/a") == b"1" and cache.cache_stats().hits > 0)
            medium.set("p/a", StringValue(b"2", {"n": 2}))
            wait_until(lambda: cache.to_bytes("p/a") == b"2")
            backing.set("p/a", StringValue(b"3", {"n": 3}))
            wait_until(lambda: cache.to_bytes("p/a") == b"3")
            cache.set("p/b", StringValue(b"mine"))
            cache.push("p/b")

            assert b"mine" == medium.to_bytes("p/b")
    medium.event_manager = EventManager()


def start_of(medium: SqliteStore) -> Position:
    head = medium.head()
    return Position(head.store_id, head.epoch, 0, b"")


def wait_until(condition: Any, timeout_s: float = 20) -> None:
    """Wait until *condition*, or fail."""
    deadline = time.monotonic() + timeout_s
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline
        pause.wait(0.005)
