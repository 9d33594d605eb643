"""URLs of Redis stores are taken apart, or refused with a reason and without the password."""

from __future__ import annotations

import pytest

from antiphon.errors import InvalidURL, InvalidValue
from antiphon.storage.redis_url import RedisAddress
from antiphon.storage.redis_url import parse_url as parse_all


def parse_url(url: str) -> RedisAddress:
    """Return the address in *url*."""
    return parse_all(url)[0]


def test_all_parts_are_found() -> None:
    """Host, port, database, user, password and namespace come out of the URL."""
    address = parse_url("redis://me:p%40ss@example.org:7000/3?namespace=shop")

    assert ("example.org", 7000, 3, "shop") == (
        address.host,
        address.port,
        address.database,
        address.namespace,
    )
    assert ("me", "p@ss") == (address.username, address.password)


def test_what_is_left_out_is_what_redis_uses() -> None:
    """Without host, port and database it is the local Redis."""
    address = parse_url("redis://?namespace=n")

    assert ("localhost", 6379, 0, None) == (
        address.host,
        address.port,
        address.database,
        address.password,
    )


def test_the_database_may_stand_in_the_query() -> None:
    """``db=`` is understood as redis-py understands it."""
    assert 5 == parse_url("redis://h?db=5&namespace=n").database


def test_a_socket_is_a_path() -> None:
    """``unix:`` names a socket, and its password stands before the path."""
    address = parse_url("unix://:pw@/run/my%20redis.sock?db=2&namespace=n")

    assert ("/run/my redis.sock", 2, "pw") == (address.path, address.database, address.password)
    assert "unix:///run/my redis.sock?db=2" == str(address)


def test_tls_files_come_from_the_query() -> None:
    """``rediss:`` takes the names of certificates."""
    address = parse_url("rediss://h/0?namespace=n&ssl_ca_certs=/etc/ca.pem")

    assert {"ssl_ca_certs": "/etc/ca.pem"} == address.tls
    assert parse_url("rediss://h?namespace=n").tls == {}
    assert parse_url("redis://h?namespace=n").tls is None


def test_options_may_stand_in_the_url() -> None:
    """Each option of the store is a parameter as well, and arguments win."""
    url = "redis://h?namespace=n&origin=shop&journal_length=7&timeout_s=2.5&grace_s=9"
    address, options = parse_all(url, grace_s=8, origin=None)

    assert 2.5 == address.timeout_s
    assert {"origin": "shop", "journal_length": 7, "grace_s": 8} == options


def test_neither_text_nor_repr_shows_who_logs_in() -> None:
    """Messages and tracebacks name the server only."""
    address = parse_url("redis://me:secret@h:1/0?namespace=n")

    assert "redis://h:1/0" == str(address)
    for text in (str(address), repr(address)):
        assert "secret" not in text


def test_an_ipv6_host_keeps_its_brackets() -> None:
    """The text of an address can be read as a URL again."""
    assert "redis://[::1]:6379/0" == str(parse_url("redis://[::1]/0?namespace=n"))


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("redis://h/0", "namespace ''"),
        ("redis://h/0?namespace=", "namespace ''"),
        ("redis://h/0?namespace={x}", "without braces"),
        ("redis://h/zero?namespace=n", "database 'zero'"),
        ("redis://h/1/2?namespace=n", "database '1/2'"),
        ("redis://h:port/0?namespace=n", "host or port"),
        ("redis://h:99999/0?namespace=n", "host or port"),
        ("redis://[::1/0?namespace=n", "host or port"),
        ("redis://h/0?namespace=n&timeout=3", "unknown parameter 'timeout'"),
        ("redis://h/0?namespace=n&ssl_keyfile=k", "unknown parameter 'ssl_keyfile'"),
        ("redis://h/0?namespace=n&timeout_s=0", "must be above 0"),
        ("redis://h/0?namespace=n&timeout_s=nan", "must be above 0"),
        ("redis://h/0?namespace=n&journal_length=many", "journal_length='many'"),
        ("redis://h/?namespace=n&db=x", "db='x'"),
        ("redis://h/0?namespace", "namespace ''"),
        ("http://h/0?namespace=n", "no URL of a Redis"),
        ("redis://:a#b@h/0?namespace=n", "%23"),
    ],
)
def test_a_url_that_makes_no_sense_is_refused(url: str, reason: str) -> None:
    """The message names the part that is wrong."""
    with pytest.raises(InvalidURL, match=reason):
        parse_all(url)


@pytest.mark.parametrize(
    "url",
    [
        "redis://me:s3cret@h:port/0?namespace=n",
        "redis://me:s3/cret@h/0?namespace=n",
        "redis://me:s3cret@h/0",
        "redis://me:s3cret@h/zero?namespace=n",
        "redis://h/0?namespace=n&password=s3cret",
    ],
)
def test_a_refused_url_does_not_show_its_password(url: str) -> None:
    """Neither the message nor what caused it holds the password."""
    with pytest.raises(InvalidURL) as caught:
        parse_url(url)

    assert "cret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_credentials_replace_those_of_the_url() -> None:
    """connect() takes a password, a pair or a mapping."""
    address = parse_url("redis://old:old@h?namespace=n")

    def login(credentials: object) -> tuple[str | None, str | None]:
        given: RedisAddress = address.with_credentials(credentials)
        return given.username, given.password

    assert ("old", "old") == login(None)
    assert ("old", "new") == login("new")
    assert ("me", "new") == login(("me", "new"))
    assert ("me", "new") == login({"username": "me", "password": "new"})


def test_other_credentials_are_refused_without_being_shown() -> None:
    """What is no credentials is named by its type only."""
    with pytest.raises(InvalidValue, match="of type list") as caught:
        parse_url("redis://h?namespace=n").with_credentials(["s3cret"])

    assert "s3cret" not in str(caught.value)
