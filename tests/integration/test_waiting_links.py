"""Waiting for a change over links and servers that do not let one wait for long."""

from __future__ import annotations

import dataclasses
import select
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self
from unittest.mock import patch
from urllib.parse import urlsplit

import pytest
import trustme

from antiphon import open_store
from antiphon.errors import AuthenticationError, NotConnected, StoreError, StoreUnavailable
from antiphon.server import Account, Accounts, token_hash
from antiphon.server.serving import TLS
from antiphon.storage import dynamic_url_store, http_waiting
from antiphon.storage.dict_memory_store import DictMemoryStore
from antiphon.storage.dynamic_url_store import DynamicURLStore
from antiphon.storage.journal import Position
from antiphon.storage.sqlite_store import SqliteStore
from antiphon.storage.string_value import StringValue
from antiphon.testing.store_server import ServedStore, serve
from http_media import client
from web_server import running

_LONG_S = 20.0


class Waiter:
    """A thread that waits, and what it got."""

    def __init__(self, store: Any, position: Position, timeout_s: float = 2 * _LONG_S) -> None:
        self.outcome: Any = None
        self._thread = threading.Thread(target=self._run, args=(store, position, timeout_s))
        self._thread.start()

    def _run(self, store: Any, position: Position, timeout_s: float) -> None:
        try:
            self.outcome = store.wait(position, timeout_s)
        except StoreError as exc:
            self.outcome = exc

    def join(self) -> Any:
        """Return what it got."""
        self._thread.join(_LONG_S)
        assert not self._thread.is_alive()
        return self.outcome


class ImpatientProxy:
    """Passes everything on, and cuts connections on which nothing happens for a while.

    Attributes:
        cuts: of connections whose client waited for an answer.
    """

    def __init__(self, url: str, idle_s: float) -> None:
        parts = urlsplit(url)
        self._target = (parts.hostname or "", parts.port or 80)
        self._idle_s = idle_s
        self.cuts = 0
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}{parts.path}"
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._server.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._forward, args=(sock,))
            self._threads.append(thread)
            thread.start()

    def _forward(self, near: socket.socket) -> None:
        with near, socket.create_connection(self._target) as far:
            others = {near: far, far: near}
            last = far
            while True:
                ready = select.select([near, far], [], [], self._idle_s)[0]
                if not ready:
                    self.cuts += last is near
                    return
                for last in ready:
                    piece = last.recv(1 << 16)
                    if not piece:
                        return
                    others[last].sendall(piece)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        for thread in self._threads:
            thread.join(_LONG_S)


@pytest.fixture
def medium(tmp_path: Path) -> SqliteStore:
    return SqliteStore(tmp_path / "store.db", durable=False)


def until(condition: Any) -> None:
    """Wait until *condition* holds."""
    deadline = time.monotonic() + _LONG_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def served(medium: SqliteStore) -> Iterator[ServedStore]:
    with medium, serve(medium) as served:
        yield served


def test_connections_that_are_cut_do_not_end_a_wait(
    served: ServedStore, medium: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shorter waits follow one another until there is something new."""
    monkeypatch.setattr(http_waiting, "_LEAST_S", 0.1)
    with ImpatientProxy(served.url, 0.8) as proxy, client(proxy.url) as store:
        waiter = Waiter(store, store.head())
        until(lambda: proxy.cuts >= 1)
        waiting = store._journal()._waiting
        until(lambda: waiting._longest_s < 0.6)
        cuts = proxy.cuts
        assert store.head() == store.wait(store.head(), 1.5)
        assert proxy.cuts <= cuts + 1
        medium.set("a", StringValue(b""))

        assert medium.head() == waiter.join()


def test_a_server_that_stops_lets_everyone_go(medium: SqliteStore) -> None:
    """At once, however long they would wait; whoever waits learns that it is gone."""
    with medium:
        with serve(medium) as served:
            store = client(served.url)
            store.connect()
            waiters = [Waiter(store, store.head()) for _ in range(3)]
            until(lambda: served.app.served.waiting.count == 3)
            begun = time.monotonic()
        took_s = time.monotonic() - begun
        outcomes = [waiter.join() for waiter in waiters]
        store.disconnect()

    assert took_s < 4
    assert [StoreUnavailable] * 3 == [type(outcome) for outcome in outcomes]


def test_a_restarted_server_is_waited_for_again(medium: SqliteStore) -> None:
    """The same client waits on once the server is back."""
    with medium:
        with serve(medium) as served:
            port = served.server.port
            store = client(served.url)
            store.connect()
            head = store.wait(store.head(), 0.01)
        with pytest.raises(StoreUnavailable):
            store.wait(head, 5)
        with serve(medium, port=port) as served:
            waiter = Waiter(store, head)
            until(lambda: served.app.served.waiting.count == 1)
            medium.set("a", StringValue(b""))
            assert medium.head() == waiter.join()
            store.disconnect()


def test_a_server_that_lets_nobody_wait_is_asked_again(
    medium: SqliteStore, served: ServedStore
) -> None:
    """As older ones are; own writes are found at once."""
    real = dynamic_url_store.parse_info
    with patch.object(
        dynamic_url_store, "parse_info", lambda raw: dataclasses.replace(real(raw), wait_s=0.0)
    ):
        store = client(served.url)
        store.connect()
    with patch.object(http_waiting, "_LOOK_PAUSES", http_waiting.Pauses(0.01, 0.1)):
        waiter = Waiter(store, store.head())
        medium.set("a", StringValue(b""))
        assert medium.head() == waiter.join()
    with patch.object(http_waiting, "_LOOK_PAUSES", http_waiting.Pauses(60, 60)):
        waiter = Waiter(store, store.head())
        watch = store._journal()._waiting._watch
        until(lambda: watch.waiting == 1)
        store.set("a", StringValue(b"own"))
        assert medium.head() == waiter.join()
        waiter = Waiter(store, store.head())
        until(lambda: watch.waiting == 1)
        store.disconnect()
        assert isinstance(waiter.join(), NotConnected)
    assert 0 == served.app.served.waiting.count


def test_where_too_many_wait_the_head_is_asked_for(medium: SqliteStore) -> None:
    """A client that is told to come again asks without waiting."""
    with medium, serve(medium, max_waiting=0) as served, client(served.url) as store:
        waiter = Waiter(store, store.head())
        medium.set("a", StringValue(b""))

        assert medium.head() == waiter.join()


def test_a_server_that_keeps_no_journal_cannot_be_waited_for() -> None:
    """One that knows the manual's protocol only says so."""
    with running() as web, client(web.url) as store, pytest.raises(StoreError, match="no journal"):
        store.wait(DictMemoryStore().head(), 1)


def test_whoever_is_not_known_any_more_is_told(medium: SqliteStore) -> None:
    """Waiting raises what asking would."""

    class Forgetful(Accounts):
        forgets = False

        def recall(self, header: str | None) -> Any:
            return super().recall("Bearer x" if self.forgets else header)

    accounts = Forgetful([Account("ann", token_hashes=(token_hash("t" * 16),))])
    with medium, serve(medium, authenticator=accounts) as served:
        store = client(served.url)
        store.connect({"token": "t" * 16})
        waiter = Waiter(store, store.head())
        until(lambda: served.app.served.waiting.count == 1)
        accounts.forgets = True
        medium.set("a", StringValue(b""))
        assert isinstance(waiter.join(), AuthenticationError)
        store.disconnect()


@pytest.mark.parametrize("secured", [False, True])
def test_disconnecting_frees_the_place_at_the_server(
    medium: SqliteStore, tmp_path: Path, secured: bool
) -> None:
    """A client that is disconnected waits no more, nor does the server for it."""
    tls, options = None, {}
    if secured:
        authority = trustme.CA()
        signed = authority.issue_cert("127.0.0.1")
        signed.private_key_pem.write_to_path(tmp_path / "key.pem")
        signed.cert_chain_pems[0].write_to_path(tmp_path / "certificate.pem")
        authority.cert_pem.write_to_path(tmp_path / "authority.pem")
        tls = TLS(str(tmp_path / "certificate.pem"), str(tmp_path / "key.pem"))
        options = {"ca_file": str(tmp_path / "authority.pem")}
    with medium, serve(medium, tls=tls) as served:
        store = open_store(f"dynamic+{served.url}", **options)
        assert isinstance(store, DynamicURLStore)
        store.connect()
        waiter = Waiter(store, store.head())
        until(lambda: served.app.served.waiting.count == 1)
        begun = time.monotonic()
        store.disconnect()
        outcome = waiter.join()
        until(lambda: served.app.served.waiting.count == 0)

        assert isinstance(outcome, NotConnected)
        assert time.monotonic() - begun < _LONG_S / 2
