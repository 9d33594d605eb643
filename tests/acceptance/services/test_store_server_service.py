"""The store server as a process, against real servers."""

from __future__ import annotations

import contextlib
import json
import queue
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
import trustme

from antiphon import open_bus, open_store
from antiphon.events.delivery import delivery_of
from antiphon.storage.events import StoreModificationEvent
from antiphon.storage.passwords import hash_password
from antiphon.testing.servers import Redis
from tests.acceptance.services.service_process import (
    ROOT,
    ServiceProcess,
    command,
    environment,
    service_process,
    wait_until,
)

MODULE = "services.store_server"

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"

TOKEN = "a-token-of-many-characters"

MEMORY = """
[stores.notes]
url = "memory:"
authorizing = {authorizing}

[[users]]
name = "ann"
token = "${{STORE_TOKEN}}"
may = "write"

[[users]]
name = "bob"
password_hash = "{hash}"
may = "write"
""".replace("{hash}", hash_password("bob's password", log2_n=4))

PLAIN = MEMORY.format(authorizing="false")


class Client(requests.Session):
    """A user of a store of the service."""

    def __init__(self, running: ServiceProcess, store: str, token: str | None = TOKEN) -> None:
        super().__init__()
        # Certificates that the environment names would win over the test's.
        self.trust_env = False
        self.base = f"{running.logged('stores_url')}/{store}"
        if token is not None:
            self.headers["Authorization"] = f"Bearer {token}"

    def ask(self, method: str, path: str, data: bytes | None = None) -> requests.Response:
        """Send a request for a path below the store."""
        return self.request(method, self.base + path, data=data, timeout=20)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[ServiceProcess]:
    """A service with a store in memory, without a broker."""
    with service_process(MODULE, tmp_path, PLAIN, STORE_TOKEN=TOKEN) as running:
        running.wait_for(200)
        yield running


@contextlib.contextmanager
def catalogue(
    folder: Path, amqp_url: str, redis_url: str
) -> Iterator[tuple[ServiceProcess, queue.Queue[StoreModificationEvent]]]:
    """A service with a store in Redis, and what the broker is told of its changes."""
    settings = f"""
        amqp_url = "{amqp_url}"
        system = "shop"
        [stores.catalogue]
        url = "{redis_url}?namespace=catalogue"
        [[users]]
        name = "ann"
        token = "{TOKEN}"
        may = "write"
    """
    heard: queue.Queue[StoreModificationEvent] = queue.Queue()
    with (
        service_process(MODULE, folder, settings) as running,
        open_bus(amqp_url, system="shop") as bus,
    ):
        running.wait_for(200)
        bus.connect(StoreModificationEvent, heard.put)
        yield running, heard


def test_a_change_over_http_is_an_event_in_the_cluster(
    tmp_path: Path, amqp_url: str, redis_url: str
) -> None:
    """Whoever listens on the broker hears what an HTTP client wrote, with the id it was told."""
    with catalogue(tmp_path, amqp_url, redis_url) as (running, heard):
        with Client(running, "catalogue") as client:
            answer = client.ask("PUT", "/keys/prices/eur/data", b"1").json()

        event = heard.get(timeout=20)

    assert ("prices/eur", "set") == (event.key, event.action)
    assert answer["event_id"] == str(event._event_id)
    assert answer["position"] == str(event.position)


def test_a_request_its_event_and_their_trace_are_logged(
    tmp_path: Path, amqp_url: str, redis_url: str
) -> None:
    """One id of a trace leads from the client over the log to whoever hears the event."""
    with catalogue(tmp_path, amqp_url, redis_url) as (running, heard):
        with Client(running, "catalogue") as client:
            client.headers["traceparent"] = f"00-{TRACE_ID}-b7ad6b7169203331-01"
            client.ask("PUT", "/keys/prices/eur/data", b"1")
        event = heard.get(timeout=20)
        delivery = delivery_of(event)
        assert running.logged("trace_id") == TRACE_ID
        (line,) = [line for line in running.lines() if "trace_id" in line]

    assert (str(event._event_id), "antiphon:StoreSetEvent", "catalogue") == (
        line["event_id"],
        line["event_class"],
        line["origin"],
    )
    assert delivery is not None
    assert TRACE_ID in str(delivery.traceparent)


def test_sigterm_lets_running_requests_end(running: ServiceProcess) -> None:
    """An upload that was begun is finished and answered, and the exit status is 0."""
    with Client(running, "notes") as client:
        url = urlsplit(client.base)
        assert url.hostname is not None
        with socket.create_connection((url.hostname, url.port or 0), timeout=20) as upload:
            upload.sendall(
                f"PUT {url.path}/keys/a/data HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n"
                f"Authorization: Bearer {TOKEN}\r\n\r\n".encode()
                + bytes(500_000)
            )
            # The upload is being read once the server has room for more of it.
            assert 200 == client.ask("GET", "/info").status_code
            started = time.monotonic()
            running.process.send_signal(signal.SIGTERM)
            wait_until(lambda: running.get("/readyz")[0] != 200, running.describe)
            upload.sendall(bytes(500_000))

            assert upload.recv(12) == b"HTTP/1.1 201"
    assert running.process.wait(20) == 0
    assert time.monotonic() - started < 10
    assert "stopped" == running.lines()[-1]["message"]


def test_sigterm_waits_for_nobody_for_long(running: ServiceProcess) -> None:
    """A client that sends nothing more does not keep the service from ending."""
    with Client(running, "notes") as client:
        url = urlsplit(client.base)
    assert url.hostname is not None
    with socket.create_connection((url.hostname, url.port or 0), timeout=20) as upload:
        upload.sendall(
            f"PUT {url.path}/keys/a/data HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n"
            f"Authorization: Bearer {TOKEN}\r\n\r\n".encode()
            + bytes(500_000)
        )
        started = time.monotonic()
        running.process.send_signal(signal.SIGTERM)

        assert running.process.wait(20) == 0
        assert time.monotonic() - started < 10


def test_sigterm_lets_go_of_those_who_wait(running: ServiceProcess) -> None:
    """Clients that wait for a change are answered at once, and keep the service not from ending."""
    with Client(running, "notes") as client:
        url, head = urlsplit(client.base), client.ask("GET", "/journal/head").json()["position"]
    request = (
        f"GET {url.path}/journal/since?position={head}&wait_s=50 HTTP/1.1\r\nHost: x\r\n"
        f"Authorization: Bearer {TOKEN}\r\n\r\n"
    ).encode()
    with contextlib.ExitStack() as stack:
        socks = [
            stack.enter_context(socket.create_connection((url.hostname, url.port), timeout=20))
            for _ in range(5)
        ]
        for sock in socks:
            sock.sendall(request)
        with Client(running, "notes") as client:
            # Asked after they were, and answered: they have been taken up.
            assert 200 == client.ask("GET", "/info").status_code
        started = time.monotonic()
        running.process.send_signal(signal.SIGTERM)

        assert [b"HTTP/1.1 200"] * 5 == [sock.recv(12) for sock in socks]
        assert running.process.wait(20) == 0
        assert time.monotonic() - started < 5


def test_requests_are_logged_and_counted_without_secrets(running: ServiceProcess) -> None:
    """The log says who did what; keys are digests, and no token is anywhere."""
    with Client(running, "notes") as client:
        client.ask("PUT", "/keys/a%20private%20key/data", b"12345")
        client.ask("GET", "/keys/a%20private%20key/data")
        client.headers["Authorization"] = "Bearer a-wrong-token-of-somebody"
        client.ask("GET", "/keys/a%20private%20key/data")
    wait_until(lambda: running.log.read_text().count('"client"') == 3, running.describe)
    put, get, refused = [line for line in running.lines() if "client" in line]

    assert ("PUT", "notes", "data", 201, 5, "ann") == (
        put["method"],
        put["store"],
        put["part"],
        put["status"],
        put["bytes_in"],
        put["user"],
    )
    assert put["key"] == get["key"] != "a private key"
    assert (401, None) == (refused["status"], refused["user"])
    text = running.log.read_text()
    assert not any(secret in text for secret in (TOKEN, "wrong-token", "private"))
    wanted = 'antiphon_http_requests_total{method="GET",part="data",status="200",store="notes"} 1'
    assert wanted in running.get("/metrics")[1]


def test_users_of_an_authorizing_store(tmp_path: Path) -> None:
    """What one user made another one does not see, until it is permitted."""
    settings = MEMORY.format(authorizing="true")
    with service_process(MODULE, tmp_path, settings, STORE_TOKEN=TOKEN) as running:
        running.wait_for(200)
        with Client(running, "notes") as ann, Client(running, "notes", None) as bob:
            bob.auth = ("bob", "bob's password")
            assert 201 == ann.ask("PUT", "/keys/a/data", b"x").status_code
            assert 404 == bob.ask("GET", "/keys/a/data").status_code
            assert "" == bob.ask("GET", "/query").text

            permissions = json.dumps({"get": ["bob"]}).encode()
            assert 200 == ann.ask("POST", "/keys/a/auth", permissions).status_code
            assert b"x" == bob.ask("GET", "/keys/a/data").content
            assert 403 == bob.ask("PUT", "/keys/a/data", b"y").status_code
            assert 403 == bob.ask("GET", "/keys/a/auth").status_code
            assert {"owned": ["ann"], "get": ["bob"]} == ann.ask("GET", "/keys/a/auth").json()


def test_users_and_certificates_from_elsewhere(tmp_path: Path) -> None:
    """Users of a SimpleAuthStore come in over TLS, and may do what the settings say."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    signed = authority.issue_cert("127.0.0.1")
    signed.private_key_and_cert_chain_pem.write_to_path(tmp_path / "server.pem")
    with open_store(f"sqlite:///{tmp_path}/users.sqlite") as users:
        users.from_bytes(".user_eve", hash_password("eve's password", log2_n=4).encode())
    settings = f"""
        tls_certificate = "{tmp_path}/server.pem"
        tls_key = "{tmp_path}/server.pem"
        users_url = "sqlite:///{tmp_path}/users.sqlite"
        [stores.notes]
        url = "memory:"
    """
    with service_process(MODULE, tmp_path, settings) as running:
        running.wait_for(200)
        with Client(running, "notes", None) as client:
            client.verify = str(tmp_path / "authority.pem")
            client.auth = ("eve", "eve's password")
            assert client.base.startswith("https://")
            assert "eve" == client.ask("GET", "/info").json()["user_tag"]
            assert 403 == client.ask("PUT", "/keys/a/data", b"x").status_code
            client.auth = ("eve", "a guess")
            assert 401 == client.ask("GET", "/info").status_code


def test_it_waits_for_its_store(tmp_path: Path, redis_server: Redis) -> None:
    """Started before its store it answers 503, and serves when that is there."""
    redis_server.kill()
    settings = PLAIN.replace("memory:", f"{redis_server.url}?namespace=notes")
    with service_process(MODULE, tmp_path, settings, STORE_TOKEN=TOKEN) as running:
        running.wait_for(503)
        with Client(running, "notes") as client:
            answer = client.ask("GET", "/keys/a/data")
            assert (503, "1") == (answer.status_code, answer.headers["retry-after"])

            redis_server.restart()
            running.wait_for(200)
            assert 404 == client.ask("GET", "/keys/a/data").status_code


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("colour = 1\n" + PLAIN, "colour: there is no such setting"),
        (
            PLAIN.replace("memory:", "memori:"),
            "settings.toml: stores.notes: no store for 'memori:'",
        ),
        (PLAIN.replace("STORE_TOKEN", "NO_SUCH"), "NO_SUCH_FILE"),
        (PLAIN.partition("[[users]]")[0], "nobody could use it"),
        ('tls_key = "pyproject.toml"\n' + PLAIN, "go together"),
        (
            'tls_key = "no.pem"\ntls_certificate = "pyproject.toml"\n' + PLAIN,
            "tls_key: Path does not point to a file",
        ),
        (
            'tls_key = "pyproject.toml"\ntls_certificate = "pyproject.toml"\n' + PLAIN,
            "no good certificate",
        ),
        (PLAIN.replace("stores.notes", 'stores."no/tes"'), "'no/tes'"),
        (PLAIN.replace('"ann"', '"bob"'), "two users are named 'bob'"),
        (PLAIN.replace('"ann"', '"anonymous"'), "the name of a user"),
        (PLAIN.replace('"${STORE_TOKEN}"', '"short"'), "at least 16"),
    ],
)
def test_bad_settings_are_told_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    """Settings that make no sense end it at once with status 78 and no traceback."""
    path = tmp_path / "settings.toml"
    path.write_text(text)
    done = subprocess.run(
        command(MODULE, path),
        cwd=ROOT,
        env=environment(STORE_TOKEN=TOKEN),
        capture_output=True,
        text=True,
    )

    assert 78 == done.returncode, done.stderr
    assert said in done.stderr
    assert 1 == len(done.stderr.splitlines())
    assert TOKEN not in done.stderr


def test_a_port_that_is_taken_is_told(tmp_path: Path) -> None:
    """An address that another program has is named in one line."""
    path = tmp_path / "settings.toml"
    path.write_text(PLAIN)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(
            command(MODULE, path),
            cwd=ROOT,
            env=environment(STORE_TOKEN=TOKEN, ANTIPHON_STORE_PORT=str(port)),
            capture_output=True,
            text=True,
        )

    assert 78 == done.returncode
    assert f"cannot listen on 127.0.0.1:{port}" in done.stderr
