"""Commands as the bytes that Redis takes, and requests as the bytes that its scripts unpack.

Pure functions.  redis-py packs a command with checks of each of its words, which for
a small value takes longer than Redis does.
"""

from __future__ import annotations

from collections.abc import Iterable

#: What a word of a command may be; numbers and text are sent as text.
Word = bytes | str | int | float


def pack_command(*words: Word) -> bytes:
    """Return one command in Redis's protocol (RESP)."""
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        sent = word if type(word) is bytes else str(word).encode()
        parts += (b"$%d\r\n" % len(sent), sent, b"\r\n")
    return b"".join(parts)


def pack_list(words: Iterable[bytes]) -> bytes:
    """Return *words* as members of a msgpack array, without its beginning."""
    parts: list[bytes] = []
    for word in words:
        size = len(word)
        # str8 or str32: one way for short words and one for all others is enough.
        parts += (b"\xd9%c" % size if size < 256 else b"\xdb" + size.to_bytes(4, "big"), word)
    return b"".join(parts)


def begin_list(length: int) -> bytes:
    """Return the beginning of a msgpack array of *length* members."""
    return b"\xdd" + length.to_bytes(4, "big")
