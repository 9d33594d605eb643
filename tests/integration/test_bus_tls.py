"""TLS with a real broker: what is checked, who is let in, and what failures say."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trustme
from broker_users import add_user
from bus_helpers import Heard, Numbered, wait_until
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from tcp_proxy import Node

from antiphon import open_bus
from antiphon.errors import BrokerRefused, BrokerUnavailable, MessagingError, TLSFailed
from antiphon.messaging.amqp_address import TLSOptions
from antiphon.messaging.amqp_tls import tls_context
from antiphon.testing.servers import RabbitMQ


@pytest.fixture
def port(tls_broker: RabbitMQ) -> str:
    """The port of the TLS listener."""
    return tls_broker.tls_url.rpartition(":")[2]


def carries_an_event(url: str, system: str) -> bool:
    """Return whether an event arrives over *url*."""
    heard = Heard()
    with open_bus(url, system=system) as one, open_bus(url, system=system) as other:
        other.connect(Numbered, heard)
        one.emit(Numbered(number=1))
        heard.wait(1)
    return heard.numbers == [1]


def failure(url: str) -> MessagingError:
    """Return what opening *url* raises."""
    with pytest.raises(MessagingError) as caught:
        open_bus(url, connect_timeout_s=20).close()
    return caught.value


def test_events_by_password(port: str, certificates: Path, system: str) -> None:
    """With the authority named, the broker is trusted and a password lets in."""
    url = f"amqps://billing:wheat-field@localhost:{port}?cafile={certificates}/ca.pem"

    assert carries_an_event(url, system)


def test_events_by_client_certificate(port: str, certificates: Path, system: str) -> None:
    """auth=external: the client certificate's name is the user, and no password travels."""
    url = (
        f"amqps://localhost:{port}?auth=external&cafile={certificates}/ca.pem"
        f"&certfile={certificates}/client.pem&keyfile={certificates}/client-key.pem"
    )

    assert carries_an_event(url, system)


def test_certificate_and_password(port: str, certificates: Path, system: str) -> None:
    """A client certificate may be shown beside a password, which then says who it is."""
    url = (
        f"amqps://guest:guest@localhost:{port}?cafile={certificates}/ca.pem"
        f"&certfile={certificates}/client.pem&keyfile={certificates}/client-key.pem"
    )

    assert carries_an_event(url, system)


def test_encrypted_key(port: str, certificates: Path, system: str, tmp_path: Path) -> None:
    """The password of an encrypted key comes from a file."""
    key = load_pem_private_key((certificates / "client-key.pem").read_bytes(), None)
    (tmp_path / "key.pem").write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"oats"))
    )
    (tmp_path / "password").write_text("oats\n")
    url = (
        f"amqps://localhost:{port}?auth=external&cafile={certificates}/ca.pem"
        f"&certfile={certificates}/client.pem&keyfile={tmp_path}/key.pem"
    )

    assert "is encrypted, and the password is missing" in str(failure(url))
    assert carries_an_event(f"{url}&keyfile_password_file={tmp_path}/password", system)


def test_unverified_is_warned_of(port: str, system: str, caplog: pytest.LogCaptureFixture) -> None:
    """verify=no accepts any broker, and says what that means."""
    url = f"amqps://localhost:{port}?verify=no"

    assert carries_an_event(url, system)
    assert 1 == caplog.text.count("can pose as the broker")


def test_old_versions_are_refused() -> None:
    """TLS 1.2 is the least, whatever the system allows."""
    assert "TLSv1_2" == tls_context(TLSOptions()).minimum_version.name


CA = "cafile={folder}/ca.pem"


@pytest.mark.parametrize(
    ("host", "query", "message"),
    [
        ("localhost", "heartbeat=6", "does not know who signed it.*cafile="),
        ("localhost", "cafile={folder}/other-ca.pem", "not signed by.*other-ca.pem"),
        ("127.0.0.1", CA, "not for '127.0.0.1'.*server_name"),
        ("localhost", f"{CA}&server_name=elsewhere", "not for 'elsewhere'"),
        ("localhost", "cafile={folder}/none.pem", "cafile=.*none.pem cannot be read: No such"),
        ("localhost", "cafile={folder}/broker-key.pem", "broker-key.pem has no certificate"),
        (
            "localhost",
            f"{CA}&certfile={{folder}}/client.pem&keyfile={{folder}}/unknown-key.pem",
            "unknown-key.pem is not the key of.*client.pem",
        ),
        (
            "localhost",
            f"{CA}&certfile={{folder}}/client.pem&keyfile={{folder}}/none.pem",
            "keyfile=.*none.pem cannot be read",
        ),
        (
            "localhost",
            f"{CA}&certfile={{folder}}/client-key.pem&keyfile={{folder}}/client-key.pem",
            "client-key.pem has no certificate",
        ),
    ],
)
def test_what_is_wrong(port: str, certificates: Path, host: str, query: str, message: str) -> None:
    """Each thing that can be wrong with certificates is named with its file and remedy."""
    error = failure(f"amqps://{host}:{port}?{query.format(folder=certificates)}")

    assert isinstance(error, TLSFailed)
    assert re.search(message, str(error)), str(error)


@pytest.mark.parametrize("name", ["stranger", "expired"])
def test_client_certificates_that_are_refused(port: str, certificates: Path, name: str) -> None:
    """A certificate of another authority, and one that has expired, are named."""
    error = failure(
        f"amqps://localhost:{port}?auth=external&cafile={certificates}/ca.pem"
        f"&certfile={certificates}/{name}.pem&keyfile={certificates}/{name}-key.pem"
    )

    assert f"not accept the certificate in certfile={certificates}/{name}.pem" in str(error)


def test_certificate_of_no_user(port: str, certificates: Path) -> None:
    """A good certificate whose name is no user is told apart from a bad one."""
    error = failure(
        f"amqps://localhost:{port}?auth=external&cafile={certificates}/ca.pem"
        f"&certfile={certificates}/unknown.pem&keyfile={certificates}/unknown-key.pem"
    )

    assert isinstance(error, BrokerRefused)
    assert "takes the certificate's name for a user" in str(error)


def test_plain_port_spoken_to_with_tls(tls_broker: RabbitMQ, certificates: Path) -> None:
    """amqps:// at the plain port says so."""
    plain = tls_broker.url.rpartition(":")[2]

    error = failure(f"amqps://localhost:{plain}?cafile={certificates}/ca.pem")

    assert f"localhost:{plain} does not speak TLS" in str(error)


def test_tls_port_spoken_to_without(port: str) -> None:
    """amqp:// at the TLS port says so."""
    error = failure(f"amqp://localhost:{port}")

    assert isinstance(error, BrokerUnavailable)
    assert "amqps:// for a port that speaks TLS" in str(error)


@pytest.fixture
def expired_broker(tmp_path: Path) -> Iterator[str]:
    """Port of a TLS server whose certificate has expired; its authority is beside it."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    long_ago = datetime(2021, 1, 1, tzinfo=UTC)
    authority.issue_cert("localhost", not_after=long_ago).configure_cert(context)
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = server.accept()
                with contextlib.suppress(OSError), client:
                    context.wrap_socket(client, server_side=True)

    thread = threading.Thread(target=serve)
    thread.start()
    yield str(server.getsockname()[1])
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join()


def test_expired_broker(expired_broker: str, tmp_path: Path) -> None:
    """A broker whose certificate has expired is not trusted, and that is the reason given."""
    error = failure(f"amqps://localhost:{expired_broker}?cafile={tmp_path}/ca.pem")

    assert isinstance(error, TLSFailed)
    assert "it has expired; renew it at the broker" in str(error)


def test_replaced_password(
    tls_broker: RabbitMQ, system: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A password that was rotated in its file is used at the next connection."""
    secret = tmp_path / "password"
    secret.write_text("first\n")
    monkeypatch.setenv("ANTIPHON_AMQP_PASSWORD_FILE", str(secret))
    add_user(tls_broker, "rotating", "first")
    with Node(tls_broker.url) as node:
        url = f"amqp://rotating@127.0.0.1:{node.port}"
        with open_bus(url, system=system) as bus:
            node.die()
            add_user(tls_broker, "rotating", "second")
            node.live()
            wait_until(lambda: "not accept user" in str(bus.last_error), "the old one is refused")
            secret.write_text("second\n")

            assert bus.wait_connected(10)


def test_replaced_certificate(port: str, certificates: Path, system: str, tmp_path: Path) -> None:
    """Files of certificates are read at each connection; a bus waits for good ones."""
    for name in ("expired", "client"):
        (tmp_path / f"{name}.pem").write_bytes(
            (certificates / f"{name}.pem").read_bytes()
            + (certificates / f"{name}-key.pem").read_bytes()
        )
    (tmp_path / "expired.pem").rename(tmp_path / "own.pem")
    url = (
        f"amqps://localhost:{port}?auth=external&cafile={certificates}/ca.pem"
        f"&certfile={tmp_path}/own.pem"
    )
    with open_bus(url, system=system, wait=False) as bus:
        wait_until(lambda: bus.last_error is not None, "the expired one is refused")
        (tmp_path / "client.pem").rename(tmp_path / "own.pem")

        assert bus.wait_connected(10)
