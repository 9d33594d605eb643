"""Commands and requests as bytes."""

from __future__ import annotations

import msgpack
from hypothesis import given
from hypothesis import strategies as st

from antiphon.storage.redis_wire import begin_list, pack_command, pack_list

_words = st.binary() | st.sampled_from([255, 256, 70_000]).map(bytes)


@given(st.lists(_words, max_size=5))
def test_a_request_is_msgpack(words: list[bytes]) -> None:
    """What is packed piece by piece is one array of the same words."""
    packed = begin_list(len(words) * 2) + pack_list(words) + pack_list(words)

    assert words * 2 == msgpack.unpackb(packed, raw=True)


def test_a_command_has_the_length_of_each_word() -> None:
    """Text is sent as UTF-8, numbers as text, and bytes as they are."""
    packed = pack_command("SET", b"a\r\nb", "ä", 12, 0.5)

    assert (
        b"*5\r\n$3\r\nSET\r\n$4\r\na\r\nb\r\n$2\r\n\xc3\xa4\r\n$2\r\n12\r\n$3\r\n0.5\r\n" == packed
    )
