"""Any key, long values, TLS and a clean end, over real connections."""

from __future__ import annotations

import http.client
import io
import resource
import ssl
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import pytest
import requests
import trustme
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from antiphon.errors import AntiphonError
from antiphon.server import Account, Accounts, token_hash
from antiphon.server.serving import TLS
from antiphon.storage.dict_memory_store import DictMemoryStore
from antiphon.storage.sqlite_store import SqliteStore
from antiphon.testing.store_server import ServedStore, serve

MIB = 1 << 20

keys = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"])),
    st.lists(st.sampled_from(["/", ".", "..", "%", "data", "+", "?", "#", "é", "\0", "\n"])).map(
        "".join
    ),
)


def test_any_key_at_all() -> None:
    """What is set under a key over HTTP is there under that key, by path and by parameter."""
    store = DictMemoryStore()
    with serve(store) as served:
        connection = http.client.HTTPConnection(served.server.host, served.server.port)
        base = urlsplit(served.url).path

        def ask(method: str, path: str, body: bytes = b"") -> bytes:
            connection.request(method, base + path, body)
            return connection.getresponse().read()

        @settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
        @given(keys)
        def try_key(key: str) -> None:
            by_path, by_parameter = quote(key, safe=""), urlencode({"k": key})
            ask("PUT", f"/keys/{by_path}/data", b"one")
            assert [key] == list(store.query_keys())
            assert b"one" == ask("GET", f"/key/data?{by_parameter}")
            ask("PUT", f"/key/data?{by_parameter}", b"two")
            assert b"two" == ask("GET", f"/keys/{by_path}/data")
            ask("DELETE", f"/keys/{by_path}")
            assert [] == list(store.query_keys())

        try_key()
        connection.close()


def test_a_key_of_a_mebibyte() -> None:
    """The longest key that stores take fits the head of a request."""
    key = "é" * (MIB // 2)
    store = DictMemoryStore()
    with serve(store) as served:
        connection = http.client.HTTPConnection(served.server.host, served.server.port)
        statuses = []
        for name in (key, key + "x"):
            connection.request("PUT", f"{urlsplit(served.keys_url).path}/{quote(name)}/data", b"x")
            answer = connection.getresponse()
            statuses.append(answer.status)
            answer.read()
        connection.close()

        assert [201, 400] == statuses
        assert [key] == list(store.query_keys())


class Pattern(io.RawIOBase):
    """A stream of bytes that nobody holds."""

    def __init__(self, size: int) -> None:
        self._left = size

    def read(self, size: int = -1) -> bytes:
        """Return zeros."""
        size = min(self._left, size if size >= 0 else self._left)
        self._left -= size
        return bytes(size)


def test_long_values_take_little_memory(tmp_path: Path) -> None:
    """128 MiB go up and down, and the process never holds more than a few pieces."""
    size = 128 * MIB
    store = SqliteStore(str(tmp_path / "store.sqlite"), durable=False)
    with serve(store) as served, requests.Session() as session:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        answer = session.put(f"{served.keys_url}/a/data", data=Pattern(size))
        assert 201 == answer.status_code
        with session.get(f"{served.keys_url}/a/data", stream=True) as down:
            received = sum(map(len, down.iter_content(MIB)))

        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert size == received
        assert grown < 32 * 1024  # KiB


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Signs certificates for the tests."""
    return trustme.CA()


@pytest.fixture
def tls(authority: trustme.CA, tmp_path: Path) -> TLS:
    """A certificate for the loopback interface; clients need one, too."""
    signed = authority.issue_cert("127.0.0.1")
    signed.private_key_pem.write_to_path(tmp_path / "key.pem")
    for blob in signed.cert_chain_pems:
        blob.write_to_path(tmp_path / "certificate.pem", append=True)
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    return TLS(
        str(tmp_path / "certificate.pem"),
        str(tmp_path / "key.pem"),
        str(tmp_path / "authority.pem"),
    )


def get(served: ServedStore, context: ssl.SSLContext, token: str) -> int:
    """Return the status of a request over TLS."""
    connection = http.client.HTTPSConnection(
        served.server.host, served.server.port, context=context, timeout=10
    )
    try:
        path = urlsplit(served.url).path + "/info"
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
        return connection.getresponse().status
    finally:
        connection.close()


def test_tls_with_certificates_of_clients(authority: trustme.CA, tls: TLS) -> None:
    """Only who has a certificate of the authority comes as far as its token."""
    accounts = Accounts([Account("ann", token_hashes=(token_hash("open sesame"),))])
    known, unknown = ssl.create_default_context(), ssl.create_default_context()
    for context in (known, unknown):
        authority.configure_trust(context)
    authority.issue_cert("ann@example.org").configure_cert(known)

    with serve(DictMemoryStore(), tls=tls, authenticator=accounts) as served:
        assert served.url.startswith("https://")
        assert (200, 401) == (get(served, known, "open sesame"), get(served, known, "guess"))
        with pytest.raises((ssl.SSLError, ConnectionError)):
            get(served, unknown, "open sesame")


def test_bad_certificates_are_told_at_once(tls: TLS, tmp_path: Path) -> None:
    """A file that is missing or none is an error where the server is made."""
    (tmp_path / "empty.pem").write_text("")
    for certificate in (tmp_path / "missing.pem", tmp_path / "empty.pem"):
        with (
            pytest.raises((OSError, AntiphonError)),
            serve(DictMemoryStore(), tls=TLS(str(certificate), tls.key)),
        ):
            pass


class Slow(DictMemoryStore):
    """Waits in the middle of a write until it is told to go on."""

    def __init__(self) -> None:
        super().__init__()
        self.writing = threading.Event()
        self.go_on = threading.Event()

    def set_data(self, *args: Any, **kwargs: Any) -> Any:
        self.writing.set()
        assert self.go_on.wait(10)
        return super().set_data(*args, **kwargs)


def test_running_requests_end_before_the_server() -> None:
    """A write that was begun when the server is stopped is answered; no new one is taken."""
    store = Slow()
    statuses: list[int] = []
    with serve(store) as served:

        def put() -> None:
            statuses.append(requests.put(f"{served.keys_url}/a/data", data=b"x").status_code)

        client = threading.Thread(target=put)
        client.start()
        assert store.writing.wait(10)
        stopping = threading.Thread(target=served.server.stop)
        stopping.start()
        deadline = time.monotonic() + 10
        while is_taken(served):
            assert time.monotonic() < deadline
        store.go_on.set()
        client.join(10)
        stopping.join(10)

    assert [201] == statuses
    assert b"x" == store.to_bytes("a")


def is_taken(served: ServedStore) -> bool:
    """Whether the server still takes connections."""
    connection = http.client.HTTPConnection(served.server.host, served.server.port, timeout=5)
    try:
        connection.request("GET", "/")
        connection.getresponse().read()
        return True
    except OSError:
        return False
    finally:
        connection.close()


@pytest.fixture
def large() -> DictMemoryStore:
    """A store with a value of 8 MiB."""
    store = DictMemoryStore()
    store.from_bytes("a", bytes(range(256)) * (8 * MIB // 256))
    return store


def test_a_value_that_changes_while_it_is_sent_stays_whole(large: DictMemoryStore) -> None:
    """What a client reads is one version, however long that takes."""
    with (
        serve(large) as served,
        requests.Session() as session,
        session.get(f"{served.keys_url}/a/data", stream=True) as answer,
    ):
        first = next(answer.iter_content(1000))
        large.from_bytes("a", b"short")
        rest = answer.raw.read()

    assert bytes(range(256)) * (8 * MIB // 256) == first + rest
