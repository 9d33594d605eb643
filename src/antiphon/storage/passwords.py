"""Passwords, kept so that who steals the file of them has not got them.

scrypt (RFC 7914) makes each guess cost memory and time; a salt for each
password makes guesses at one worthless for the others.  The parameters are
written beside the hash, so they can be raised without locking anyone out.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
from collections.abc import Callable
from typing import Any

from antiphon.errors import InvalidValue

#: Exponent of scrypt's cost, block size and parallelism: 16 MiB and about a
#: quarter of a second a guess, one of the settings that OWASP's Password
#: Storage Cheat Sheet gives as equivalent (2024).
LOG2_N, BLOCK_SIZE, PARALLELISM = 14, 8, 5

#: Random bytes of a salt, and bytes of a hash.
SALT_BYTES, HASH_BYTES = 16, 32

#: What ``verify_password`` computes at the most: 256 MiB, 16 passes.  A stored
#: hash that asks for more is refused, so none can be used to exhaust the machine.
_MAX_MEMORY_BYTES, _MAX_PARALLELISM = 1 << 28, 16

_NAME = "scrypt"


def hash_password(password: str | bytes, *, log2_n: int = LOG2_N) -> str:
    """Return what to keep in place of *password*: another text at every call.

    Args:
        password: text, of which the UTF-8 is taken, or bytes; not empty.
        log2_n: exponent of the cost; each step up doubles memory and time.

    Returns:
        ``scrypt$<log2 n>$<r>$<p>$<salt>$<hash>``, the last two in base64; ASCII.

    Raises:
        InvalidValue: *password* is empty or neither text nor bytes, or *log2_n*
            is not between 4 and 18.
    """
    secret = _as_bytes(password)
    if not secret:
        raise InvalidValue("a password must not be empty")
    if not 4 <= log2_n <= 18:
        raise InvalidValue(f"log2_n is {log2_n!r}; it must be from 4 to 18 (16 KiB to 256 MiB)")
    salt = os.urandom(SALT_BYTES)
    digest = scrypt(secret, salt, log2_n=log2_n)
    fields = (log2_n, BLOCK_SIZE, PARALLELISM, _base64(salt), _base64(digest))
    return "$".join((_NAME, *map(str, fields)))


def verify_password(password: str | bytes, stored: str | bytes) -> bool:
    """Return whether *password* is the one that *stored* was made of.

    Compares in constant time.  False for whatever ``hash_password`` did not
    write, and for parameters that would need more than 256 MiB.
    """
    try:
        secret = _as_bytes(password)
        text = stored.decode("ascii") if isinstance(stored, bytes) else stored
        name, log2_n, block_size, parallelism, salt_text, hash_text = text.split("$")
        salt = base64.b64decode(salt_text, validate=True)
        expected = base64.b64decode(hash_text, validate=True)
        costs = int(log2_n), int(block_size), int(parallelism)
    except (AttributeError, InvalidValue, ValueError, binascii.Error):
        return False
    if name != _NAME or len(expected) != HASH_BYTES or not _is_bearable(*costs):
        return False
    try:
        found = scrypt(secret, salt, log2_n=costs[0], block_size=costs[1], parallelism=costs[2])
    except ValueError:  # parameters that do not go together
        return False
    return hmac.compare_digest(found, expected)


class PasswordEncoder:
    """An encoder with a salt of its own for each password, as ``make_encoder()`` returns.

    It encodes the same password differently each time, so a store asks its
    ``verify`` instead of comparing.
    """

    def __call__(self, password: bytes) -> bytes:
        """Return what is kept of *password*."""
        return hash_password(password).encode("ascii")

    def verify(self, password: bytes, stored: bytes) -> bool:
        """Return whether *stored* was made of *password*."""
        return verify_password(password, stored)


def make_encoder(salt: bytes | None = None, hasher: Callable[[bytes], bytes] | None = None) -> Any:
    """Return a function that makes of a password what is kept of it.

    Args:
        salt: is hashed with each password; keep it secret, and the same for as
            long as there are passwords made with it.  None draws one for each
            password, which is best; it is kept beside the hash.
        hasher: makes a hash of salt and password together.  None is scrypt,
            which is slow on purpose.  ``sha1_hasher`` is for passwords that
            Encore has made; whoever gets hold of them soon has them in clear.

    Raises:
        InvalidValue: *salt* is not bytes, or *hasher* is given without one.
    """
    if salt is None:
        if hasher is not None:
            raise InvalidValue("a hasher needs a salt that is the same each time: give one")
        return PasswordEncoder()
    if not isinstance(salt, bytes):
        raise InvalidValue(f"a salt must be bytes, not {type(salt).__name__}")
    if hasher is None:
        return lambda password: scrypt(password, salt)
    return lambda password: hasher(salt + password)


def sha1_hasher(s: bytes) -> bytes:
    """Return the SHA-1 of *s*: only for passwords that Encore has made.

    A graphics card tries billions a second.  ``set_password`` with another
    encoder replaces them one by one.
    """
    return hashlib.sha1(s, usedforsecurity=False).digest()


def scrypt(
    secret: bytes,
    salt: bytes,
    *,
    log2_n: int = LOG2_N,
    block_size: int = BLOCK_SIZE,
    parallelism: int = PARALLELISM,
) -> bytes:
    """Return the 32 bytes that scrypt makes of *secret* and *salt*."""
    # OpenSSL counts a little more than 128 * n * r bytes.
    memory = 128 * block_size * ((1 << log2_n) + parallelism + 2)
    return hashlib.scrypt(
        secret,
        salt=salt,
        n=1 << log2_n,
        r=block_size,
        p=parallelism,
        maxmem=memory,
        dklen=HASH_BYTES,
    )


def _is_bearable(log2_n: int, block_size: int, parallelism: int) -> bool:
    return (
        1 <= log2_n <= 24
        and 1 <= block_size <= 64
        and 1 <= parallelism <= _MAX_PARALLELISM
        and 128 * block_size << log2_n <= _MAX_MEMORY_BYTES
    )


def _as_bytes(password: object) -> bytes:
    if isinstance(password, bytes):
        return password
    if isinstance(password, str):
        # A lone surrogate has no UTF-8; such a password is one all the same.
        return password.encode("utf-8", "surrogatepass")
    raise InvalidValue(f"a password must be text or bytes, not {type(password).__name__}")


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
