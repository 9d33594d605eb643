"""What an AMQP URL says."""

from __future__ import annotations

from pathlib import Path

import pytest

from antiphon.errors import InvalidURL
from antiphon.messaging.amqp_address import AmqpAddress, TLSOptions, parse_address


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


def test_several_hosts() -> None:
    """A cluster's nodes are listed with commas, each with its port or the usual one."""
    address = parse_address("amqp://me:pw@one:5673,two,[::1]:5674/shop")

    assert (("one", 5673), ("two", 5672), ("::1", 5674)) == address.nodes
    assert "one:5673, two:5672, [::1]:5674" == address.where
    assert ("me", "shop") == (address.user, address.virtual_host)


def test_one_of_several() -> None:
    """The address of a node names that node alone."""
    address = parse_address("amqp://one,two").at(("two", 5672))

    assert ("two", "two:5672", True) == (address.host, address.where, address.has_others)


def test_tls_options() -> None:
    """Files, names and checks of TLS are options of the URL."""
    address = parse_address(
        "amqps://host?cafile=/ca.pem&certfile=/c.pem&keyfile=/k%20.pem"
        "&keyfile_password_file=/pw&verify=no&server_name=rabbit&auth=external"
    )

    assert TLSOptions("/ca.pem", "/c.pem", "/k .pem", "/pw", False, "rabbit") == address.tls
    assert (True, "", "") == (address.is_external, address.user, address.password)


def test_verification_is_the_default() -> None:
    """Without a word about it, the broker's certificate and name are checked."""
    assert parse_address("amqps://host").tls.is_verified


def test_credentials_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What the URL does not say of user and password the environment does, each by itself."""
    (tmp_path / "password").write_text("from file\n")
    monkeypatch.setenv("ANTIPHON_AMQP_USER", "from-env")
    monkeypatch.setenv("ANTIPHON_AMQP_PASSWORD_FILE", str(tmp_path / "password"))
    found = [
        (address.user, address.password)
        for address in map(parse_address, ("amqp://h", "amqp://me@h", "amqp://me:pw@h"))
    ]

    assert [("from-env", "from file"), ("me", "from file"), ("me", "pw")] == found


def test_read_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A rotated secret is seen when the address is read again."""
    path = tmp_path / "password"
    path.write_text("old")
    monkeypatch.setenv("ANTIPHON_AMQP_PASSWORD_FILE", str(path))
    address = parse_address("amqp://me@host")
    path.write_text("new")

    assert ("old", "new") == (address.password, address.again().password)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("amqp://a,b,a", "a host twice"),
        ("amqp://a,b:x", "port is a number"),
        ("amqp://[::1", "not closed"),
        ("amqp://host?cafile=/x", "amqps"),
        ("amqps://host?cafile=", "cafile is empty"),
        ("amqps://host?keyfile=/k", "keyfile without certfile"),
        ("amqps://host?verify=maybe", "verify is yes or no, not 'maybe'"),
        ("amqps://host?auth=external", "needs amqps:// and certfile="),
        ("amqp://host?order=fast", "order is given or random"),
        ("amqp://host?heartbeat=1&heartbeat=2", "an option twice"),
        ("amqp://host/a/b", "%2F"),
        ("amqp://host?heartbeat=soon", "heartbeat is whole seconds"),
        ("amqp://host?heartbeat=-1", "heartbeat is whole seconds"),
        ("amqp://host?heartbeat=²", "heartbeat is whole seconds"),
        ("amqp://host?hartbeat=1&x=2", r"unknown options \(hartbeat, x\)"),
        ("amqp://host:notaport", "port"),
        ("amqp://host:99999", "[Pp]ort"),
        ("amqp:host", "'//' is missing"),
        ("amqp://me:secret@host:abc", "the port is a number from 1 to 65535, not 'abc'"),
    ],
)
def test_nonsense(url: str, message: str) -> None:
    """A part that makes no sense is named."""
    with pytest.raises(InvalidURL, match=message):
        parse_address(url)


@pytest.mark.parametrize(
    "url",
    [
        "amqp://me:hunter/2@host",
        "amqp://me:hun#ter2@host",
        "amqp://me:4/hun@host",
        "amqp://a:p@b:hu/n@host",
    ],
)
def test_raw_password(url: str) -> None:
    """A password with raw special characters is not quoted, and the remedy is."""
    with pytest.raises(InvalidURL, match="%XX") as caught:
        parse_address(url)

    assert "hun" not in str(caught.value)
