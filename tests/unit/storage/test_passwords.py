"""What is kept of a password, and how one is compared with it."""

import base64

import pytest

from antiphon.errors import InvalidValue
from antiphon.storage.passwords import (
    LOG2_N,
    PasswordEncoder,
    hash_password,
    make_encoder,
    scrypt,
    sha1_hasher,
    verify_password,
)

#: A cost that tests can pay.
QUICK = 4


def test_a_password_is_known_by_its_hash() -> None:
    """And no other is; as text or as bytes, both ways."""
    stored = hash_password("pässword", log2_n=QUICK)

    assert verify_password("pässword", stored)
    assert verify_password("pässword".encode(), stored.encode())
    assert not verify_password("pässwort", stored)
    assert not verify_password("", stored)


def test_the_same_password_is_kept_differently_each_time() -> None:
    """Each has a salt of its own, and its parameters beside it."""
    one, other = (hash_password("same", log2_n=QUICK) for _ in range(2))

    assert one != other
    assert "scrypt$4$8$5" == one.rsplit("$", 2)[0]
    assert "same" not in one


def test_the_default_costs_what_is_advised() -> None:
    """16 MiB and five passes; who steals the file pays that for each guess."""
    stored = hash_password("password")

    assert ["scrypt", str(LOG2_N), "8", "5"] == stored.split("$")[:4]
    assert verify_password("password", stored)


def test_it_is_scrypt() -> None:
    """As RFC 7914 gives it, section 12."""
    wanted = "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2"
    found = scrypt(b"pleaseletmein", b"SodiumChloride", log2_n=14, block_size=8, parallelism=1)

    assert wanted == found.hex()


@pytest.mark.parametrize(
    "stored",
    [
        "", "x", "scrypt$", "scrypt$4$8$5$!$!", "$2b$12$abcdefghijklmnopqrstuv", b"\xff\xfe",
        "argon2$4$8$5$AAAA$AAAA", "scrypt$4$8$5$AAAA$", "scrypt$4$8$5$AAAA$AAAA",
        "scrypt$-1$8$5$AAAA$" + base64.b64encode(bytes(32)).decode(),
    ],
)  # fmt: skip
def test_what_is_no_hash_matches_nothing(stored: str | bytes) -> None:
    """However it is broken."""
    assert not verify_password("password", stored)
    assert not verify_password("", stored)


@pytest.mark.parametrize("costs", ["16$1$1", "30$8$1", "14$999999$1", "14$8$1000", "24$64$16"])
def test_a_hash_cannot_exhaust_the_machine(costs: str) -> None:
    """Parameters that would are refused before anything is computed."""
    stored = f"scrypt${costs}$AAAA$" + base64.b64encode(bytes(32)).decode()

    assert not verify_password("password", stored)


@pytest.mark.parametrize("bad", ["", b"", None, 5])
def test_what_is_no_password_is_refused(bad: object) -> None:
    """The error does not repeat it."""
    with pytest.raises(InvalidValue):
        hash_password(bad)  # type: ignore[arg-type]
    assert not verify_password(bad, hash_password("x", log2_n=QUICK))  # type: ignore[arg-type]


def test_a_cost_has_bounds() -> None:
    """Too little protects nobody, too much stops the program."""
    for log2_n in (3, 19):
        with pytest.raises(InvalidValue, match="log2_n"):
            hash_password("x", log2_n=log2_n)


def test_an_encoder_with_a_salt_is_a_function_of_the_password() -> None:
    """The same salt gives the same; another gives another."""
    assert make_encoder(b"salt")(b"p") == scrypt(b"p", b"salt")
    assert make_encoder(b"other")(b"p") != make_encoder(b"salt")(b"p")


def test_old_hashes_can_still_be_made() -> None:
    """SHA-1 of salt and password, as Encore did."""
    encoder = make_encoder(b"test", sha1_hasher)

    assert "51abb9636078defbf888d8457a7c76f85c8f114c" == encoder(b"test").hex()


def test_an_encoder_without_a_salt_draws_one() -> None:
    """For each password, so it is asked instead of compared."""
    encoder = make_encoder()
    stored = encoder(b"p")

    assert isinstance(encoder, PasswordEncoder)
    assert encoder.verify(b"p", stored)
    assert not encoder.verify(b"q", stored)


def test_an_encoder_says_what_it_lacks() -> None:
    """A salt is bytes, and a hasher needs one."""
    with pytest.raises(InvalidValue, match="bytes"):
        make_encoder("salt")  # type: ignore[arg-type]
    with pytest.raises(InvalidValue, match="salt"):
        make_encoder(None, sha1_hasher)
