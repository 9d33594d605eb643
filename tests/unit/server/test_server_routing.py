"""Which key and which part a path means."""

from __future__ import annotations

from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.errors import InvalidKey
from antiphon.server.answers import Refused
from antiphon.server.routing import KEY_PARTS, Target, target_of

#: Any text that can be written as UTF-8, with what paths and queries treat specially.
keys = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"])),
    st.lists(st.sampled_from(["/", ".", "..", "%", "data", "+", "?", "#", "é", "\n"])).map("".join),
)


@given(keys, st.sampled_from(sorted(KEY_PARTS)))
def test_any_key_can_be_named_in_the_path(key: str, part: str) -> None:
    """What is percent-encoded comes back, with slashes encoded or raw."""
    for safe in ("", "/"):
        path = f"/keys/{quote(key, safe=safe)}/{part}".encode()

        assert Target(part, key) == target_of(path, b"", "GET")


@given(keys)
def test_deleting_takes_the_whole_path_as_the_key(key: str) -> None:
    """A key that ends as a part does is deleted as it is."""
    assert Target("key", key) == target_of(f"/keys/{quote(key)}".encode(), b"", "DELETE")


@given(keys, st.sampled_from(sorted(KEY_PARTS)))
def test_any_key_can_be_named_in_the_query(key: str, part: str) -> None:
    """Quoted in either way, the parameter k names the key."""
    for query in (f"k={quote(key, safe='')}", urlencode({"k": key})):
        assert Target(part, key) == target_of(f"/key/{part}".encode(), query.encode(), "PUT")
        assert Target("key", key) == target_of(b"/key", query.encode(), "DELETE")


@pytest.mark.parametrize(
    ("path", "target"),
    [
        (b"/query", Target("query")),
        (b"/info", Target("info")),
        (b"/index.json", Target("index")),
        (b"/journal/head", Target("head")),
        (b"/journal/since", Target("since")),
        (b"/data/a/b", Target("file", "a/b")),
        (b"/keys//data", Target("data", "")),
        (b"/keys/a", Target("key", "a")),
    ],
)
def test_other_paths(path: bytes, target: Target) -> None:
    """The paths of the protocol that have no part of a key at their end."""
    assert target == target_of(path, b"", "GET")


@pytest.mark.parametrize("path", [b"", b"/", b"/keys", b"/keys/data", b"/key/other", b"*", b"/x"])
def test_nothing_else_is_there(path: bytes) -> None:
    """Any other path is refused with 404."""
    with pytest.raises(Refused) as refused:
        target_of(path, b"k=a", "GET")

    assert 404 == refused.value.status


@pytest.mark.parametrize("raw", [b"%", b"%4", b"%zz", b"%FF", b"%C3", b"%ED%A0%80"])
def test_broken_escapes_are_no_key(raw: bytes) -> None:
    """Escapes that are none, and bytes that are no UTF-8, are told from keys."""
    with pytest.raises(InvalidKey):
        target_of(b"/keys/" + raw + b"/data", b"", "GET")
    with pytest.raises(InvalidKey):
        target_of(b"/key/data", b"k=" + raw, "GET")


@pytest.mark.parametrize("query", [b"", b"j=a", b"k=a&k=b"])
def test_the_query_names_one_key(query: bytes) -> None:
    """No key, or two, is an error, and not the empty key."""
    with pytest.raises(InvalidKey):
        target_of(b"/key/data", query, "GET")
