"""What an AMQP URL says."""

from __future__ import annotations

import pytest

from antiphon.errors import InvalidURL
from antiphon.messaging.amqp_address import AmqpAddress, parse_address


def test_everything() -> None:
    """Each part of a full URL is read, escapes included."""
    address = parse_address("amqp://us%40er:p%2Fw@host:5673/v%2Fh?heartbeat=9")

    nodes = (("host", 5673),)
    assert AmqpAddress("host", 5673, "us@er", "p/w", "v/h", False, 9, nodes=nodes) == address


def test_defaults() -> None:
    """A bare URL means the local broker, its default virtual host and its guest."""
    nodes = (("localhost", 5672),)
    expected = AmqpAddress("localhost", 5672, "guest", "guest", "/", False, 6, nodes=nodes)
    assert expected == parse_address("amqp://")


def test_tls() -> None:
    """amqps:// has its own port, and uses TLS."""
    address = parse_address("amqps://host")

    assert (5671, True) == (address.port, address.is_tls)


def test_trailing_slash() -> None:
    """A URL that ends in a slash names the empty virtual host, as the specification says."""
    assert "" == parse_address("amqp://host/").virtual_host


def test_ipv6() -> None:
    """An IPv6 address is read, and shown, in brackets."""
    address = parse_address("amqp://[::1]:5673")

    assert ("::1", 5673, "[::1]:5673") == (address.host, address.port, address.where)


def test_password_is_not_shown() -> None:
    """The repr of an address has no password."""
    assert "secret" not in repr(parse_address("amqp://me:secret@host"))


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("amqp://host/a/b", "%2F"),
        ("amqp://host?heartbeat=soon", "heartbeat is whole seconds"),
        ("amqp://host?heartbeat=-1", "heartbeat is whole seconds"),
        ("amqp://host?heartbeat=²", "heartbeat is whole seconds"),
        ("amqp://host?hartbeat=1&x=2", r"unknown options \(hartbeat, x\)"),
        ("amqp://host:notaport", "port"),
        ("amqp://host:99999", "[Pp]ort"),
        ("amqp:host", "'//' is missing"),
    ],
)
def test_nonsense(url: str, message: str) -> None:
    """A part that makes no sense is named."""
    with pytest.raises(InvalidURL, match=message):
        parse_address(url)


@pytest.mark.parametrize("url", ["amqp://me:hunter/2@host", "amqp://me:hun#ter2@host"])
def test_raw_password(url: str) -> None:
    """A password with raw special characters is not quoted, and the remedy is."""
    with pytest.raises(InvalidURL, match="%XX") as caught:
        parse_address(url)

    assert "hun" not in str(caught.value)
